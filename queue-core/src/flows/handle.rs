//! A handle to a flow, and to a group.

use std::fmt;
use std::time::Duration;

use queue_storage::model::JobId;
use queue_storage::storage::StorageError;

use super::arrivals::{Arrivals, Page};
use super::tree::{FlowStatus, FlowTree};
use crate::call::Call;
use crate::client::Client;
use crate::handle::{JobHandle, WaitError};
use crate::operate::{BulkError, BulkReport};
use crate::step::After;
use crate::task::{Task, TaskOutput};

/// A flow that was enqueued, whose end hands on an `Out`.
///
/// It knows the flow by its last job; [`Client::flow`] makes another from that job's id. What it shows and does takes in
/// every job that the last one waits for, directly or not, and the handlers of these; not jobs that merely wait for one of
/// them, nor handlers of a last job that was enqueued before its flow.
pub struct FlowHandle<Out> {
    job: JobHandle<Out>,
}

impl<Out> FlowHandle<Out> {
    pub(crate) fn new(client: Client, end: JobId) -> Self {
        Self { job: JobHandle::new(client, end) }
    }

    pub(crate) fn client(&self) -> &Client {
        self.job.client()
    }

    /// The last job: a task's, or, where several jobs hand on what the flow returns, one that gathers them.
    #[must_use]
    pub fn job(&self) -> &JobHandle<Out> {
        &self.job
    }

    /// The id of the last job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.job.id()
    }
}

impl<Out: TaskOutput> FlowHandle<Out> {
    /// What the flow returned, if it has completed: `None` while it has not ended. Reading does not delete it.
    ///
    /// # Errors
    /// It ended otherwise, is gone, or the storage can't be asked.
    pub async fn result(&self) -> Result<Option<Out>, WaitError> {
        self.job.result().await
    }

    /// Waits until the flow has ended, at most `timeout`, and returns what its end hands on.
    ///
    /// # Errors
    /// As [`JobHandle::wait`]. If a job before the last failed, the last is cancelled, and the error names the one to blame.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait; the flow goes on.
    pub async fn wait(&self, timeout: Duration) -> Result<Out, WaitError> {
        self.job.wait(timeout).await
    }
}

/// A group that was enqueued, whose members return `Out`.
pub struct GroupHandle<Out> {
    flow: FlowHandle<Vec<Out>>,
    members: Vec<JobId>,
    pages: Vec<Page>,
}

impl<Out> GroupHandle<Out> {
    pub(crate) fn new(client: Client, end: JobId, members: Vec<JobId>, pages: Vec<Page>) -> Self {
        Self { flow: FlowHandle::new(client, end), members, pages }
    }

    /// The flow it is.
    #[must_use]
    pub fn flow(&self) -> &FlowHandle<Vec<Out>> {
        &self.flow
    }

    /// The id of the last job, which gathers the members: [`Client::flow`] finds the flow again by it.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.flow.id()
    }

    /// How far it is: see [`FlowHandle::status`].
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn status(&self) -> Result<FlowStatus, StorageError> {
        self.flow.status().await
    }

    /// Its jobs, with how they wait for each other: see [`FlowHandle::tree`].
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn tree(&self) -> Result<FlowTree, StorageError> {
        self.flow.tree().await
    }

    /// Calls all of it off: see [`FlowHandle::cancel`].
    ///
    /// # Errors
    /// As [`FlowHandle::cancel`].
    ///
    /// # Cancel safety
    /// When the future is dropped, some jobs may be cancelled; cancel again.
    pub async fn cancel(&self) -> Result<BulkReport, BulkError> {
        self.flow.cancel().await
    }

    /// Tries again what did not complete: see [`FlowHandle::retry`].
    ///
    /// # Errors
    /// As [`FlowHandle::retry`].
    ///
    /// # Cancel safety
    /// When the future is dropped, some jobs may run again and others not; try again.
    pub async fn retry(&self) -> Result<BulkReport, BulkError> {
        self.flow.retry().await
    }

    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A handle to each member, in their order.
    #[must_use]
    pub fn handles(&self) -> Vec<JobHandle<Out>> {
        self.members.iter().map(|id| JobHandle::new(self.flow.client().clone(), *id)).collect()
    }
}

impl<Out: TaskOutput> GroupHandle<Out> {
    /// What the members returned, in their order, if all have completed: `None` while one has not ended.
    ///
    /// # Errors
    /// One ended otherwise; as [`FlowHandle::result`].
    pub async fn result(&self) -> Result<Option<Vec<Out>>, WaitError> {
        self.flow.result().await
    }

    /// Waits until all have completed, at most `timeout`, and returns what they returned, in their order.
    ///
    /// # Errors
    /// As [`FlowHandle::wait`]; as soon as a member ends without completing.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait; the group goes on.
    pub async fn wait(&self, timeout: Duration) -> Result<Vec<Out>, WaitError> {
        self.flow.wait(timeout).await
    }

    /// Each member as it ends: its place in the group, and what it returned or why it did not. It looks whenever it is told
    /// of an end, and otherwise every 50 ms to 1 s, a hundred members a call.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError, group, tasks};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Square { n: u64 }
    /// # impl Task for Square { type Output = u64; const NAME: &'static str = "square";
    /// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.n * self.n) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::immediate(tasks![Square]).build()?;
    /// let squares = group((1..=3).map(|n| Call::new(Square { n }))).enqueue(&client).await?;
    /// let (mut arrivals, mut sum) = (squares.as_completed(), 0);
    /// while let Some((place, square)) = arrivals.next().await {
    ///     println!("{place}: {}", square.as_ref().map_err(ToString::to_string)?);
    ///     sum += square?;
    /// }
    /// assert_eq!(sum, 14);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn as_completed(&self) -> Arrivals<Out> {
        Arrivals::new(self.handles(), self.pages.clone())
    }
}

impl Client {
    /// A flow by the id of its last job, of which the caller knows what it returns: `client.flow::<String>(id)`. Who only looks
    /// at it, calls it off or tries it again takes any type: `client.flow::<()>(id)`. Nothing is asked of the storage.
    #[must_use]
    pub fn flow<Out>(&self, id: JobId) -> FlowHandle<Out> {
        FlowHandle::new(self.clone(), id)
    }
}

impl<T: Task> Call<T> {
    /// A handle to the job that this call is or will be, once it has been enqueued, alone or in a flow. (It is another job's
    /// that `enqueue` answers with, where a [unique](Self::unique) one is there already.)
    #[must_use]
    pub fn handle(&self, client: &Client) -> JobHandle<T::Output> {
        JobHandle::new(client.clone(), self.id())
    }
}

impl<T: Task, In> After<T, In> {
    /// A handle to the job that this step will be, once its flow has been enqueued.
    #[must_use]
    pub fn handle(&self, client: &Client) -> JobHandle<T::Output> {
        JobHandle::new(client.clone(), self.id())
    }
}

impl<Out> Clone for FlowHandle<Out> {
    fn clone(&self) -> Self {
        Self { job: self.job.clone() }
    }
}

impl<Out> fmt::Debug for FlowHandle<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowHandle({} in {})", self.id(), self.client().location())
    }
}

impl<Out> Clone for GroupHandle<Out> {
    fn clone(&self) -> Self {
        Self { flow: self.flow.clone(), members: self.members.clone(), pages: self.pages.clone() }
    }
}

impl<Out> fmt::Debug for GroupHandle<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupHandle({} jobs, {:?})", self.members.len(), self.flow)
    }
}
