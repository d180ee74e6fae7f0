//! Many jobs at once, and one that gets what they all returned: `cargo run --example groups -- [URL]`.
use std::time::Duration;

use queue::{BoxError, Failed, TaskError, TaskResultExt, Worker, group, join, task, tasks};

/// Counts the words of a page.
#[task(queue = "pages")]
async fn count(page: String) -> Result<usize, TaskError> {
    if page.is_empty() {
        return Err(TaskError::from("the page is empty")).fatal();
    }
    Ok(page.split_whitespace().count())
}

#[task]
async fn title(page: String) -> Result<String, TaskError> {
    Ok(page.split_whitespace().next().unwrap_or("untitled").to_owned())
}

/// The callback of a group: everything its members returned, in their order.
#[task]
async fn total(counts: Vec<usize>) -> Result<usize, TaskError> {
    Ok(counts.iter().sum())
}

/// A callback that runs even if members failed.
#[task]
async fn summary(counts: Vec<Result<usize, Failed>>) -> Result<String, TaskError> {
    let failed = counts.iter().filter(|count| count.is_err()).count();
    let words: usize = counts.iter().flatten().sum();
    Ok(format!("{words} words on {} pages, {failed} failed", counts.len() - failed))
}

/// A step after unlike ones: a tuple.
#[task]
async fn headline(both: (String, usize)) -> Result<String, TaskError> {
    Ok(format!("{} ({} words)", both.0, both.1))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or("memory:".into());
    let client = queue::connect(&url).await?;
    let worker = Worker::builder(&client)
        .tasks(tasks![count, title, total, summary, headline])
        .queue("default")
        .queue("pages") // a flow may go through several queues
        .build()?;
    let running = tokio::spawn(worker.run());
    let long = Duration::from_secs(20);
    let pages = || (1..=500).map(|n| "word ".repeat(n));

    // A chord. Nothing of it starts before all of it is stored.
    let words = group(pages().map(count::new)).then(total::after()).enqueue(&client).await?;
    println!("{} words", words.wait(long).await?);
    assert_eq!(words.result().await?, Some(500 * 501 / 2));

    // A group alone: as a list, or each member as it ends.
    let counted = group(["a", "b c", "d e f"].map(count::new)).enqueue(&client).await?;
    let (mut arrivals, mut seen) = (counted.as_completed(), 0);
    while let Some((place, words)) = arrivals.next().await {
        println!("page {place}: {}", words?);
        seen += 1;
    }
    assert_eq!((seen, counted.wait(long).await?), (3, vec![1, 2, 3]));

    // By default a dead member cancels the callback, which says who was to blame ...
    let broken = || group(["fine", ""].map(count::new));
    let error = broken().then(total::after()).enqueue(&client).await?.wait(long).await.unwrap_err();
    println!("{error}");
    assert!(error.is_cancelled());
    // ... unless it wants to be told how each ended.
    let told = broken().settled().then(summary::after()).enqueue(&client).await?;
    println!("{}", told.wait(long).await?);
    assert_eq!(told.result().await?.as_deref(), Some("1 words on 1 pages, 1 failed"));

    // Unlike ones side by side; nested as deep as you like.
    let of = |page: &str| join((title::new(page), count::new(page))).then(headline::after());
    let lines = group([of("Dawn of the day"), of("Noon")]).enqueue(&client).await?.wait(long).await?;
    println!("{lines:?}");
    assert_eq!(lines, ["Dawn (4 words)", "Noon (1 words)"]);
    running.abort();
    Ok(())
}
