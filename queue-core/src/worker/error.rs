//! Why a worker does not run.

use std::fmt;

use queue_storage::storage::StorageError;

use crate::task_error::BoxError;

/// Why a worker did not start, or ended by itself.
#[derive(Debug)]
pub struct WorkerError(Cause);

#[derive(Debug)]
enum Cause {
    Storage(StorageError),
    Start(BoxError),
}

impl WorkerError {
    pub(super) fn start(error: BoxError) -> Self {
        Self(Cause::Start(error))
    }

    /// Whether what was to be done when it starts failed
    /// ([`WorkerBuilder::on_start`](crate::WorkerBuilder::on_start)): it has not claimed anything. The error is the source.
    #[must_use]
    pub fn is_start(&self) -> bool {
        matches!(self.0, Cause::Start(_))
    }

    /// What the storage said, if it is at fault.
    #[must_use]
    pub fn storage(&self) -> Option<&StorageError> {
        match &self.0 {
            Cause::Storage(error) => Some(error),
            Cause::Start(_) => None,
        }
    }
}

impl From<StorageError> for WorkerError {
    fn from(error: StorageError) -> Self {
        Self(Cause::Storage(error))
    }
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Storage(error) => error.fmt(f),
            Cause::Start(error) => {
                write!(f, "the worker did not start, as what is to be done first (`on_start`) failed: {error}")
            }
        }
    }
}

impl std::error::Error for WorkerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Cause::Storage(error) => std::error::Error::source(error),
            Cause::Start(error) => Some(&**error),
        }
    }
}
