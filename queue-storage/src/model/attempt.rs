//! What is remembered of runs: how each ended, and how far the latest got.

use serde::{Deserialize, Serialize};

use super::id::WorkerId;
use super::job::Failure;
use super::time::Timestamp;
use super::words::open_words;

open_words! {
    /// How a run ended.
    AttemptEnd {
        /// Its task succeeded.
        Completed = "completed",
        /// Its task failed, panicked, or took too long; or what it had to work with could not be read.
        Failed = "failed",
        /// Its task asked to run later.
        Snoozed = "snoozed",
        /// Its worker gave it back.
        Released = "released",
        /// Its worker vanished while it ran.
        Crashed = "crashed",
        /// Its worker vanished before it had confirmed the delivery.
        Lapsed = "lapsed",
        /// It was called off.
        Cancelled = "cancelled",
    }
}

/// One run that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// Who ran it.
    pub worker: WorkerId,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When the storage learned of its end.
    pub ended_at: Timestamp,
    /// How it ended.
    pub end: AttemptEnd,
    /// What went wrong. In a [history](super::Job::history) its message is at most
    /// [`MAX_REMEMBERED`](Self::MAX_REMEMBERED) bytes long.
    pub failure: Option<Failure>,
}

impl Attempt {
    /// The longest message of a failure in a history, in bytes.
    pub const MAX_REMEMBERED: usize = 1_024;

    /// A run as a history keeps it.
    #[must_use]
    pub fn remembered(
        worker: WorkerId,
        started_at: Timestamp,
        ended_at: Timestamp,
        end: AttemptEnd,
        failure: Option<&Failure>,
    ) -> Self {
        Self { worker, started_at, ended_at, end, failure: failure.map(|one| one.cut_to(Self::MAX_REMEMBERED)) }
    }
}

/// How far a run got, by its own word.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done, in whatever unit the task counts.
    pub done: u64,
    /// How much there is; 0 when that is not known.
    pub total: u64,
    /// What it is doing, for people; at most [`MAX_MESSAGE`](Self::MAX_MESSAGE) bytes.
    pub message: String,
}

impl Progress {
    /// The longest message kept, in bytes; a longer one is cut at a character.
    pub const MAX_MESSAGE: usize = 1_024;

    /// So much of so much is done.
    #[must_use]
    pub fn new(done: u64, total: u64, message: impl Into<String>) -> Self {
        Self { done, total, message: super::job::cut(message.into(), Self::MAX_MESSAGE) }
    }

    /// The share that is done, from 0 to 1; `None` while the total is not known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn share(&self) -> Option<f64> {
        (self.total > 0).then(|| (self.done as f64 / self.total as f64).min(1.0))
    }
}
