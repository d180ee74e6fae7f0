//! Calling off, revoking, pausing, changing: `cargo run --example control -- [URL]`.
use std::time::Duration;

use queue::{BoxError, Cancelled, Client, Context, EndReason, Revoke, State, Worker, task, tasks};

/// Works until it is done or told to stop.
#[task]
async fn render(scene: u32, ctx: Context) -> Result<u32, std::io::Error> {
    tokio::select! {
        () = ctx.cancelled() => Err(std::io::Error::other("told to stop")),
        () = tokio::time::sleep(Duration::from_secs(600)) => Ok(scene),
    }
}

#[task(tags = ["campaign"])]
async fn send(to: String) -> Result<String, std::io::Error> {
    Ok(to)
}

/// Before any worker is there: jobs are changed, called off one by one and by the hundred.
async fn at_rest(client: &Client) -> Result<(), BoxError> {
    let later = send::new("later").delay(Duration::from_secs(3_600)).enqueue(client).await?;
    later.reschedule(Duration::from_secs(60)).await?;
    later.set_priority(7).await?;
    later.replace_arguments(send { to: "soon".into() }).await?;
    println!("{}", client.explain(later.id()).await?);
    assert_eq!(later.cancel().await?, Cancelled::Done);
    assert_eq!(later.cancel().await?, Cancelled::Ended(State::Cancelled));

    client.enqueue_all((0..250).map(|n| send::new(n.to_string()))).await?;
    let report = client.select().task::<send>().tag("campaign").state(State::Ready).cancel().await?;
    println!("called off: {report}");
    assert_eq!(report.done, 250);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or("memory:".into());
    let client = queue::connect(&url).await?;
    at_rest(&client).await?;
    let worker = Worker::builder(&client).tasks(tasks![render, send]).build()?;
    let running = tokio::spawn(worker.run());
    let long = Duration::from_secs(20);

    // A run is told at once, wherever it runs, and dropped when it does not heed.
    let scene = render::new(1).enqueue(&client).await?;
    while scene.status().await?.state() != Some(State::Running) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(scene.cancel().await?, Cancelled::Asked);
    println!("{}", scene.wait(long).await.expect_err("it was called off"));

    // Revoked: the next of its sort does not run, and then they do again.
    client.revoke(Revoke::task::<send>().next()).await?;
    let skipped = send::new("skipped").enqueue(&client).await?;
    assert_eq!(skipped.wait(long).await.expect_err("it was revoked").reason(), Some(&EndReason::Revoked));
    assert_eq!(send::new("sent").enqueue(&client).await?.wait(long).await?, "sent");
    assert!(!client.restore(Revoke::task::<send>()).await?, "it ended with the one it cancelled");

    // Paused: taken in, and run when it is resumed.
    let queue = client.queue("default");
    queue.pause().await?;
    let waiting = send::new("patient").enqueue(&client).await?;
    println!("{}", client.explain(waiting.id()).await?);
    assert!(queue.is_paused().await? && waiting.result().await?.is_none());
    queue.resume().await?;
    assert_eq!(waiting.wait(long).await?, "patient");
    running.abort();
    Ok(())
}
