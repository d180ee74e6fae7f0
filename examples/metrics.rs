//! What a program does, and how it stands with its queues, as Prometheus reads it.
//!
//! ```text
//! cargo run --example metrics --features metrics
//! ```

use std::time::Duration;

use queue::metrics::{Metrics, Observed};
use queue::{BoxError, Client, TaskError, Worker, task, tasks};

#[task]
async fn resize(width: u32) -> Result<(), TaskError> {
    if width == 0 {
        return Err(TaskError::fatal("nothing would be left of it"));
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // The storage's answers are timed on their way to the client.
    let observed = Observed::new(Client::memory().storage().clone());
    let client = Client::new(observed.clone());
    // What is stored is read at most once a second; here each time, so that nobody has to wait.
    let metrics = Metrics::builder(&client).backend(&observed).cache_for(Duration::ZERO).build();

    client.enqueue_all((0..10).map(resize::new)).await?;
    assert!(metrics.render().await.contains(r#"queue_jobs{queue="default",state="ready"} 10"#));
    Worker::builder(&client).tasks(tasks![resize]).build()?.run_until_drained().await?;

    print!("{}", metrics.render().await);
    Ok(())
}
