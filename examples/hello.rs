//! A task, a worker, a job, its result.
use queue::{BoxError, Context, Worker, task, tasks};
use std::time::Duration;

/// Send one email.
#[task(retries = 3, priority = 100)]
async fn send_email(to: String, subject: String, ctx: Context) -> Result<String, std::io::Error> {
    println!("attempt {}: {subject} to {to}", ctx.attempt());
    Ok(format!("receipt for {to}"))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or("sqlite://jobs.db".into()); // or redis://localhost
    let client = queue::connect(&url).await?;
    let worker = Worker::builder(&client).tasks(tasks![send_email]).build()?;
    tokio::spawn(worker.run()); // beside your web server, or in a process of its own

    let job = send_email::new("a@b.c", "Welcome").enqueue(&client).await?;
    println!("{}", job.wait(Duration::from_secs(5)).await?); // typed: String
    Ok(())
}
