//! What people do to one job, by its handle.

use std::time::Duration;

use queue_storage::storage::StorageError;

use super::error::{WaitError, WaitErrorKind};
use super::{JobHandle, RETRY_AFTER};
use crate::draft::Eta;
use crate::operate::{ActError, Cancelled, JobEdit};
use crate::task::{Task, TaskOutput};

impl<Out> JobHandle<Out> {
    /// Calls the job off: see [`Client::cancel`](crate::Client::cancel).
    ///
    /// # Errors
    /// The storage can't be asked, or its answer was lost: cancel it again.
    pub async fn cancel(&self) -> Result<Cancelled, StorageError> {
        self.client.cancel(self.id).await
    }

    /// Starts the job no earlier than `eta`, a moment or a [`Duration`] from now, wherever it waited for. A retry that is due
    /// then stays a retry.
    ///
    /// # Errors
    /// It runs, has ended, is gone, or the storage can't be asked.
    pub async fn reschedule(&self, eta: impl Into<Eta>) -> Result<(), ActError> {
        self.client.edit(self.id, JobEdit::new().schedule(eta)).await
    }

    /// Changes the priority: higher runs first. Among jobs of that priority it keeps the place it had.
    ///
    /// # Errors
    /// As [`reschedule`](Self::reschedule).
    pub async fn set_priority(&self, priority: i32) -> Result<(), ActError> {
        self.client.edit(self.id, JobEdit::new().priority(priority)).await
    }

    /// Replaces the arguments, all of them; headers and options stay. A step of a pipeline whose first argument is among
    /// them does not take the result of the step before any more. It is for the caller to see to it that `T` is the
    /// job's task.
    ///
    /// # Errors
    /// As [`reschedule`](Self::reschedule); and the arguments can't be stored.
    pub async fn replace_arguments<T: Task<Output = Out>>(&self, arguments: T) -> Result<(), ActError> {
        self.client.edit(self.id, JobEdit::new().arguments(arguments)).await
    }

    /// Changes several things at once.
    ///
    /// # Errors
    /// As [`replace_arguments`](Self::replace_arguments).
    pub async fn edit(&self, edit: JobEdit) -> Result<(), ActError> {
        self.client.edit(self.id, edit).await
    }

    /// Runs the ended job again, at once; the handle stays good.
    ///
    /// # Errors
    /// As [`Client::revive`](crate::Client::revive).
    pub async fn revive(&self) -> Result<(), ActError> {
        self.client.revive(self.id).await
    }

    /// The same, with other arguments, another priority, or for later.
    ///
    /// # Errors
    /// As [`revive`](Self::revive); and the arguments can't be stored.
    pub async fn revive_with(&self, edit: JobEdit) -> Result<(), ActError> {
        self.client.revive_with(self.id, edit).await
    }

    /// The same, with arguments written as a JSON object: see [`JobEdit::arguments_json`].
    ///
    /// # Errors
    /// As [`revive_with`](Self::revive_with).
    pub async fn revive_with_json(&self, arguments: &str) -> Result<(), ActError> {
        self.client.revive_with_json(self.id, arguments).await
    }

    /// Removes the job, and what it returned: see [`Client::delete`](crate::Client::delete).
    ///
    /// # Errors
    /// It runs, is gone, or the storage can't be asked.
    pub async fn delete(&self) -> Result<(), ActError> {
        self.client.delete(self.id).await
    }
}

impl<Out: TaskOutput> JobHandle<Out> {
    /// Waits until the job has completed, at most `timeout`, returns what it returned, and removes the job. Of several that
    /// take, one gets it; to the others it is gone. (A job that another live job waits for stays until that has its result,
    /// and may be taken again until then.)
    ///
    /// When the storage's answer to the removal is lost, the result may be removed without anyone having got it: it is
    /// handed out at most once. Who must not miss it [waits](Self::wait) and [deletes](Self::delete).
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError, tasks};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
    /// # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
    /// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::immediate(tasks![Add]).build()?;
    /// let job = Call::new(Add { a: 1, b: 2 }).enqueue(&client).await?;
    /// assert_eq!(job.take(Duration::from_secs(5)).await?, 3);
    /// assert!(job.take(Duration::from_secs(5)).await.unwrap_err().is_gone());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait). A job that ended otherwise is not removed.
    ///
    /// # Cancel safety
    /// When the future is dropped, the job may be removed.
    pub async fn take(&self, timeout: Duration) -> Result<Out, WaitError> {
        let clock = self.client.clock();
        let deadline = clock.now() + timeout;
        let output = self.wait(timeout).await?;
        loop {
            let error = match self.client.delete(self.id).await {
                Ok(()) => return Ok(output),
                Err(error) if error.is_gone() || error.is_unknown() => return Err(self.error(WaitErrorKind::Gone)),
                Err(error) => error,
            };
            if !error.is_unavailable() || clock.now() >= deadline {
                return Err(self.error(WaitErrorKind::Taking(error)));
            }
            clock.sleep_until((clock.now() + RETRY_AFTER).min(deadline)).await;
        }
    }
}
