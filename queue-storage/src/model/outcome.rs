//! What a run said.

use std::time::Duration;

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
    /// The envelope or the arguments can't be decoded, and never will be.
    Undecodable(Failure),
    /// The task returned a value that can't be stored.
    Unstorable(Failure),
    /// The task, or the engine for it, asks to run later without having failed.
    Snoozed(Duration),
    /// The worker gives the job back: it stops, or could not start it.
    Released,
}

/// What a failed run says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Verdict {
    /// The retry policy decides.
    #[default]
    Policy,
    /// Retry, but then: the policy says whether, this says when.
    RetryAt(When),
    /// Another run can't help.
    Fatal,
}
