//! What a task says about its job, and who else has a say.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use queue::{
    Backoff, BoxError, Call, Context, Data, EndReason, Jitter, Job, JobQuery, State, TaskError, TaskResultExt, Verdict,
    task, tasks,
};

use super::{Runs, worker};
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    a_job_may_call_itself_off,
    a_snooze_burns_no_attempt,
    a_retry_at_a_moment_is_due_then,
    a_verdict_within_other_errors_is_found,
    retry_if_tells_what_may_pass,
    errors_are_judged_by_their_type,
    no_retry_comes_after_the_time_for_retries,
    each_backoff_gives_its_delay,
    a_backoff_that_panics_is_replaced,
    time_for_retries_needs_retries,
);

const HOUR: Duration = Duration::from_secs(3_600);

/// The job, once its state is this.
async fn in_state(place: &Place, state: State) -> Job {
    let page = async || place.client.jobs(&JobQuery::default()).await.unwrap().jobs.into_iter().next();
    eventually(state.as_str(), async || page().await.filter(|job| job.state == state)).await
}

/// Runs one job until it is in this state.
async fn run_to<T: queue::Task>(place: &Place, tasks: queue::TaskList, call: Call<T>, state: State) -> (Job, u32) {
    let runs = Arc::new(Runs::default());
    let builder = worker(place, tasks).data_arc(Arc::clone(&runs));
    let worker = builder.classify(by_kind).build().unwrap();
    call.enqueue(&place.client).await.unwrap();
    let mut job = None;
    worker.run_until(async { job = Some(in_state(place, state).await) }).await.unwrap();
    (job.unwrap(), runs.get())
}

/// What the worker says of files.
fn by_kind(error: &io::Error) -> Verdict {
    match error.kind() {
        ErrorKind::NotFound => Verdict::Fatal,
        ErrorKind::WouldBlock => Verdict::Snooze(Duration::ZERO),
        _ => Verdict::Policy,
    }
}

#[task(retries = 9, backoff = fixed("1ms"))]
async fn no_longer_wanted(ctx: Context) -> Result<(), TaskError> {
    if ctx.attempt() == 1 {
        Err("try once more")?;
    }
    Err(TaskError::cancel("the order was withdrawn"))
}

async fn a_job_may_call_itself_off(place: Place) {
    let (job, _) = run_to(&place, tasks![no_longer_wanted], no_longer_wanted::new(), State::Cancelled).await;
    assert_eq!((job.reason, job.attempts), (Some(EndReason::CalledOff), 2));
    assert_eq!(job.failure.unwrap().message, "the order was withdrawn");
    assert_eq!(job.keep_until.unwrap() - job.ended_at.unwrap(), HOUR);
}

#[task]
async fn too_early(ctx: Context, runs: Data<Runs>) -> Result<u32, TaskError> {
    match runs.count() {
        1 => Err(TaskError::snooze(Duration::ZERO)),
        2 => Err("not ripe").snooze(Duration::from_millis(1)),
        _ => Ok(ctx.attempt()),
    }
}

async fn a_snooze_burns_no_attempt(place: Place) {
    let (job, runs) = run_to(&place, tasks![too_early], too_early::new(), State::Completed).await;
    assert_eq!((job.attempts, job.crashes, runs), (1, 0, 3));
    assert_eq!(job.result.as_deref(), Some(&[1][..]), "it was the first attempt each time");
}

#[task(retries = 1)]
async fn at_a_moment(micros: u64) -> Result<(), TaskError> {
    Err("later").retry_at(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
}

async fn a_retry_at_a_moment_is_due_then(place: Place) {
    // In the year 2100.
    let micros = 4_102_444_800_000_007;
    let (job, _) = run_to(&place, tasks![at_a_moment], at_a_moment::new(micros), State::Retrying).await;
    assert_eq!(job.due_at.unwrap().as_micros(), 4_102_444_800_000_007);
    // A moment that has passed is now.
    let past = at_a_moment::new(1).queue("past").enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks![at_a_moment]).queue("past").build().unwrap();
    worker.run_until(async { assert!(past.wait(PATIENCE).await.unwrap_err().is_dead()) }).await.unwrap();
    assert_eq!(past.status().await.unwrap().facts().unwrap().attempts, 2);
}

fn parse(text: &str) -> Result<u32, BoxError> {
    Ok(text.parse().fatal().map_err(TaskError::into_error)?)
}

#[task(retries = 9, backoff = fixed("1ms"))]
async fn wraps(runs: Data<Runs>) -> Result<u32, io::Error> {
    runs.count();
    parse("x").map_err(io::Error::other)
}

async fn a_verdict_within_other_errors_is_found(place: Place) {
    let (job, runs) = run_to(&place, tasks![wraps], wraps::new(), State::Dead).await;
    assert_eq!((job.reason, runs), (Some(EndReason::Fatal), 1));
    let failure = job.failure.unwrap();
    assert_eq!(failure.message, "invalid digit found in string");
    assert!(failure.error_type.unwrap().ends_with("ParseIntError"));
}

fn may_pass(error: &io::Error) -> bool {
    error.kind() != ErrorKind::PermissionDenied
}

fn at_attempt(attempt: u32) -> Result<u32, io::Error> {
    match attempt {
        1 => Err(ErrorKind::TimedOut.into()),
        // The worker would say that this is fatal.
        2 => Err(ErrorKind::NotFound.into()),
        _ => Err(ErrorKind::PermissionDenied.into()),
    }
}

#[task(retries = 9, backoff = fixed("1ms"), retry_if = may_pass)]
async fn asked(ctx: Context) -> Result<u32, io::Error> {
    at_attempt(ctx.attempt())
}

#[task(retries = 9, backoff = fixed("1ms"), retry_if = may_pass)]
fn asked_on_a_thread(ctx: Context) -> Result<u32, io::Error> {
    at_attempt(ctx.attempt())
}

fn never(_: &TaskError) -> bool {
    false
}

#[task(retries = 1, backoff = fixed("1ms"), retry_if = never)]
async fn says_so_itself(ctx: Context) -> Result<u32, TaskError> {
    if ctx.attempt() == 1 { Err("again").retry_in(Duration::ZERO) } else { Err("not said")? }
}

async fn retry_if_tells_what_may_pass(place: Place) {
    let tasks = || tasks![asked, asked_on_a_thread, says_so_itself];
    let asked = asked::new().enqueue(&place.client).await.unwrap();
    let on_a_thread = asked_on_a_thread::new().enqueue(&place.client).await.unwrap();
    let itself = says_so_itself::new().enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks()).classify(by_kind).build().unwrap();
    let ended = async { (asked.wait(PATIENCE).await, on_a_thread.wait(PATIENCE).await, itself.wait(PATIENCE).await) };
    worker.run_until(async { drop(ended.await) }).await.unwrap();
    for job in place.client.jobs(&JobQuery::default()).await.unwrap().jobs {
        let runs = if job.task.as_str() == "says_so_itself" { 2 } else { 3 };
        assert_eq!((job.reason, job.attempts), (Some(EndReason::Fatal), runs), "{}", job.task);
    }
}

#[derive(Debug)]
struct Outer(io::Error);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("can't read")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[task(retries = 9, backoff = fixed("1ms"))]
async fn reads(runs: Data<Runs>) -> Result<(), Outer> {
    let kinds = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::NotFound];
    Err(Outer(kinds[usize::try_from(runs.count()).unwrap() - 1].into()))
}

async fn errors_are_judged_by_their_type(place: Place) {
    let (job, runs) = run_to(&place, tasks![reads], reads::new(), State::Dead).await;
    assert_eq!((job.reason, job.attempts, runs), (Some(EndReason::Fatal), 2, 3), "a snooze, a retry, and the end");
}

#[task(retries = 99, backoff = fixed("1h"), jitter = none, retry_for = "30m")]
async fn fails(runs: Data<Runs>) -> Result<(), &'static str> {
    runs.count();
    Err("no")
}

async fn no_retry_comes_after_the_time_for_retries(place: Place) {
    let (job, runs) = run_to(&place, tasks![fails], fails::new(), State::Dead).await;
    assert_eq!((job.reason, job.attempts, runs), (Some(EndReason::Exhausted), 1, 1));
    // The call may give it more.
    let longer = fails::new().retry_for(2 * HOUR).queue("longer").enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks![fails]).queue("longer").data(Runs::default()).build().unwrap();
    let retrying = async || (longer.status().await.unwrap().state() == Some(State::Retrying)).then_some(());
    worker.run_until(eventually("it is retried", retrying)).await.unwrap();
}

fn hours(attempt: u32) -> Duration {
    HOUR * (6 + attempt)
}

#[task(retries = 5, backoff = hours, jitter = none)]
async fn by_function() -> Result<(), &'static str> {
    Err("no")
}

async fn each_backoff_gives_its_delay(place: Place) {
    let call = |backoff| by_function::new().backoff(backoff);
    let cases = [
        (by_function::new(), 7),
        (by_function::new().jitter(Jitter::None).backoff(Backoff::fixed(HOUR * 2)), 2),
        (call(Backoff::linear(HOUR * 3, HOUR)), 3),
        (call(Backoff::list(&[HOUR * 4, HOUR])), 4),
        (call(Backoff::exponential(HOUR * 5)), 5),
    ];
    for (call, _) in &cases {
        call.clone().enqueue(&place.client).await.unwrap();
    }
    let page = async || place.client.jobs(&JobQuery::default()).await.unwrap().jobs;
    let all_retry = async || page().await.iter().all(|job| job.state == State::Retrying).then_some(());
    let worker = worker(&place, tasks![by_function]).build().unwrap();
    worker.run_until(eventually("all are to be retried", all_retry)).await.unwrap();
    for job in page().await {
        let hours = cases.iter().find(|(call, _)| call.id() == job.id).unwrap().1;
        let delay = job.due_at.unwrap() - job.started_at.unwrap();
        assert!((HOUR * hours..HOUR * hours + PATIENCE).contains(&delay), "{delay:?} for {hours} h");
    }
}

fn broken(attempt: u32) -> Duration {
    panic!("no delay after attempt {attempt}")
}

#[task(retries = 1, backoff = broken, jitter = none)]
async fn by_a_broken_function() -> Result<(), &'static str> {
    Err("no")
}

async fn a_backoff_that_panics_is_replaced(place: Place) {
    let task = tasks![by_a_broken_function];
    let (job, _) = run_to(&place, task, by_a_broken_function::new(), State::Dead).await;
    assert_eq!((job.attempts, job.failure.unwrap().message), (2, "no".into()));
}

async fn time_for_retries_needs_retries(place: Place) {
    let never = by_function::new().retries(0).retry_for(HOUR).enqueue(&place.client).await.unwrap_err();
    assert_eq!((never.code(), never.is_invalid()), ("enqueue.no_retries", true));
    assert!(never.to_string().contains("say how often at most, with `.retries(10)`"), "{never}");
    fails::new().retry_for(HOUR).enqueue(&place.client).await.unwrap();
    by_function::new().retries(1).retry_for(HOUR).enqueue(&place.client).await.unwrap();
}
