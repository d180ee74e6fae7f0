//! Jobs that are called off: at rest, while they run, by hand and by the hundred.

use std::sync::Arc;
use std::time::Duration;

use queue::{Cancelled, Client, Context, Data, EndReason, State, TaskError, TaskResultExt, Worker, task, tasks};
use queue_storage::model::{JobId, Shard};
use tokio::sync::Semaphore;

use super::{Runs, worker};
use crate::support::saboteur::Saboteur;
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    at_rest,
    what_waits_for_it,
    a_run_is_told_at_once_and_dropped_after_the_grace,
    whoever_succeeds_all_the_same_is_completed,
    whoever_fails_once_asked_is_cancelled_and_no_dead_letter,
    a_thread_is_told_and_settles_when_it_returns,
    a_lost_hint_is_made_up_for_by_the_next_renewal,
    a_retry_that_waits,
    by_the_hundred,
    a_job_of_nobody,
    in_immediate_mode,
);

/// Where the test and the runs meet.
#[derive(Debug)]
pub struct Meeting {
    begun: Semaphore,
    told: Semaphore,
    over: Semaphore,
}

impl Meeting {
    fn new() -> Arc<Self> {
        Arc::new(Self { begun: Semaphore::new(0), told: Semaphore::new(0), over: Semaphore::new(0) })
    }
}

async fn pass(gate: &Semaphore) {
    tokio::time::timeout(PATIENCE, gate.acquire()).await.expect("it never came").unwrap().forget();
}

/// Tells when it is dropped.
struct Dropped(Arc<Meeting>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.over.add_permits(1);
    }
}

#[task(retries = 9)]
pub async fn stubborn(ctx: Context, meeting: Data<Meeting>) -> Result<(), TaskError> {
    let _dropped = Dropped(meeting.clone().into_arc());
    meeting.begun.add_permits(1);
    ctx.cancelled().await;
    meeting.told.add_permits(1);
    std::future::pending().await
}

#[task]
pub async fn obliging(fail: u32, ctx: Context, meeting: Data<Meeting>) -> Result<u32, TaskError> {
    meeting.begun.add_permits(1);
    ctx.cancelled().await;
    match fail {
        0 => Ok(7),
        1 => Err("stopped half-way".into()),
        _ => Err("stopped half-way").fatal(),
    }
}

#[task]
fn on_a_thread(ctx: Context, meeting: Data<Meeting>) -> Result<(), TaskError> {
    meeting.begun.add_permits(1);
    while !ctx.is_cancelled() {
        std::thread::yield_now();
    }
    Err("told to stop".into())
}

#[task]
async fn quick(runs: Data<Runs>) -> Result<u32, TaskError> {
    Ok(runs.count())
}

#[task(retries = 1, backoff = fixed("1h"))]
async fn fails() -> Result<(), TaskError> {
    Err("no".into())
}

async fn at_rest(place: Place) {
    let job = quick::new().enqueue(&place.client).await.unwrap();
    assert_eq!(job.cancel().await.unwrap(), Cancelled::Done);
    assert_eq!(job.cancel().await.unwrap(), Cancelled::Ended(State::Cancelled));
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.state, facts.reason), (State::Cancelled, Some(EndReason::Requested)));
    let kept = facts.keep_until.unwrap().duration_since(facts.ended_at.unwrap()).unwrap();
    assert_eq!(kept, Duration::from_secs(3_600));
    let error = job.wait(PATIENCE).await.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.to_string(), format!("job {} was cancelled: someone cancelled it", job.id()));
}

async fn what_waits_for_it(place: Place) {
    let first = quick::new().delay(Duration::from_secs(3_600));
    let id = first.id();
    let last = first.then(quick::new()).enqueue(&place.client).await.unwrap();
    assert_eq!(place.client.cancel(id).await.unwrap(), Cancelled::Done);
    let error = last.wait(PATIENCE).await.unwrap_err();
    assert_eq!((error.culprit(), error.reason()), (Some(id), Some(&EndReason::Dependency)));
}

/// Runs a worker on the meeting while `body` runs.
async fn meeting<T>(place: &Place, body: impl AsyncFnOnce(Arc<Meeting>) -> T) -> T {
    let meeting = Meeting::new();
    let worker = worker(place, tasks![stubborn, obliging, on_a_thread]).data_arc(Arc::clone(&meeting));
    // Rounds of renewals never come: whoever is told is told by a hint.
    let worker = worker.lease(Duration::from_secs(36_000)).cancel_grace(Duration::from_millis(50)).build().unwrap();
    let mut result = None;
    worker.run_until(async { result = Some(body(meeting).await) }).await.unwrap();
    result.unwrap()
}

async fn a_run_is_told_at_once_and_dropped_after_the_grace(place: Place) {
    meeting(&place, async |meeting| {
        let job = stubborn::new().enqueue(&place.client).await.unwrap();
        pass(&meeting.begun).await;
        assert_eq!(job.cancel().await.unwrap(), Cancelled::Asked);
        pass(&meeting.told).await;
        pass(&meeting.over).await;
        let error = job.wait(PATIENCE).await.unwrap_err();
        assert!(error.is_cancelled() && error.failure().is_none(), "{error}");
        let facts = job.status().await.unwrap().facts().cloned().unwrap();
        assert_eq!((facts.reason, facts.cancel_requested), (Some(EndReason::Requested), false));
        assert_eq!((facts.history.len(), facts.history[0].end.as_str()), (1, "cancelled"));
        assert_eq!(job.cancel().await.unwrap(), Cancelled::Ended(State::Cancelled));
    })
    .await;
}

async fn whoever_succeeds_all_the_same_is_completed(place: Place) {
    meeting(&place, async |meeting| {
        let job = obliging::new(0).enqueue(&place.client).await.unwrap();
        pass(&meeting.begun).await;
        assert_eq!(job.cancel().await.unwrap(), Cancelled::Asked);
        assert_eq!(job.wait(PATIENCE).await.unwrap(), 7);
        assert_eq!(job.cancel().await.unwrap(), Cancelled::Ended(State::Completed));
    })
    .await;
}

async fn whoever_fails_once_asked_is_cancelled_and_no_dead_letter(place: Place) {
    meeting(&place, async |meeting| {
        for (fail, retries) in [(1, 0), (1, 5), (2, 5)] {
            let job = obliging::new(fail).retries(retries).enqueue(&place.client).await.unwrap();
            pass(&meeting.begun).await;
            job.cancel().await.unwrap();
            let error = job.wait(PATIENCE).await.unwrap_err();
            assert!(error.is_cancelled(), "{error}");
            assert_eq!(error.reason(), Some(&EndReason::Requested));
            let text = format!("job {} was cancelled: someone cancelled it: stopped half-way", job.id());
            assert_eq!(error.to_string(), text, "{fail} {retries}");
        }
        assert_eq!(place.client.dead_letters().count().await.unwrap(), 0);
    })
    .await;
}

async fn a_thread_is_told_and_settles_when_it_returns(place: Place) {
    meeting(&place, async |meeting| {
        let job = on_a_thread::new().enqueue(&place.client).await.unwrap();
        pass(&meeting.begun).await;
        job.cancel().await.unwrap();
        let error = job.wait(PATIENCE).await.unwrap_err();
        assert_eq!(error.failure().map(|failure| failure.message.as_str()), Some("told to stop"));
        assert!(error.is_cancelled());
    })
    .await;
}

async fn a_lost_hint_is_made_up_for_by_the_next_renewal(place: Place) {
    let line = Saboteur::new(Arc::clone(&place.storage), []);
    line.deafen();
    let deaf = Client::new(line);
    let met = Meeting::new();
    let worker = Worker::builder(&deaf).tasks(tasks![stubborn]).data_arc(Arc::clone(&met));
    let worker = worker.lease(Duration::from_millis(600)).poll_every(Duration::from_millis(20));
    let worker = worker.cancel_grace(Duration::ZERO).build().unwrap();
    let job = stubborn::new().enqueue(&place.client).await.unwrap();
    worker
        .run_until(async {
            pass(&met.begun).await;
            assert_eq!(job.cancel().await.unwrap(), Cancelled::Asked);
            assert!(job.wait(PATIENCE).await.unwrap_err().is_cancelled());
        })
        .await
        .unwrap();
}

async fn a_retry_that_waits(place: Place) {
    let job = fails::new().enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks![fails]).build().unwrap();
    let retrying = async || (job.status().await.unwrap().state() == Some(State::Retrying)).then_some(());
    worker.run_until(eventually("it is retrying", retrying)).await.unwrap();
    assert_eq!(job.cancel().await.unwrap(), Cancelled::Done);
    let error = job.wait(PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), format!("job {} was cancelled: someone cancelled it: no", job.id()));
}

async fn by_the_hundred(place: Place) {
    let calls = (0..250).map(|_| quick::new().delay(Duration::from_secs(60)));
    place.client.enqueue_all(calls).await.unwrap();
    place.client.enqueue_all((0..30).map(|_| stubborn::new())).await.unwrap();
    meeting(&place, async |meeting| {
        for _ in 0..8 {
            pass(&meeting.begun).await;
        }
        let steps = Arc::new(Runs::default());
        let counted = Arc::clone(&steps);
        let all = place.client.select().queue("default").on_progress(move |_| {
            counted.count();
        });
        assert_eq!(all.count().await.unwrap(), 280);
        let report = all.cancel().await.unwrap();
        assert_eq!((report.matched, report.done, report.asked, report.refused), (280, 272, 8, 0));
        assert_eq!(report.to_string(), "280 jobs: 272 done, 8 asked to stop");
        assert!(steps.get() >= 3, "told after each batch");
        let none_left = async || (place.client.counts("default").await.unwrap().live() == 0).then_some(());
        eventually("all have ended", none_left).await;
        assert_eq!(place.client.counts("default").await.unwrap().ended.cancelled, 280);
        let again = place.client.select().cancel().await.unwrap();
        assert_eq!((again.refused, again.refused_by_state[&State::Cancelled]), (280, 280));
    })
    .await;
}

async fn a_job_of_nobody(place: Place) {
    let id = JobId::new(&Shard::of("default".parse().unwrap()));
    assert_eq!(place.client.cancel(id).await.unwrap(), Cancelled::Unknown);
    let job = quick::new().enqueue(&place.client).await.unwrap();
    job.delete().await.unwrap();
    assert_eq!(job.cancel().await.unwrap(), Cancelled::Gone);
    assert!(job.delete().await.unwrap_err().is_gone());
}

async fn in_immediate_mode(place: Place) {
    let client = Client::builder(Arc::clone(&place.storage)).immediate().build();
    let met = Meeting::new();
    let worker = Worker::builder(&client).tasks(tasks![stubborn, obliging]).data_arc(Arc::clone(&met));
    worker.cancel_grace(Duration::from_millis(200)).build().unwrap();
    let (drops, stays) = (stubborn::new(), obliging::new(0));
    let ids = [drops.id(), stays.id()];
    let runs = async { (drops.enqueue(&client).await.unwrap(), stays.retries(3).enqueue(&client).await.unwrap()) };
    let cancels = async {
        for id in ids {
            pass(&met.begun).await;
            assert_eq!(client.cancel(id).await.unwrap(), Cancelled::Asked);
        }
    };
    let ((drops, stays), ()) = tokio::join!(runs, cancels);
    assert!(drops.result().await.unwrap_err().is_cancelled());
    assert_eq!(stays.result().await.unwrap(), Some(7));
}
