//! Hears of what happens: a handler in the worker's process, and a stream as another process would have it.
//!
//! `cargo run --example events`

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use queue::{BoxError, Event, EventKind, Worker, task, tasks};

#[task(retries = 1, backoff = fixed("10ms"))]
async fn deliver(parcel: u32) -> Result<String, String> {
    if parcel == 13 { Err("nobody is at home".to_owned()) } else { Ok(format!("parcel {parcel} is delivered")) }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let dir = tempfile::tempdir()?;
    let url = format!("sqlite://{}", dir.path().join("jobs.db").display());
    let client = queue::connect(&url).await?;

    // A handler hears of what its own worker does.
    let failures = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&failures);
    let worker = Worker::builder(&client).tasks(tasks![deliver]).on(EventKind::Failed, move |event| {
        seen.fetch_add(1, Ordering::Relaxed);
        async move { println!("  handler: {}", line(&event)) }
    });

    // A stream hears of what everyone does: here through a connection of its own, as a page or a monitor would.
    let monitor = queue::connect(&url).await?;
    let ends = [EventKind::Succeeded, EventKind::Retrying, EventKind::Died];
    let mut events = monitor.events().of(ends).of_task("deliver").await?;

    client.enqueue_all([1, 2, 13].map(deliver::new)).await?;
    let mut heard = Vec::new();
    let watching = async {
        while heard.len() < 4 {
            let Some(event) = events.next().await else { break };
            println!("  stream:  {}", line(&event));
            heard.push(event.kind);
        }
    };
    worker.build()?.run_until(watching).await?;

    let count = |kind| heard.iter().filter(|heard| **heard == kind).count();
    assert_eq!(ends.map(count), [2, 1, 1]);
    assert_eq!(failures.load(Ordering::Relaxed), 2);
    println!("2 parcels delivered, 1 given up after {} attempts", failures.load(Ordering::Relaxed));
    Ok(())
}

fn line(event: &Event) -> String {
    let error = event.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
    format!("{} {}, attempt {}{error}", event.task.as_deref().unwrap_or("?"), event.kind, event.attempt.unwrap_or(0))
}
