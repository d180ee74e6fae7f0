//! What a run said.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::job::Failure;
use super::time::When;

/// What a run said, before anyone decides what follows from it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The task returned a value; `None` for a task that returns nothing.
    Succeeded(Option<Bytes>),
    /// The task returned an error, panicked, or took too long.
    Failed {
        /// What went wrong.
        failure: Failure,
        /// What the task said about running again.
        verdict: Verdict,
    },
    /// The job's deadline came while it ran.
    Overdue(Failure),
    /// The envelope or the arguments can't be decoded, and never will be.
    Undecodable(Failure),
    /// The task returned a value that can't be stored.
    Unstorable(Failure),
    /// The worker gives the job back: it stops, or could not start it.
    Released,
}

impl Outcome {
    /// The same, with the version of the program that ran it where something went wrong.
    #[must_use]
    pub fn of_version(mut self, version: Option<&str>) -> Self {
        match &mut self {
            Self::Failed { failure, .. }
            | Self::Overdue(failure)
            | Self::Undecodable(failure)
            | Self::Unstorable(failure) => failure.version = version.map(str::to_owned),
            Self::Succeeded(_) | Self::Released => {}
        }
        self
    }
}

/// What a run that did not succeed says about its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Verdict {
    /// The retry policy decides.
    #[default]
    Policy,
    /// Retry, but then: the policy says whether, this says when.
    RetryAt(When),
    /// Another run can't help: the job dies.
    Fatal,
    /// The job is called off: it ends cancelled.
    Cancel,
    /// It has not failed, it is only too early: run again in so long. Burns no attempt.
    Snooze(Duration),
    /// Whom it calls asks it to slow down: run again in so long, and start nothing else under its rates before. Burns no
    /// attempt.
    RateLimited(Duration),
}

impl Verdict {
    /// Retry in so long, if the policy has a retry left.
    #[must_use]
    pub const fn retry_in(delay: Duration) -> Self {
        Self::RetryAt(When::In(delay))
    }

    /// Retry at this moment, if the policy has a retry left; at once when it has passed.
    #[must_use]
    pub fn retry_at(moment: SystemTime) -> Self {
        Self::RetryAt(When::At(moment.into()))
    }
}
