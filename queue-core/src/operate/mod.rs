//! What people do to stored jobs, queues, tasks and workers.

mod bulk;
mod edit;
mod error;
mod listing;
mod overview;
mod queue;
mod revoke;
mod select;
mod telling;

use queue_storage::model::{Job, JobId, State, Timestamp};
use queue_storage::storage::{Act, Acted, Lookup, StorageError};

use crate::client::Client;
use crate::facts::DeadLetter;

pub use bulk::{BulkError, BulkReport};
pub use edit::JobEdit;
pub use error::ActError;
pub(crate) use error::{Deed, Kind};
pub use listing::Listing;
pub use overview::{Overview, QueueOverview, WorkerOverview};
pub use queue::Queue;
pub use revoke::Revoke;
pub use select::Selection;

/// What became of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cancelled {
    /// It did not run, and is cancelled.
    Done,
    /// It runs, and was asked to stop. It ends cancelled, unless its task succeeds all the same; wait for it to know.
    Asked,
    /// It had ended already, in this state; nothing was changed.
    Ended(State),
    /// It had ended already, and the time it is kept has passed.
    Gone,
    /// No such job was ever stored.
    Unknown,
}

impl Client {
    /// Calls a job off. One that does not run is cancelled at once, and so is what waits for it. One that runs is asked to
    /// stop: it hears so from [`Context::cancelled`](crate::Context::cancelled), has
    /// [a while](crate::WorkerBuilder::cancel_grace) (5 s by default) to end as it likes, and is dropped then: a task that
    /// does not listen goes on that long. A task that is not async is
    /// cancelled when it returns. Cancelling twice is cancelling once.
    ///
    /// ```
    /// # use queue_core::{Call, Cancelled, Client, Context, State, Task, TaskError};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Report {}
    /// # impl Task for Report { type Output = (); const NAME: &'static str = "report";
    /// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::memory();
    /// let job = Call::new(Report {}).enqueue(&client).await?;
    /// assert_eq!(client.cancel(job.id()).await?, Cancelled::Done);
    /// assert_eq!(client.cancel(job.id()).await?, Cancelled::Ended(State::Cancelled));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The storage can't be asked, or its answer was lost: cancel it again.
    pub async fn cancel(&self, id: JobId) -> Result<Cancelled, StorageError> {
        let job = match self.storage().get(id).await? {
            Lookup::Found(job) if job.state.is_end() => return Ok(Cancelled::Ended(job.state)),
            Lookup::Found(job) => job,
            Lookup::Gone => return Ok(Cancelled::Gone),
            Lookup::Unknown => return Ok(Cancelled::Unknown),
        };
        let act = Act::Cancel { keep: self.config().keep_cancelled };
        Ok(match self.act(&job, &act).await? {
            Acted::Asked => Cancelled::Asked,
            Acted::Refused(state) => Cancelled::Ended(state),
            Acted::Missing => Cancelled::Gone,
            _ => Cancelled::Done,
        })
    }

    /// Removes a job. One that is live and does not run is cancelled first; one whose result another live job needs stays
    /// until that has it.
    ///
    /// # Errors
    /// It runs, is gone, was never stored, or the storage can't be asked.
    pub async fn delete(&self, id: JobId) -> Result<(), ActError> {
        self.act_on(id, Deed::Delete, |_| Ok(Act::Delete)).await
    }

    /// Runs a job that has ended again, at once: as if it were new, but for its id, its place in lists and its history.
    /// One that has completed does its work once more.
    ///
    /// Nothing expires it and it has no deadline any more; it is under the limits it was under, and it is
    /// [unique](crate::Unique) no more: who enqueues another with its key meanwhile gets a job of its own.
    ///
    /// # Errors
    /// It has not ended, another live job needs what it returned, what it takes itself is not stored any more; it is gone, was never stored, or the storage can't be asked.
    pub async fn revive(&self, id: JobId) -> Result<(), ActError> {
        self.revive_with(id, JobEdit::new()).await
    }

    /// The same, with other arguments, another priority, or for later.
    ///
    /// # Errors
    /// As [`revive`](Self::revive); and the arguments are none, or too large.
    pub async fn revive_with(&self, id: JobId, edit: JobEdit) -> Result<(), ActError> {
        self.act_on(id, Deed::Revive, |job| Ok(Act::Revive(edit.of(job, self.config())?))).await
    }

    /// The same, with arguments written as a JSON object: see [`JobEdit::arguments_json`].
    ///
    /// # Errors
    /// As [`revive_with`](Self::revive_with).
    pub async fn revive_with_json(&self, id: JobId, arguments: &str) -> Result<(), ActError> {
        self.revive_with(id, JobEdit::new().arguments_json(arguments)).await
    }

    /// Changes a job that is live and does not run.
    ///
    /// # Errors
    /// It runs, has ended, is gone, was never stored; the arguments are none, or too large; or the storage can't be asked.
    pub async fn edit(&self, id: JobId, edit: JobEdit) -> Result<(), ActError> {
        self.act_on(id, Deed::Edit, |job| Ok(Act::Edit(edit.of(job, self.config())?))).await
    }

    /// The dead letter of a job; `None` when the job is not dead, or not stored.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn dead_letter(&self, id: JobId) -> Result<Option<DeadLetter>, StorageError> {
        let job = self.storage().get(id).await?.found();
        Ok(job.filter(|job| job.state == State::Dead).map(|job| DeadLetter::of(&job)))
    }

    /// The job, and why there is none.
    pub(crate) async fn found(&self, id: JobId, deed: Deed) -> Result<Job, ActError> {
        match self.storage().get(id).await {
            Ok(Lookup::Found(job)) => Ok(*job),
            Ok(Lookup::Gone) => Err(ActError::new(id, deed, Kind::Gone)),
            Ok(Lookup::Unknown) => Err(ActError::new(id, deed, Kind::Unknown)),
            Err(error) => Err(ActError::new(id, deed, Kind::Storage(error))),
        }
    }

    /// Does something to one job that follows from how it is stored.
    async fn act_on(
        &self,
        id: JobId,
        deed: Deed,
        act: impl FnOnce(&Job) -> Result<Act, String>,
    ) -> Result<(), ActError> {
        let job = self.found(id, deed).await?;
        let act = act(&job).map_err(|why| ActError::new(id, deed, Kind::Invalid(why)))?;
        self.do_to(&job, deed, &act).await
    }

    /// Does it, and says why it was not done.
    pub(crate) async fn do_to(&self, job: &Job, deed: Deed, act: &Act) -> Result<(), ActError> {
        let kind = match self.act(job, act).await {
            Ok(Acted::Refused(state)) => Kind::Refused(state),
            Ok(Acted::Missing) => Kind::Gone,
            Ok(_) => return Ok(()),
            Err(error) => Kind::Storage(error),
        };
        Err(ActError::new(job.id, deed, kind))
    }

    async fn act(&self, job: &Job, act: &Act) -> Result<Acted, StorageError> {
        let expected = self.teller().expect(&job.shard, [job.id].into_iter());
        let acted = self.storage().act(&job.shard, &[job.id], act).await?;
        self.tell_acted(&job.shard, (&[job.id], &acted), act, |_| Some((job.task.clone(), job.node.is_task())));
        drop(expected);
        self.has_told(Timestamp::MAX).await;
        if matches!(act, Act::Revive(_) | Act::Edit(_)) {
            self.run_inline(&job.shard).await?;
        }
        Ok(acted.first().copied().unwrap_or(Acted::Missing))
    }
}
