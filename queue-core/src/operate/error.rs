//! Why something could not be done to a job.

use std::fmt;

use queue_storage::model::{JobId, State};
use queue_storage::storage::StorageError;

/// What was to be done to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Edit,
    Revive,
    Delete,
    Move,
}

impl Deed {
    fn participle(self) -> &'static str {
        match self {
            Self::Edit => "changed",
            Self::Revive => "revived",
            Self::Delete => "deleted",
            Self::Move => "moved",
        }
    }
}

/// Why something could not be done to a job. Unless the storage could not be asked, nothing was changed.
pub struct ActError {
    id: JobId,
    deed: Deed,
    kind: Box<Kind>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Refused(State),
    Gone,
    Unknown,
    Invalid(String),
    Storage(StorageError),
}

impl ActError {
    pub(crate) fn new(id: JobId, deed: Deed, kind: Kind) -> Self {
        Self { id, deed, kind: Box::new(kind) }
    }

    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The state the job is in, if that is why.
    #[must_use]
    pub fn refused_in(&self) -> Option<State> {
        match *self.kind {
            Kind::Refused(state) => Some(state),
            _ => None,
        }
    }

    /// Whether the job is in a state in which this can't be done.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused_in().is_some()
    }

    /// Whether the job ended and was pruned, or was deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(*self.kind, Kind::Gone)
    }

    /// Whether no such job was ever stored.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(*self.kind, Kind::Unknown)
    }

    /// Whether what was asked for can't be: arguments that are none, a name that is none.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        match &*self.kind {
            Kind::Invalid(_) => true,
            Kind::Storage(error) => error.is_invalid(),
            _ => false,
        }
    }

    /// Whether the storage could not be asked, or its answer was lost: it may have been done.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(&*self.kind, Kind::Storage(error) if error.is_unavailable())
    }
}

impl fmt::Display for ActError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} can't be {}: ", self.id, self.deed.participle())?;
        match &*self.kind {
            Kind::Refused(State::Running) => f.write_str("it runs; cancel it, or wait until it has ended"),
            Kind::Refused(state) if state.is_end() && self.deed == Deed::Revive => write!(
                f,
                "it has ended ({state}), but a live job needs what it returned, or what it takes itself is not stored any \
                 more; enqueue a call of its own"
            ),
            Kind::Refused(state) if state.is_end() => write!(f, "it has ended ({state}); revive it to run it again"),
            Kind::Refused(state) if self.deed == Deed::Revive => write!(f, "it is {state} and has not ended"),
            Kind::Refused(state) => write!(f, "it is {state}"),
            Kind::Gone => f.write_str("it ended, and the time it is kept has passed, or it was deleted"),
            Kind::Unknown => f.write_str("it was never stored"),
            Kind::Invalid(why) => f.write_str(why),
            Kind::Storage(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for ActError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        queue_storage::debug_as_text("ActError", self, f)
    }
}

impl std::error::Error for ActError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.kind {
            Kind::Storage(error) => error.source(),
            _ => None,
        }
    }
}
