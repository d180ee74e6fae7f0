//! A worker that has nothing to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use queue::clock::{Clock, SystemClock};
use queue::{BoxError, Cron, Schedule};

use super::expect;
use super::work::Working;
use crate::clock;
use crate::meter::Meter;
use crate::options::Run;
use crate::progress::Progress;
use crate::report::Report;
use crate::target::Target;
use crate::tasks::{Runs, noop};

/// Time to start and to fall asleep.
const SETTLE: Duration = Duration::from_secs(1);

/// From the start no schedule is due for as long as this and the looking on: time to store them all.
const AHEAD: Duration = Duration::from_secs(3_600);

/// The seconds of a day.
const DAY: u64 = 86_400;

pub(super) async fn idle(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let stored = store(run, target).await?;
    let working = Working::start(run.concurrency(), target, Runs::default())?;
    tokio::time::sleep(SETTLE).await;
    let meter = Meter::start(target)?;
    tokio::time::sleep(run.look_on()).await;
    let report = meter.read(run, target)?;
    expect("runs", working.runs.seen(), 0)?;
    working.stop().await?;
    Ok(report.with_stored(stored))
}

/// Stores the run's schedules, one after the other; how many in a second.
async fn store(run: &Run, target: &Target) -> Result<Option<f64>, BoxError> {
    let Some(schedules) = run.schedules else { return Ok(None) };
    let quiet = AHEAD + run.look_on();
    let from = SystemClock.now().as_micros().unsigned_abs() / 1_000_000 + quiet.as_secs();
    let rest = DAY.saturating_sub(2 * quiet.as_secs()).max(1);
    let done = Arc::new(AtomicU64::new(0));
    let shown = Arc::clone(&done);
    let _progress = Progress::of("store", schedules, move || shown.load(Ordering::Relaxed));
    let (start, call) = (clock::now(), noop::new("x".repeat(run.payload())));
    for n in 0..schedules {
        let daily = daily(from + n * rest / schedules)?;
        target.client.put_schedule(Schedule::new(format!("idle-{n}"), call.clone()).cron(daily)).await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(Some(schedules as f64 / (clock::now() - start).as_secs_f64()))
}

/// At the second of the day that this second since 1970 is.
fn daily(second: u64) -> Result<Cron, BoxError> {
    let (hour, minute, second) = (second / 3_600 % 24, second / 60 % 60, second % 60);
    Ok(Cron::fields().second(second).minute(minute).hour(hour).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daily_at_that_second() {
        assert_eq!(daily(20 * DAY + 3 * 3_600 + 7 * 60 + 59).unwrap().to_string(), "59 7 3 * * *");
        assert_eq!(daily(0).unwrap().to_string(), "0 0 * * *", "second 0 is left out");
    }
}
