//! Draining what was enqueued before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use queue::{BoxError, Call, JobQuery, Limit, State, Task};

use super::work::Working;
use super::{enqueue, expect};
use crate::meter::Meter;
use crate::options::Run;
use crate::progress::Progress;
use crate::report::Report;
use crate::target::Target;
use crate::tasks::{QUEUE, Runs, echo, failures, flaky, noop};

/// Over how many keys limited jobs are spread.
const KEYS: u64 = 50;

/// All jobs are there before the worker starts; it is over when the last is settled.
pub(super) async fn drain(run: &Run, target: &Target) -> Result<Report, BoxError> {
    fill(run, target).await?;
    let percent = run.fails.map_or(0, u64::from);
    // A job that fails is settled twice.
    let all = run.jobs() + failures(run.jobs(), percent);
    let settled = target.clone();
    let _progress = Progress::of("drained", all, move || settled.counting.settled());
    let meter = Meter::start(target)?;
    let working = Working::start(run.concurrency(), target, Runs::failing(percent))?;
    working.settles(target, all).await?;
    let report = meter.read(run, target)?;
    let runs = Arc::clone(&working.runs);
    working.stop().await?;
    expect("runs", runs.seen(), all)?;
    if run.results {
        check_results(target).await?;
    }
    Ok(report)
}

async fn fill(run: &Run, target: &Target) -> Result<(), BoxError> {
    let (done, _progress) = enqueue::counted(run);
    let (client, jobs, payload) = (&target.client, run.jobs(), run.payload());
    match (run.results, run.fails) {
        (true, _) => enqueue::fill(client, jobs, payload, limited(run, echo::new), &done).await,
        (false, Some(_)) => enqueue::fill(client, jobs, payload, limited(run, flaky::new), &done).await,
        (false, None) => enqueue::fill(client, jobs, payload, limited(run, noop::new), &done).await,
    }
}

/// The same calls under the limits that are asked for.
fn limited<T: Task>(run: &Run, call: impl Fn(String) -> Call<T>) -> impl Fn(String) -> Call<T> {
    let (most, made) = (run.limit, AtomicU64::new(0));
    move |payload| {
        let call = call(payload);
        let n = made.fetch_add(1, Ordering::Relaxed);
        match most {
            Some(most) => call.limit(Limit::concurrency(most).shared(format!("key-{}", n % KEYS))),
            None => call,
        }
    }
}

/// Fails unless some completed jobs are there, each with a result.
async fn check_results(target: &Target) -> Result<(), BoxError> {
    let mut query = JobQuery::default();
    (query.queue, query.state) = (Some(QUEUE.parse()?), Some(State::Completed));
    loop {
        let page = target.client.storage().list(&query).await?;
        if !page.jobs.is_empty() || page.next.is_none() {
            let with = page.jobs.iter().filter(|job| job.result.is_some()).count();
            expect("an empty page of completed jobs", u64::from(page.jobs.is_empty()), 0)?;
            return expect("jobs with a result", with as u64, page.jobs.len() as u64);
        }
        query.after = page.next;
    }
}
