//! What the measured jobs do: next to nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use queue::{Context, Data, TaskError, task};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;

/// The queue of every measured job.
pub(crate) const QUEUE: &str = "bench";

/// Where the second step of a pipeline across queues goes.
pub(crate) const OTHER: &str = "bench-other";

/// Sees every run.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: AtomicU64,
    /// Where the starts are told, if anyone wants to know.
    starts: Option<UnboundedSender<Duration>>,
    /// Of a hundred first runs so many fail.
    fails: u64,
    firsts: AtomicU64,
}

impl Runs {
    /// One that tells when each run started.
    pub(crate) fn telling(starts: UnboundedSender<Duration>) -> Self {
        Self { starts: Some(starts), ..Self::default() }
    }

    /// One that makes this share of first runs fail.
    pub(crate) fn failing(percent: u64) -> Self {
        Self { fails: percent, ..Self::default() }
    }

    pub(crate) fn seen(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    fn see(&self) {
        if let Some(starts) = &self.starts {
            // The measure may have given up.
            let _ = starts.send(clock::now());
        }
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// Sees a run, and says whether it fails.
    fn attempt(&self, ctx: &Context) -> Result<(), TaskError> {
        self.see();
        if self.fails > 0 && ctx.attempt() == 1 {
            let first = self.firsts.fetch_add(1, Ordering::Relaxed);
            if failures(first + 1, self.fails) > failures(first, self.fails) {
                return Err(TaskError::retry_in("one of those that were to fail", Duration::ZERO));
            }
        }
        Ok(())
    }
}

/// How many of so many first runs fail: evenly spread, so that it is known beforehand.
pub(crate) fn failures(firsts: u64, percent: u64) -> u64 {
    firsts * percent / 100
}

/// Does nothing with its payload.
#[task(queue = "bench")]
pub(crate) async fn noop(payload: String, runs: Data<Runs>) {
    runs.see();
    drop(payload);
}

/// Does nothing with its payload, and may fail once.
#[task(queue = "bench", retries = 1)]
pub(crate) async fn flaky(payload: String, runs: Data<Runs>, ctx: Context) -> Result<(), TaskError> {
    drop(payload);
    runs.attempt(&ctx)
}

/// Returns its payload, and may fail once.
#[task(queue = "bench", retries = 1)]
pub(crate) async fn echo(payload: String, runs: Data<Runs>, ctx: Context) -> Result<String, TaskError> {
    runs.attempt(&ctx).map(|()| payload)
}

/// A number.
#[task(queue = "bench")]
pub(crate) async fn number(n: u64, runs: Data<Runs>) -> Result<u64, TaskError> {
    runs.see();
    Ok(n)
}

/// One more than the step before.
#[task(queue = "bench")]
pub(crate) async fn more(n: u64, runs: Data<Runs>) -> Result<u64, TaskError> {
    runs.see();
    Ok(n + 1)
}

/// What all members of a group add up to.
#[task(queue = "bench")]
pub(crate) async fn sum(all: Vec<u64>, runs: Data<Runs>) -> Result<u64, TaskError> {
    runs.see();
    Ok(all.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_spread() {
        assert_eq!((failures(1_000, 7), failures(1_000, 0), failures(1_000, 100)), (70, 0, 1_000));
        let fails = |first| failures(first + 1, 20) > failures(first, 20);
        assert_eq!((0..10).filter(|first| fails(*first)).collect::<Vec<_>>(), [4, 9]);
    }
}
