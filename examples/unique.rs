//! Jobs that are not to be there twice: `cargo run --example unique -- [URL]`.
use std::time::Duration;

use queue::{BoxError, Unique, Worker, task, tasks};

/// One for each customer, until it has run: a second call gets the handle of the first.
#[task(unique(key = "customer"))]
async fn invoice(customer: String, month: u32) -> Result<String, std::io::Error> {
    Ok(format!("{customer}-{month}"))
}

/// Runs once after the last of a row of calls, with what the last one said.
#[task(unique(key = "document", until = started, conflict = debounce))]
async fn index(document: u64, text: String) -> Result<String, std::io::Error> {
    Ok(format!("{document}: {text}"))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or("memory:".into());
    let client = queue::connect(&url).await?;
    let long = Duration::from_secs(20);

    // Nobody works yet, so what is enqueued stays.
    let first = invoice::new("acme", 11).enqueue(&client).await?;
    let second = invoice::new("acme", 12).enqueue(&client).await?;
    assert!(second.is_existing() && second.id() == first.id());
    let other = invoice::new("beta", 11).enqueue(&client).await?;
    assert!(!other.is_existing());

    // In bulk as well, and with another rule than the task's own.
    let months = [1, 1, 2].map(|month| invoice::new("gamma", month).unique(Unique::args()));
    let jobs = client.enqueue_all(months).await?;
    assert_eq!(jobs.iter().filter(|job| job.is_existing()).count(), 1);
    let refused = invoice::new("acme", 1).unique(Unique::by(&["customer"]).or_reject());
    let refused = refused.enqueue(&client).await.expect_err("acme has one");
    println!("{refused}");
    assert_eq!(refused.existing(), Some(first.id()));

    let delay = Duration::from_millis(150);
    let mut document = None;
    for text in ["draft", "better", "final"] {
        document = Some(index::new(7, text).delay(delay).enqueue(&client).await?);
    }

    let worker = Worker::builder(&client).tasks(tasks![invoice, index]).build()?;
    let running = tokio::spawn(worker.run());
    assert_eq!(first.wait(long).await?, "acme-11");
    let indexed = document.expect("three calls").wait(long).await?;
    println!("three calls, one run: {indexed}");
    assert_eq!(indexed, "7: final");

    // The key is free in the very step that ended its holder.
    assert!(!invoice::new("acme", 12).enqueue(&client).await?.is_existing());
    let counts = client.counts("default").await?;
    assert_eq!(counts.enqueued, 6, "acme, beta, two of gamma, the document, acme again");
    running.abort();
    Ok(())
}
