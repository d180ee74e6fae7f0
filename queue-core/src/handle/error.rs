//! Why there is no result.

use std::fmt;
use std::time::Duration;

use queue_storage::model::{EndReason, Failure, JobId};
use queue_storage::storage::StorageError;

/// Why there is no result.
#[derive(Debug)]
pub struct WaitError {
    id: JobId,
    pub(super) kind: WaitErrorKind,
}

#[derive(Debug)]
pub(super) enum WaitErrorKind {
    TimedOut(Duration),
    Dead(Option<EndReason>, Option<Failure>),
    Cancelled(Option<JobId>),
    Expired,
    Gone,
    Unknown,
    Undecodable(String),
    Storage(StorageError),
}

impl WaitError {
    pub(super) fn new(id: JobId, kind: WaitErrorKind) -> Self {
        Self { id, kind }
    }

    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Whether the timeout passed before the job ended; it goes on.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, WaitErrorKind::TimedOut(_))
    }

    /// Whether the job failed for good.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.kind, WaitErrorKind::Dead(..))
    }

    /// Whether the job was called off.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, WaitErrorKind::Cancelled(_))
    }

    /// Whether the job ended and was pruned, or was never stored.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.kind, WaitErrorKind::Gone | WaitErrorKind::Unknown)
    }

    /// Whether the storage could not be asked.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, WaitErrorKind::Storage(_))
    }

    /// What went wrong in the job's last run.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.kind {
            WaitErrorKind::Dead(_, failure) => failure.as_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match &self.kind {
            WaitErrorKind::TimedOut(after) => write!(f, "job {id} has not ended within {after:?}; it goes on"),
            WaitErrorKind::Dead(reason, failure) => {
                write!(f, "job {id} is dead")?;
                if let Some(reason) = reason {
                    write!(f, " ({reason})")?;
                }
                match failure {
                    Some(failure) => write!(f, ": {failure}"),
                    None => Ok(()),
                }
            }
            WaitErrorKind::Cancelled(Some(culprit)) => {
                write!(f, "job {id} was cancelled: job {culprit}, which it waited for, did not complete")
            }
            WaitErrorKind::Cancelled(None) => write!(f, "job {id} was cancelled"),
            WaitErrorKind::Expired => write!(f, "job {id} was not started in time and has expired"),
            WaitErrorKind::Gone => write!(f, "job {id} ended, and the time it is kept has passed"),
            WaitErrorKind::Unknown => write!(f, "job {id} was never stored"),
            WaitErrorKind::Undecodable(why) => {
                write!(f, "job {id} completed, but its result is not of the type asked for: {why}")
            }
            WaitErrorKind::Storage(error) => write!(f, "can't ask for job {id}: {error}"),
        }
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            WaitErrorKind::Storage(error) => error.source(),
            _ => None,
        }
    }
}
