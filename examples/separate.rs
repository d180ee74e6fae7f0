//! Worker and producer in processes of their own, on whatever storage both can reach.
//!
//! ```text
//! cargo run --features redis --example separate -- worker redis://localhost
//! cargo run --features redis --example separate -- send   redis://localhost
//! ```
use std::process::ExitCode;
use std::time::Duration;

use queue::{BoxError, Client, Context, Worker, task, tasks};

/// Squares a number, in the worker's process.
#[task(retries = 3)]
async fn square(number: i64, ctx: Context) -> Result<(i64, u32), std::io::Error> {
    println!("{number}: attempt {} in process {}", ctx.attempt(), std::process::id());
    Ok((number * number, std::process::id()))
}

/// Runs jobs until ctrl-c or SIGTERM, then lets those finish that run.
async fn work(client: Client) -> Result<(), BoxError> {
    let worker = Worker::builder(&client).tasks(tasks![square]).build()?;
    println!("process {} works; ctrl-c ends it", std::process::id());
    worker.run_until(asked_to_stop()).await?;
    Ok(())
}

async fn asked_to_stop() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("a signal");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Enqueues a hundred jobs in one call and waits for their results.
async fn send(client: Client) -> Result<(), BoxError> {
    let calls: Vec<_> = (1..=100).map(square::new).collect();
    let mut sum = 0;
    for job in client.enqueue_all(calls).await? {
        let (result, process) = job.wait(Duration::from_secs(30)).await?;
        assert_ne!(process, std::process::id(), "the worker is another process");
        sum += result;
    }
    assert_eq!(sum, 338_350);
    println!("the squares of 1 to 100 add up to {sum}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let mut args = std::env::args().skip(1);
    let (role, url) = (args.next(), args.next().unwrap_or("sqlite://jobs.db".into()));
    match role.as_deref() {
        Some("worker") => work(queue::connect(&url).await?).await?,
        Some("send") => send(queue::connect(&url).await?).await?,
        _ => {
            eprintln!("usage: separate worker|send [URL]   (URL: sqlite://jobs.db, redis://localhost, …)");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
