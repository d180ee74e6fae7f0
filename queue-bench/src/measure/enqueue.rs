//! Enqueueing, three ways; no worker runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use queue::{BoxError, Call, Client, Task};
use tokio::task::JoinSet;

use super::expect;
use crate::clock;
use crate::meter::Meter;
use crate::options::Run;
use crate::progress::Progress;
use crate::report::Report;
use crate::target::Target;
use crate::tasks::noop;
use crate::times::Times;

/// The jobs of one `enqueue_all`: as many as fit one call to the storage.
const BATCH: u64 = 1_000;

/// Enqueues `jobs` one after the other, counting them in `done`.
async fn enqueue(client: Client, jobs: u64, payload: usize, done: Arc<AtomicU64>) -> Result<Times, BoxError> {
    let (mut times, payload) = (Times::new()?, "x".repeat(payload));
    for _ in 0..jobs {
        let from = clock::now();
        noop::new(payload.clone()).enqueue(&client).await?;
        times.add(clock::now() - from);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(times)
}

pub(super) async fn one_by_one(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let (done, _progress) = counted(run);
    let meter = Meter::start(target)?;
    let times = enqueue(target.client.clone(), run.jobs(), run.payload(), done).await?;
    Ok(meter.read(run, target)?.with(&times))
}

pub(super) async fn at_once(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let (done, _progress) = counted(run);
    let (callers, mut running) = (u64::from(run.concurrency()), JoinSet::new());
    let meter = Meter::start(target)?;
    for caller in 0..callers {
        // Those that are left over go to the first.
        let share = run.jobs() / callers + u64::from(caller < run.jobs() % callers);
        running.spawn(enqueue(target.client.clone(), share, run.payload(), Arc::clone(&done)));
    }
    let mut times = Times::new()?;
    while let Some(ended) = running.join_next().await {
        times.merge(&ended??);
    }
    let report = meter.read(run, target)?.with(&times);
    expect("jobs that were enqueued", times.len(), run.jobs())?;
    Ok(report)
}

pub(super) async fn bulk(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let (done, _progress) = counted(run);
    let meter = Meter::start(target)?;
    fill(&target.client, run.jobs(), run.payload(), noop::new, &done).await?;
    meter.read(run, target)
}

/// Enqueues `jobs` in batches, each as `call` makes it of its payload.
pub(super) async fn fill<T: Task>(
    client: &Client,
    jobs: u64,
    payload: usize,
    call: impl Fn(String) -> Call<T>,
    done: &AtomicU64,
) -> Result<(), BoxError> {
    let payload = "x".repeat(payload);
    let mut left = jobs;
    while left > 0 {
        let batch = left.min(BATCH);
        let calls = (0..batch).map(|_| call(payload.clone()));
        let handles = client.enqueue_all(calls).await?;
        expect("handles", handles.len() as u64, batch)?;
        left -= batch;
        done.fetch_add(batch, Ordering::Relaxed);
    }
    Ok(())
}

/// Something to count in, shown on a terminal.
pub(super) fn counted(run: &Run) -> (Arc<AtomicU64>, Progress) {
    let done = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&done);
    (done, Progress::of("enqueued", run.jobs(), move || seen.load(Ordering::Relaxed)))
}
