//! Many jobs that are due at one moment.

use std::sync::Arc;
use std::time::Duration;

use queue::clock::{Clock, SystemClock};
use queue::{BoxError, State};
use tokio::sync::mpsc;

use super::work::Working;
use super::{enqueue, expect};
use crate::clock;
use crate::meter::Meter;
use crate::options::Run;
use crate::progress::Progress;
use crate::report::Report;
use crate::target::Target;
use crate::tasks::{QUEUE, Runs, noop};
use crate::times::Times;

/// How long after the start the jobs are due: time to enqueue them.
const AHEAD: Duration = Duration::from_secs(2);
/// And so much more for each.
const AHEAD_EACH: Duration = Duration::from_micros(100);

pub(super) async fn burst(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let jobs = run.jobs();
    let (starts, mut started) = mpsc::unbounded_channel();
    let working = Working::start(run.concurrency(), target, Runs::telling(starts))?;
    let ahead = AHEAD + AHEAD_EACH * u32::try_from(jobs).unwrap_or(u32::MAX);
    let (due, due_at) = (SystemClock.now() + ahead, clock::now() + ahead);
    {
        let (done, _progress) = enqueue::counted(run);
        let call = |payload| noop::new(payload).schedule(std::time::SystemTime::from(due));
        enqueue::fill(&target.client, jobs, run.payload(), call, &done).await?;
    }
    let counts = target.client.counts(QUEUE).await?;
    if clock::now() > due_at || counts.of(State::Scheduled) != jobs {
        return Err(format!("{jobs} jobs could not be enqueued in {ahead:?}, before they were due").into());
    }
    tokio::time::sleep(due_at.saturating_sub(clock::now())).await;

    let settled = target.clone();
    let _progress = Progress::of("run", jobs, move || settled.counting.settled());
    let meter = Meter::start(target)?;
    let mut times = Times::new()?;
    working.settles(target, jobs).await?;
    let report = meter.read(run, target)?;
    let runs = Arc::clone(&working.runs);
    working.stop().await?;
    while let Ok(start) = started.try_recv() {
        // The two clocks were read one after the other, and the storage's counts microseconds.
        let early = due_at.saturating_sub(start);
        if early > Duration::from_millis(1) {
            return Err(format!("a job started {early:?} before it was due").into());
        }
        times.add(start.saturating_sub(due_at));
    }
    expect("starts", times.len(), jobs)?;
    expect("runs", runs.seen(), jobs)?;
    Ok(report.since_due(&times))
}
