//! Why a worker does not run.

use std::fmt;

use queue_storage::storage::StorageError;

use crate::task_error::BoxError;

/// Why a worker did not start, or ended by itself.
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

impl fmt::Debug for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        queue_storage::debug_as_text("WorkerError", self, f)
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

#[cfg(test)]
mod tests {
    use std::error::Error;

    use queue_storage::model::JobId;

    use super::*;
    use crate::{Client, Context, Task, TaskError, Worker};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nap;

    impl Task for Nap {
        type Output = ();
        const NAME: &'static str = "nap";
        async fn run(self, _: Context) -> Result<(), TaskError> {
            Ok(())
        }
    }

    /// What a `main` shows that returns one of them.
    #[tokio::test]
    async fn debug_is_the_text() {
        let client = Client::memory();
        let build = Worker::builder(&client).queue("no name").concurrency(0).build().unwrap_err();
        assert!(build.problems().len() > 1 && format!("{build:?}").matches("\n  - ").count() == build.problems().len());
        let start = WorkerError::start("no socket".into());
        assert!(format!("{start:?}").ends_with("(`on_start`) failed: no socket"), "{start:?}");
        let errors: [(&str, Box<dyn Error>); 8] = [
            ("BuildError", build.into()),
            ("WorkerError", start.into()),
            ("HandleError", client.handle::<Nap>("x").await.unwrap_err().into()),
            ("WaitError", crate::WaitError::storage(JobId::from_u128(7), StorageError::unavailable("away")).into()),
            ("ActError", client.revive(JobId::from_u128(7)).await.unwrap_err().into()),
            ("BulkError", client.queue("no name").purge().await.unwrap_err().into()),
            ("ScheduleError", client.schedule("none").get().await.unwrap_err().into()),
            ("EnqueueError", crate::Call::new(Nap).queue("no name").enqueue(&client).await.unwrap_err().into()),
        ];
        for (name, error) in errors {
            assert_eq!(format!("{error:?}"), format!("{name}: {error}"));
        }
    }
}
