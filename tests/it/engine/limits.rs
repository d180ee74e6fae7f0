//! By when a job must have started and ended, and what is told of it.

use std::time::{Duration, SystemTime};

use queue::{Context, Data, EndReason, FailureKind, Job, JobHandle, Lookup, State, TaskError, task, tasks};
use queue_storage::model::Tag;

use super::ends::running;
use super::{Runs, worker};
use crate::support::{PATIENCE, Place, on_every_storage};

on_every_storage!(
    a_deadline_cuts_a_run_short,
    no_retry_is_due_after_the_deadline,
    a_run_knows_which_limit_comes_first,
    limits_and_labels_are_stored_with_the_job,
    labels_that_are_refused,
    a_failure_tells_the_version_of_its_program,
    the_time_for_retries_begins_with_the_first_run,
);

const HOUR: Duration = Duration::from_secs(3_600);

async fn stored<T>(place: &Place, job: &JobHandle<T>) -> Job {
    let Lookup::Found(job) = place.client.job(job.id()).await.unwrap() else { panic!("it is kept") };
    *job
}

#[task(retries = 9, backoff = fixed("1ms"), timeout = "1h")]
async fn hangs() -> Result<(), TaskError> {
    std::future::pending().await
}

async fn a_deadline_cuts_a_run_short(place: Place) {
    let job = running(&place, tasks![hangs], async {
        let job = hangs::new().deadline(Duration::from_millis(500)).enqueue(&place.client).await.unwrap();
        assert!(job.wait(PATIENCE).await.unwrap_err().is_dead());
        job
    });
    let job = stored(&place, &job.await).await;
    assert_eq!((job.state, job.reason, job.attempts), (State::Dead, Some(EndReason::Deadline), 1));
    let failure = job.failure.unwrap();
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Timeout, "the job's deadline came while it ran"));
    assert!(job.ended_at.unwrap() >= job.deadline_at.unwrap());
}

#[task(retries = 9, backoff = fixed("2h"), jitter = none, deadline = "1h")]
async fn fails() -> Result<(), &'static str> {
    Err("no")
}

async fn no_retry_is_due_after_the_deadline(place: Place) {
    let job = fails::new().enqueue(&place.client).await.unwrap();
    let error = running(&place, tasks![fails], job.wait(PATIENCE)).await.unwrap_err();
    assert!(error.to_string().ends_with("is dead (deadline): no"), "{error}");
    assert_eq!(stored(&place, &job).await.attempts, 1);
}

#[task]
async fn tells_its_deadline(ctx: Context) -> Result<u64, TaskError> {
    let deadline = ctx.deadline().ok_or("it has none")?;
    Ok(deadline.duration_since(ctx.enqueued_at())?.as_secs_f64().round() as u64 / 60)
}

async fn a_run_knows_which_limit_comes_first(place: Place) {
    let job = || tells_its_deadline::new();
    let calls = [job().timeout(HOUR), job().deadline(HOUR * 2), job().timeout(HOUR).deadline(HOUR * 2)];
    let calls = calls.into_iter().chain([job().timeout(HOUR * 2).deadline(HOUR)]);
    let jobs = place.client.enqueue_all(calls).await.unwrap();
    let minutes = running(&place, tasks![tells_its_deadline], async {
        let mut minutes = Vec::new();
        for job in &jobs {
            minutes.push(job.wait(PATIENCE).await.unwrap());
        }
        minutes
    });
    assert_eq!(minutes.await, [60, 120, 60, 60]);
}

#[task(expires = "1h", deadline = "2h", tags = ["mail", "weekly"])]
async fn labelled() -> Result<(), TaskError> {
    Ok(())
}

async fn limits_and_labels_are_stored_with_the_job(place: Place) {
    let tags = |job: &Job| job.tags.iter().map(Tag::to_string).collect::<Vec<_>>();
    let job = stored(&place, &labelled::new().enqueue(&place.client).await.unwrap()).await;
    let after = |at: Option<queue::Timestamp>| at.unwrap() - job.enqueued_at;
    assert_eq!((after(job.expires_at), after(job.deadline_at)), (HOUR, HOUR * 2));
    assert_eq!(tags(&job), ["mail", "weekly"]);

    // In the year 2100.
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    let call = labelled::new().delay(HOUR).expires(HOUR * 3).deadline(moment).tag("acme").tag("mail").tag("acme");
    let job = stored(&place, &call.enqueue(&place.client).await.unwrap()).await;
    assert_eq!(job.expires_at.unwrap() - job.due_at.unwrap(), HOUR * 3, "counted from when it is due");
    assert_eq!(job.deadline_at, Some(moment.into()));
    assert_eq!(tags(&job), ["acme", "mail", "weekly"]);
}

async fn labels_that_are_refused(place: Place) {
    let many = (0..7).fold(labelled::new(), |call, n| call.tag(format!("tag{n}")));
    let error = many.enqueue(&place.client).await.unwrap_err();
    assert_eq!((error.code(), error.is_invalid()), ("enqueue.too_many_tags", true));
    assert!(error.to_string().contains("a call of `labelled` has 9 tags, the most is 8"), "{error}");
    let error = labelled::new().tag("two words").enqueue(&place.client).await.unwrap_err();
    assert_eq!((error.code(), error.is_invalid()), ("enqueue.bad_name", true));
}

async fn a_failure_tells_the_version_of_its_program(place: Place) {
    let job = hangs::new().retries(0).timeout(Duration::from_millis(1)).enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks![hangs]).version("1.2.3").build().unwrap();
    let told = async {
        assert!(job.wait(PATIENCE).await.unwrap_err().is_dead());
        place.storage.workers().await.unwrap().remove(0).version
    };
    let mut version = None;
    worker.run_until(async { version = told.await }).await.unwrap();
    assert_eq!(version.as_deref(), Some("1.2.3"), "the worker's");
    assert_eq!(stored(&place, &job).await.failure.unwrap().version.as_deref(), Some("1.2.3"));
}

#[task(retries = 99, backoff = fixed("80ms"), jitter = none, retry_for = "100ms")]
async fn fails_for_a_while(runs: Data<Runs>) -> Result<(), &'static str> {
    runs.count();
    Err("no")
}

async fn the_time_for_retries_begins_with_the_first_run(place: Place) {
    let job = fails_for_a_while::new().enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks![fails_for_a_while]).data(Runs::default()).build().unwrap();
    worker.run_until(async { assert!(job.wait(PATIENCE).await.unwrap_err().is_dead()) }).await.unwrap();
    let job = stored(&place, &job).await;
    // After the second run a third would be due 160 ms after the first. A slow machine may end it with the first.
    assert!(job.reason == Some(EndReason::Exhausted) && job.attempts <= 2, "{job:?}");
}
