//! A run under guard: its end, its timeout, its lease, the stop of the worker, panics, and threads that go on.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use queue_storage::model::{Claimed, Failure, FailureKind, Outcome, Verdict};

use super::held::Signals;
use super::options::Limit;
use super::threads::{OneLingers, Threads};
use super::{Engine, report};
use crate::middleware::Run;
pub(super) use crate::task_error::panic_text;

/// How long after its timeout a run may still hold its lease: time to be dropped and settled.
const OVERDUE_AFTER: Duration = Duration::from_secs(5);

/// What came of a run.
pub(super) struct Ran {
    /// `None` when nothing may be settled.
    pub(super) outcome: Option<Outcome>,
    /// Threads that go on.
    pub(super) threads: Option<Abandoned>,
}

/// Threads of a run whose attempt is over, counted until they have ended.
#[derive(Debug)]
pub(crate) struct Abandoned {
    threads: Threads,
    counted: OneLingers,
}

impl Abandoned {
    /// The threads, unless they have ended.
    fn of(engine: &Engine, threads: Threads) -> Option<Self> {
        threads.busy().then(|| {
            tracing::warn!("the attempt is over, but its thread can't be stopped: it keeps its slot until it ends");
            Self { threads, counted: engine.lingering.one() }
        })
    }

    /// Waits for their end; when the worker stops, no longer than its grace.
    pub(crate) async fn ended(self, engine: &Engine) {
        tokio::select! {
            () = self.threads.ended() => tracing::warn!("the thread of an attempt that was over has ended: its slot is free"),
            () = engine.cut.cancelled() => {}
        }
        drop(self.counted);
    }
}

/// Runs the task's future, guarded.
pub(super) async fn run(
    engine: &Engine,
    claimed: &Claimed,
    future: Run,
    limit: Option<Limit>,
    signals: &Signals,
) -> Ran {
    let threads = Threads::default();
    let mut guarded = Box::pin(threads.clone().scope(AssertUnwindSafe(said(future)).catch_unwind()));
    if let Some(limit) = limit {
        let renewals =
            limit.time().saturating_add(OVERDUE_AFTER).as_secs_f64() / engine.config.lease.renew_every.as_secs_f64();
        // A float that is too large becomes the largest number: for ever, as far as anyone can tell.
        engine.held.expect_end(claimed.job.id, claimed.fence, renewals.ceil() as u32);
    }
    let outcome = tokio::select! {
        biased;
        answer = &mut guarded => Some(answer.unwrap_or_else(panicked)),
        () = signals.lost.cancelled() => {
            report::lost();
            None
        }
        outcome = reached(engine, limit) => {
            // Whoever goes on on a thread learns from its context that it should stop.
            signals.over.cancel();
            Some(outcome)
        }
        () = ignored(engine, signals) => {
            if threads.busy() {
                // It can't be stopped, and its context has told it: it settles when it ends.
                return Ran { outcome: Some(guarded.await.unwrap_or_else(panicked)), threads: None };
            }
            tracing::info!("dropped: it was cancelled, and went on for longer than it may");
            // The storage cancels what is given back after someone asked for it, and keeps it as long as they said.
            Some(Outcome::Released)
        }
        () = engine.cut.cancelled() => {
            signals.over.cancel();
            if threads.busy() {
                // It can't be stopped, so it can't be given to anyone else: it settles if it ends in time.
                return Ran { outcome: Some(guarded.await.unwrap_or_else(panicked)), threads: None };
            }
            tracing::info!("released: the worker stops before the job has ended");
            Some(Outcome::Released)
        }
    };
    discard(guarded);
    Ran { outcome, threads: Abandoned::of(engine, threads) }
}

/// Waits for the limit of the attempt, and says what it means; for ever without one.
async fn reached(engine: &Engine, limit: Option<Limit>) -> Outcome {
    let Some(limit) = limit else { return std::future::pending().await };
    engine.sleep(limit.time()).await;
    let failure = |message| Failure::new(FailureKind::Timeout, message);
    match limit {
        Limit::Timeout(timeout) => {
            let message = format!("the attempt took longer than its timeout of {timeout:?}");
            Outcome::Failed { failure: failure(message), verdict: Verdict::Policy }
        }
        Limit::Deadline(_) => Outcome::Overdue(failure("the job's deadline came while it ran".to_owned())),
    }
}

/// Waits until the run has been asked to stop for longer than it may go on.
async fn ignored(engine: &Engine, signals: &Signals) {
    signals.asked.cancelled().await;
    tracing::info!(grace = ?engine.config.cancel_grace, "cancelled: asked to stop");
    engine.sleep(engine.config.cancel_grace).await;
}

/// Drops what is the user's: its drop may panic, and that is no reason to lose the outcome.
pub(super) fn discard<T>(users: T) {
    if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| drop(users))) {
        tracing::warn!(panic = panic_text(&*panic), "dropping the run panicked");
        std::mem::forget(panic);
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Outcome {
    let failure = Failure::new(FailureKind::Panic, panic_text(&*panic));
    discard(panic);
    Outcome::Failed { failure, verdict: Verdict::Policy }
}

/// What a run said.
async fn said(run: Run) -> Outcome {
    match run.await {
        Ok(done) => done.0,
        Err(error) => {
            let (failure, verdict) = error.to_parts();
            Outcome::Failed { failure, verdict }
        }
    }
}
