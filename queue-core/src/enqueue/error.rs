//! What an enqueue says when it can't.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use queue_storage::model::JobId;
use queue_storage::storage::StorageError;

use crate::draft::DraftError;

/// Why a call was not, or not surely, enqueued. It gives the call back: with the same id, so that enqueueing it again
/// makes one job however often the first try got through.
pub struct EnqueueError<C> {
    call: Box<C>,
    cause: Cause,
}

/// Why an enqueue failed, without the call.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    Draft(DraftError),
    Storage {
        location: String,
        error: Arc<StorageError>,
    },
    TimedOut {
        location: String,
        after: std::time::Duration,
        error: Option<Arc<StorageError>>,
    },
    Dependency {
        location: String,
        missing: JobId,
    },
    Clash {
        task: &'static str,
        id: JobId,
    },
    Lapsed,
    Rejected {
        task: &'static str,
        by: JobId,
    },
    UniqueStep {
        task: &'static str,
    },
    Immediate(String),
    /// A middleware's.
    Refused {
        task: &'static str,
        calls: usize,
        why: Arc<dyn Error + Send + Sync>,
    },
}

impl<C> EnqueueError<C> {
    pub(super) fn new(call: C, cause: Cause) -> Self {
        Self { call: Box::new(call), cause }
    }

    /// The call, to enqueue it again.
    #[must_use]
    pub fn into_call(self) -> C {
        *self.call
    }

    /// Whether the storage could not be asked, or its answer was lost: the job may have been stored. Enqueue
    /// [the same call](Self::into_call) again.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.cause.is_unavailable()
    }

    /// Whether the arguments, or the headers, are larger than the limit.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self.cause, Cause::Draft(DraftError::TooLarge { .. } | DraftError::Headers { .. }))
    }

    /// Whether the call itself is at fault: enqueueing it again can't help.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        match &self.cause {
            Cause::Storage { error, .. } => error.is_invalid(),
            Cause::TimedOut { .. } | Cause::Rejected { .. } | Cause::Refused { .. } => false,
            _ => true,
        }
    }

    /// Whether another job of the same unique key keeps it out: [`existing`](Self::existing).
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        matches!(self.cause, Cause::Rejected { .. })
    }

    /// Whether a [`Middleware`](crate::Middleware) of the client refused it: nothing was stored. Its error is the source.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.cause, Cause::Refused { .. })
    }

    /// The job that keeps it out.
    #[must_use]
    pub fn existing(&self) -> Option<JobId> {
        match self.cause {
            Cause::Rejected { by, .. } => Some(by),
            _ => None,
        }
    }

    /// A stable code for this sort of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match &self.cause {
            Cause::Draft(DraftError::TooLarge { .. } | DraftError::Headers { .. }) => "enqueue.too_large",
            Cause::Draft(DraftError::Args { .. }) => "enqueue.unencodable",
            Cause::Draft(DraftError::Name(_)) => "enqueue.bad_name",
            Cause::Draft(DraftError::Limit { .. } | DraftError::TooManyLimits { .. }) => "enqueue.bad_limit",
            Cause::Rejected { .. } => "enqueue.rejected",
            Cause::UniqueStep { .. } => "enqueue.unique_step",
            Cause::Draft(DraftError::RetryFor { .. }) => "enqueue.no_retries",
            Cause::Draft(DraftError::Tags { .. }) => "enqueue.too_many_tags",
            Cause::Clash { .. } => "enqueue.clash",
            Cause::Lapsed => "enqueue.lapsed",
            Cause::Dependency { .. } => "enqueue.unknown_dependency",
            Cause::Immediate(_) => "enqueue.immediate",
            Cause::Refused { .. } => "enqueue.middleware",
            Cause::TimedOut { .. } => "enqueue.timed_out",
            Cause::Storage { error, .. } if error.is_unavailable() => "enqueue.unavailable",
            Cause::Storage { .. } => "enqueue.refused",
        }
    }
}

impl Cause {
    pub(super) fn is_unavailable(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::Storage { error, .. } => error.is_unavailable(),
            _ => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draft(error) => error.fmt(f),
            Self::Storage { location, error } => write!(f, "can't enqueue to {location}: {error}"),
            Self::TimedOut { location, after, error } => {
                write!(f, "can't enqueue to {location} within {after:?}")?;
                match error {
                    Some(error) => write!(f, ": {error}")?,
                    None => f.write_str(": it has not answered")?,
                }
                f.write_str(
                    "; the job may have been stored: enqueue the call this error gives back, which makes one job",
                )
            }
            Self::Dependency { location, missing } => {
                write!(f, "a step waits for job {missing}, which is not in {location}: it ended and was pruned")
            }
            Self::Clash { task, id } => write!(
                f,
                "two calls of `{task}` in this flow have the id {id}, but differ: a clone of a call is the same job; make it \
                 another with `.renewed()` before you change it"
            ),
            Self::Lapsed => f.write_str(
                "the flow was not stored whole within ten minutes, or was called off meanwhile: none of it runs; build it \
                 anew and enqueue that",
            ),
            Self::Rejected { task, by } => write!(
                f,
                "`{task}` was not enqueued: job {by} holds its unique key; wait for that one, or enqueue again later"
            ),
            Self::UniqueStep { task } => write!(
                f,
                "`{task}` is unique, but not the one job with which this flow of one call begins: only that can be, so that a \
                 flow is stored whole or not at all"
            ),
            Self::Refused { task, calls: 1, why } => {
                write!(f, "`{task}` was not enqueued: a middleware refused it: {why}")
            }
            Self::Refused { task, calls, why } => write!(
                f,
                "none of {calls} calls, of which `{task}` is the first, was enqueued: a middleware refused them: {why}"
            ),
            Self::Immediate(why) => f.write_str(why),
        }
    }
}

impl<C> fmt::Display for EnqueueError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<C> fmt::Debug for EnqueueError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        queue_storage::debug_as_text("EnqueueError", self, f)
    }
}

impl<C> Error for EnqueueError<C> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Storage { error, .. } | Cause::TimedOut { error: Some(error), .. } => error.source(),
            Cause::Refused { why, .. } => Some(&**why),
            _ => None,
        }
    }
}
