//! From enqueueing to starting, with a worker that sleeps.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use queue::BoxError;
use tokio::sync::mpsc;

use super::work::Working;
use super::{enqueue, expect};
use crate::clock;
use crate::meter::Meter;
use crate::options::Run;
use crate::report::Report;
use crate::target::Target;
use crate::tasks::{Runs, noop};
use crate::times::Times;

/// A worker that has asked nothing for so long is asleep, and so are the runtime's threads.
pub(super) const ASLEEP: Duration = Duration::from_millis(4);

pub(super) async fn latency(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let (starts, mut started) = mpsc::unbounded_channel();
    let working = Working::start(run.concurrency(), target, Runs::telling(starts))?;
    let (done, _progress) = enqueue::counted(run);
    let (mut times, payload) = (Times::new()?, "x".repeat(run.payload()));
    let meter = Meter::start(target)?;
    for job in 1..=run.jobs() {
        working.sleeps(target, ASLEEP).await;
        let from = clock::now();
        noop::new(payload.clone()).enqueue(&target.client).await?;
        let start = started.recv().await.ok_or("the worker is gone")?;
        times.add(start.saturating_sub(from));
        working.settles(target, job).await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    let report = meter.read(run, target)?.with(&times).without_rate();
    let runs = Arc::clone(&working.runs);
    working.stop().await?;
    expect("runs", runs.seen(), run.jobs())?;
    Ok(report)
}
