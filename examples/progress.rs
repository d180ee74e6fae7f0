//! How far a run got, its time to start and to end, its result taken: `cargo run --example progress -- [URL]`.
use std::time::Duration;

use queue::{BoxError, Context, EndReason, Worker, task, tasks};

/// Counts pages, and says so.
#[task(timeout = "20s")]
async fn count(pages: u64, ctx: Context) -> Result<u64, std::io::Error> {
    for page in 1..=pages {
        tokio::time::sleep(Duration::from_millis(30)).await;
        ctx.progress(page, pages, format!("page {page}"));
    }
    Ok(pages)
}

/// Of no use if it does not start within a tenth of a second.
#[task(expires = "100ms")]
async fn greet(name: String) -> Result<String, std::io::Error> {
    Ok(format!("good morning, {name}"))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or("memory:".into());
    let client = queue::connect(&url).await?;
    let long = Duration::from_secs(20);

    // Nobody works yet, and then it is too late.
    let late = greet::new("Ada").enqueue(&client).await?;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let worker = Worker::builder(&client).tasks(tasks![count, greet]).build()?;
    let running = tokio::spawn(worker.run());
    let error = late.wait(long).await.expect_err("it came too late");
    println!("{error}");
    assert!(error.is_expired() && error.reason() == Some(&EndReason::Overdue));
    assert_eq!(greet::new("Ada").enqueue(&client).await?.wait(long).await?, "good morning, Ada");

    let job = count::new(12).enqueue(&client).await?;
    let mut steps = job.progress_stream();
    let mut last = None;
    while let Some(step) = steps.next().await {
        let step = step?;
        println!("{} of {}: {}", step.done, step.total, step.message);
        assert!(last.as_ref().is_none_or(|before: &queue::Progress| before.done <= step.done));
        last = Some(step);
    }
    assert_eq!(last.expect("it said something").done, 12, "the last word is never lost");

    // Read as often as you like; taken once.
    assert_eq!(job.wait(long).await?, 12);
    assert_eq!(job.take(long).await?, 12);
    assert!(job.wait(long).await.expect_err("it is gone").is_gone());
    running.abort();
    Ok(())
}
