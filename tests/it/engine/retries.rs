//! Exactly as many runs as were asked for.

use std::sync::Arc;
use std::time::Duration;

use queue::{Backoff, Context, Data, EndReason, TaskError, TaskResultExt, WaitError, task, tasks};

use super::{Runs, worker};
use crate::support::{PATIENCE, Place, on_every_storage};

on_every_storage!(
    retries_plus_one_runs,
    a_fatal_error_is_not_retried,
    it_succeeds_at_the_third_attempt,
    a_timeout_is_a_failed_attempt,
    a_call_overrides_its_task,
);

#[task(retries = 3, backoff = fixed("1ms"))]
async fn fails(ctx: Context, runs: Data<Runs>) -> Result<(), String> {
    assert_eq!((runs.count(), ctx.max_attempts()), (ctx.attempt(), 4));
    Err(format!("attempt {} failed, {} left", ctx.attempt(), ctx.retries_left()))
}

/// Runs one job to its end with a counter; what it said, and how often it ran.
async fn end_of<T: queue::Task<Output: std::fmt::Debug>>(
    place: &Place,
    tasks: queue::TaskList,
    call: queue::Call<T>,
) -> (WaitError, u32) {
    let runs = Arc::new(Runs::default());
    let worker = worker(place, tasks).data_arc(Arc::clone(&runs)).build().unwrap();
    let job = call.enqueue(&place.client).await.unwrap();
    let mut error = None;
    worker.run_until(async { error = job.wait(PATIENCE).await.err() }).await.unwrap();
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.attempts, facts.crashes), (runs.get(), 0));
    (error.expect("it fails"), runs.get())
}

async fn retries_plus_one_runs(place: Place) {
    let (error, runs) = end_of(&place, tasks![fails], fails::new()).await;
    assert_eq!(runs, 4);
    assert!(error.to_string().ends_with("is dead (exhausted): attempt 4 failed, 0 left"), "{error}");
    let ended = place.client.counts("default").await.unwrap().ended;
    assert_eq!((ended.dead, ended.total()), (1, 1));
}

#[task(retries = 3)]
async fn gives_up(runs: Data<Runs>) -> Result<(), TaskError> {
    runs.count();
    "x".parse::<u32>().fatal()?;
    Ok(())
}

async fn a_fatal_error_is_not_retried(place: Place) {
    let (error, runs) = end_of(&place, tasks![gives_up], gives_up::new()).await;
    assert_eq!(runs, 1);
    let failure = error.failure().unwrap();
    assert_eq!(failure.message, "invalid digit found in string");
    assert!(failure.error_type.as_deref().unwrap().ends_with("ParseIntError"));
}

#[task(retries = 3, backoff = exponential("1ms"), jitter = none)]
async fn succeeds_at_third(ctx: Context) -> Result<u32, &'static str> {
    if ctx.attempt() < 3 { Err("not yet") } else { Ok(ctx.attempt()) }
}

async fn it_succeeds_at_the_third_attempt(place: Place) {
    let job = succeeds_at_third::new().enqueue(&place.client).await.unwrap();
    let result = super::ends::running(&place, tasks![succeeds_at_third], job.wait(PATIENCE)).await;
    assert_eq!(result.unwrap(), 3);
    assert_eq!(job.result().await.unwrap(), Some(3), "reading does not delete");
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!(facts.failure.unwrap().message, "not yet", "what went wrong last is kept");
}

#[task(retries = 1, backoff = fixed("1ms"), timeout = "20ms")]
async fn hangs(runs: Data<Runs>) -> Result<(), String> {
    runs.count();
    std::future::pending().await
}

async fn a_timeout_is_a_failed_attempt(place: Place) {
    let (error, runs) = end_of(&place, tasks![hangs], hangs::new()).await;
    assert_eq!(runs, 2);
    assert!(error.to_string().ends_with("timeout: the attempt took longer than its timeout of 20ms"), "{error}");
}

async fn a_call_overrides_its_task(place: Place) {
    let call = hangs::new().retries(0).timeout(Duration::from_millis(5)).backoff(Backoff::fixed(Duration::ZERO));
    let (error, runs) = end_of(&place, tasks![hangs], call).await;
    assert_eq!(runs, 1);
    assert!(error.to_string().contains("5ms"), "{error}");
    let page = place.client.jobs(&queue::JobQuery::default()).await.unwrap();
    assert_eq!(page.jobs[0].reason, Some(EndReason::Exhausted));
}
