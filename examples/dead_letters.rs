//! Jobs that failed for good: looked at, mended, run again: `cargo run --example dead_letters -- [URL]`.
use std::time::Duration;

use queue::{BoxError, DeadLetter, EndReason, State, TaskError, TaskResultExt, Worker, task, tasks};
use tokio::sync::mpsc;

#[task(retries = 1, backoff = fixed("1ms"))]
async fn ship(order: u32, city: String) -> Result<String, TaskError> {
    match city.as_str() {
        "Atlantis" => Err("it is under water").fatal(),
        "" => Err("no city")?,
        city => Ok(format!("{order} to {city}")),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or("memory:".into());
    let client = queue::connect(&url).await?;
    let (pager, mut pages) = mpsc::unbounded_channel();
    let worker = Worker::builder(&client)
        .tasks(tasks![ship])
        .on_dead(move |letter: DeadLetter| {
            // Page someone; here `main` listens.
            let pager = pager.clone();
            async move {
                let _ = pager.send(letter.id);
            }
        })
        .build()?;
    let running = tokio::spawn(worker.run());
    let long = Duration::from_secs(20);

    let sunk = ship::new(1, "Atlantis").enqueue(&client).await?;
    let nowhere = ship::new(2, "").enqueue(&client).await?;
    assert!(sunk.wait(long).await.expect_err("it is fatal").is_dead());
    assert!(nowhere.wait(long).await.expect_err("it failed twice").is_dead());
    // The hook is called on a task of its own, once the death is written; who is revived before is no dead letter.
    let paged = [tokio::time::timeout(long, pages.recv()).await?, tokio::time::timeout(long, pages.recv()).await?];
    assert!(paged.contains(&Some(sunk.id())) && paged.contains(&Some(nowhere.id())));

    let mut letters = client.dead_letters().task::<ship>().letters();
    while let Some(letter) = letters.next().await {
        let letter = letter?;
        let (arguments, error) = (letter.arguments.unwrap_or_default(), letter.error.unwrap_or_default());
        println!("{} {arguments}: {error}, after {} attempts", letter.task, letter.attempts.len());
    }
    let exhausted = client.dead_letters().reason(EndReason::Exhausted);
    assert_eq!(exhausted.count().await?, 1);

    // One with other arguments, the rest as they are; what can't be helped is deleted.
    nowhere.revive_with_json(r#"{"order": 2, "city": "Athens"}"#).await?;
    assert_eq!(nowhere.wait(long).await?, "2 to Athens");
    let report = client.dead_letters().revive().await?;
    println!("run again: {report}");
    assert_eq!(report.done, 1);
    assert!(sunk.wait(long).await.expect_err("still under water").is_dead());
    client.dead_letters().delete().await?;
    assert_eq!(client.dead_letters().count().await?, 0);
    assert_eq!(client.select().state(State::Completed).count().await?, 1);
    running.abort();
    Ok(())
}
