//! The options of one run: the task's, overridden by the call's.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use queue_storage::model::{Backoff, Envelope, Job, Outcome, RetryPolicy, Run, Timestamp};

use super::Engine;
use super::run::{discard, panic_text};
use crate::handler::Registered;
use crate::task::DelayFn;

/// What ends an attempt, and when.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// It takes too long.
    Timeout(Duration),
    /// The deadline of its job comes.
    Deadline(Duration),
}

impl Limit {
    pub(super) fn time(self) -> Duration {
        let (Self::Timeout(time) | Self::Deadline(time)) = self;
        time
    }
}

/// By the storage's clock.
fn claimed_at(job: &Job) -> Timestamp {
    job.started_at.unwrap_or(job.enqueued_at)
}

/// The options of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunOptions {
    pub(super) policy: RetryPolicy,
    /// Says the delay instead of the policy.
    delay: Option<DelayFn>,
    retry_for: Option<Duration>,
    timeout: Option<Duration>,
    keep: Option<Duration>,
    keep_result: Duration,
    keep_trace: Duration,
    keep_dead: Duration,
    keep_cancelled: Duration,
    returns: bool,
}

impl RunOptions {
    pub(super) fn of(engine: &Engine, task: Option<&Registered>) -> Self {
        let options = task.map(|task| task.options).unwrap_or_default();
        Self {
            policy: options.policy,
            delay: options.backoff_fn,
            retry_for: options.retry_for,
            timeout: options.timeout,
            keep: options.keep,
            keep_result: engine.config.keep_result,
            keep_trace: engine.config.keep_trace,
            keep_dead: engine.config.lease.keep_dead,
            keep_cancelled: engine.config.lease.keep_ended,
            returns: task.is_some_and(|task| task.returns),
        }
    }

    /// How many attempts there are at most.
    pub(super) fn max_attempts(&self) -> u32 {
        self.policy.retries.saturating_add(1)
    }

    pub(super) fn overridden(mut self, envelope: &Envelope) -> Self {
        let overrides = &envelope.overrides;
        self.policy.retries = overrides.retries.unwrap_or(self.policy.retries);
        if let Some(backoff) = overrides.backoff {
            (self.policy.backoff, self.delay) = (backoff, None);
        }
        self.policy.jitter = overrides.jitter.unwrap_or(self.policy.jitter);
        self.retry_for = overrides.retry_for.or(self.retry_for);
        self.timeout = overrides.timeout.or(self.timeout);
        self.keep = overrides.keep.or(self.keep);
        self
    }

    /// How long the attempt may take from now on. `took` is the time since the claim.
    pub(super) fn limit(&self, job: &Job, took: Duration) -> Option<Limit> {
        let left = job.deadline_at.map(|deadline| deadline - (claimed_at(job) + took));
        match (self.timeout, left) {
            (Some(timeout), left) if left.is_none_or(|left| timeout <= left) => Some(Limit::Timeout(timeout)),
            (_, left) => left.map(Limit::Deadline),
        }
    }

    /// What is to be known beside the outcome. `took` is the time since the claim, whose moment the storage's clock told.
    pub(super) fn facts(&self, job: &Job, took: Duration, outcome: &Outcome) -> Run {
        let usual = if self.returns { self.keep_result } else { self.keep_trace };
        let claimed_at = claimed_at(job);
        let first = job.first_started_at.unwrap_or(claimed_at);
        Run {
            attempts: job.attempts,
            policy: self.policy_after(job.attempts.saturating_add(1), outcome),
            now: claimed_at + took,
            retry_until: self.retry_for.map(|time| first + time),
            deadline_at: job.deadline_at,
            keep_completed: self.keep.unwrap_or(usual),
            keep_dead: self.keep_dead,
            keep_cancelled: self.keep_cancelled,
            random: fastrand::f64(),
        }
    }

    /// The policy, its delay said by the task's own function where it has one.
    fn policy_after(&self, attempt: u32, outcome: &Outcome) -> RetryPolicy {
        let mut policy = self.policy;
        let failed = matches!(outcome, Outcome::Failed { .. }) && attempt <= policy.retries;
        if let Some(DelayFn(delay)) = self.delay.filter(|_| failed) {
            match std::panic::catch_unwind(AssertUnwindSafe(|| delay(attempt))) {
                Ok(delay) => policy.backoff = Backoff::fixed(delay),
                Err(panic) => {
                    tracing::error!(
                        panic = panic_text(&*panic),
                        attempt,
                        "`backoff` panicked: its task's default counts"
                    );
                    discard(panic);
                }
            }
        }
        policy
    }
}
