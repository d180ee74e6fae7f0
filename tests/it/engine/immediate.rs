//! Immediate mode: enqueue runs the task at once, with a worker's executor.

use std::sync::Arc;
use std::time::Duration;

use queue::{Client, Context, Data, State, TaskError, Worker, task, tasks};
use tokio::sync::{Notify, Semaphore};

use super::Runs;
use crate::support::PATIENCE;

#[task(retries = 2, backoff = fixed("1h"))]
async fn third_time(ctx: Context, runs: Data<Runs>) -> Result<u32, String> {
    runs.count();
    if ctx.attempt() < 3 { Err("again".into()) } else { Ok(ctx.attempt()) }
}

#[task]
async fn enqueues(n: u32, ctx: Context) -> Result<u32, TaskError> {
    if n == 0 {
        return Ok(0);
    }
    let inner = enqueues::new(n - 1).enqueue(ctx.client()).await.map_err(|error| error.to_string())?;
    Ok(inner.wait(PATIENCE).await? + 1)
}

#[task]
async fn adds(n: u32, more: u32) -> Result<u32, TaskError> {
    Ok(n + more)
}

#[tokio::test]
async fn retries_come_at_once_and_results_are_there() {
    let client = Client::immediate(tasks![third_time]).data(Runs::default()).build().unwrap();
    let job = third_time::new().enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap(), Some(3));
    let dead = third_time::new().retries(1).enqueue(&client).await.unwrap();
    assert!(dead.result().await.unwrap_err().is_dead(), "an error of the task is read from its handle");
}

#[tokio::test]
async fn tasks_enqueue_tasks_and_steps_follow() {
    let client = Client::immediate(tasks![enqueues, adds]).build().unwrap();
    let job = enqueues::new(5).then(adds::after(10u32)).enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap(), Some(15));
}

#[tokio::test]
async fn what_is_for_later_stays_for_later() {
    let client = Client::immediate(tasks![adds]).build().unwrap();
    let job = adds::new(1u32, 2u32).delay(Duration::from_secs(60)).enqueue(&client).await.unwrap();
    assert_eq!(job.status().await.unwrap().state(), Some(State::Scheduled));
}

#[tokio::test]
async fn a_program_turns_to_it_by_its_url() {
    let client = queue::connect("immediate:").await.unwrap();
    let early = adds::new(1u32, 2u32).enqueue(&client).await.unwrap_err();
    assert!(early.is_invalid() && early.to_string().contains("no worker has been built on it yet"), "{early}");
    let worker = Worker::builder(&client).tasks(tasks![adds]).build().unwrap();
    let unknown = enqueues::new(1).enqueue(&client).await.unwrap_err();
    assert!(unknown.to_string().contains("does not know task `enqueues`"), "{unknown}");
    let job = early.into_call().enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap(), Some(3));
    worker.run_until(async {}).await.unwrap();
}

#[tokio::test]
async fn many_at_once() {
    let client = Client::immediate(tasks![adds]).build().unwrap();
    let jobs = client.enqueue_all((0..100).map(|n| adds::new(n, 1u32))).await.unwrap();
    for (n, job) in (0..).zip(jobs) {
        assert_eq!(job.result().await.unwrap(), Some(n + 1));
    }
}

/// Ends when it is let, of which it tells first that it has begun.
#[task]
async fn is_let(begun: Data<Notify>, go: Data<Semaphore>) -> Result<u32, TaskError> {
    begun.notify_one();
    go.acquire().await?.forget();
    Ok(7)
}

#[tokio::test]
async fn a_dropped_enqueue_leaves_nothing_half_run() {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let client = Client::immediate(tasks![is_let]).data_arc(Arc::clone(&begun)).data_arc(Arc::clone(&go));
    let client = client.build().unwrap();
    let call = is_let::new();
    tokio::select! {
        ended = call.clone().enqueue(&client) => panic!("it was not let: {ended:?}"),
        () = begun.notified() => {}
    }
    go.add_permits(1);
    let job = call.enqueue(&client).await.unwrap();
    assert_eq!(job.wait(PATIENCE).await.unwrap(), 7);
}

#[tokio::test]
async fn jobs_that_enqueue_jobs_need_no_deep_stack() {
    let client = Client::immediate(tasks![enqueues]).build().unwrap();
    let job = enqueues::new(500).enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap(), Some(500));
}
