//! The handle to one storage: enqueues, inspects.

mod builder;
mod enqueue;
mod error;
mod producer;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use queue_storage::clock::{Clock, SystemClock};
use queue_storage::memory::MemoryStorage;
use queue_storage::model::{CallerId, JobId, QueueName, Shard};
use queue_storage::storage::{Counts, JobPage, JobQuery, Lookup, Storage, StorageError, WorkerRecord};

pub use builder::ClientBuilder;
pub use error::{EnqueueError, HandleError};
use producer::Producer;

use crate::handle::JobHandle;
use crate::immediate::{Immediate, ImmediateBuilder};
use crate::list::TaskList;
use crate::task::Task;

/// The cheap, cloneable handle to one storage: what enqueues calls and looks at jobs.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
/// let client = queue_core::Client::memory();
/// assert_eq!(client.location(), "memory:");
/// assert_eq!(client.counts("default").await?.pending(), 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    config: ClientConfig,
    caller: CallerId,
    /// One per shard this client has enqueued to. Locked to look one up or put one in, never across an await.
    producers: Mutex<HashMap<Shard, Arc<Producer>>>,
    immediate: Option<Immediate>,
}

/// Settings of a client, defaulted here and set by [`ClientBuilder`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientConfig {
    /// Arguments above this many bytes are refused.
    pub(crate) payload_limit: usize,
    /// Arguments above this many bytes are warned of.
    pub(crate) payload_warning: usize,
    /// How long an enqueue may take, repeats included.
    pub(crate) enqueue_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            payload_limit: 1024 * 1024,
            payload_warning: 64 * 1024,
            enqueue_timeout: Duration::from_secs(5),
        }
    }
}

impl Client {
    /// A client of `storage` with default settings; [`builder`](Self::builder) changes them.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self::builder(storage).build()
    }

    /// A client of a new storage in this process's memory: for tests and for work that may be lost.
    #[must_use]
    pub fn memory() -> Self {
        Self::new(Arc::new(MemoryStorage::new()))
    }

    /// A client that runs each job at once, inside `enqueue`, with these tasks: for tests. Add the tasks' data and build
    /// it. To have the same by configuration, see [`ClientBuilder::immediate`].
    ///
    /// A failed job is retried at once, without its delay; a job that is scheduled for later stays scheduled. Errors of
    /// tasks are read from the handle, as with a worker.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError, tasks};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
    /// # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
    /// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// let client = Client::immediate(tasks![Add]).build()?;
    /// let job = Call::new(Add { a: 1, b: 2 }).enqueue(&client).await?;
    /// assert_eq!(job.result().await?, Some(3));
    /// # Ok(()) }
    /// ```
    pub fn immediate(tasks: TaskList) -> ImmediateBuilder {
        ImmediateBuilder::new(tasks)
    }

    /// A client of `storage` with settings of your own.
    #[must_use]
    pub fn builder(storage: Arc<dyn Storage>) -> ClientBuilder {
        ClientBuilder::new(storage)
    }

    fn assemble(
        storage: Arc<dyn Storage>,
        clock: Option<Arc<dyn Clock>>,
        config: ClientConfig,
        immediate: Option<Immediate>,
    ) -> Self {
        Self(Arc::new(Inner {
            storage,
            clock: clock.unwrap_or_else(|| Arc::new(SystemClock)),
            config,
            caller: CallerId::generate(),
            producers: Mutex::default(),
            immediate,
        }))
    }

    /// Where the storage is, for people: a URL with its secrets masked.
    #[must_use]
    pub fn location(&self) -> String {
        self.0.storage.location()
    }

    /// The storage itself, for what this client does not offer.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.0.storage
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    pub(crate) fn immediate_mode(&self) -> Option<&Immediate> {
        self.0.immediate.as_ref()
    }

    fn producer(&self, shard: &Shard) -> Arc<Producer> {
        let mut producers = self.0.producers.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Producer::new(Arc::clone(&self.0.storage), self.0.caller, shard.clone()));
        Arc::clone(producers.entry(shard.clone()).or_insert_with(fresh))
    }

    /// A typed handle to a stored job of task `T`, by its id or the text of it.
    ///
    /// # Errors
    /// [`HandleError`] tells four things apart: the text is no id, no such job was ever stored, the job is another
    /// task's, the job is gone (it ended and was pruned). Beside them, the storage can't be asked.
    pub async fn handle<T: Task>(&self, id: impl IntoJobId) -> Result<JobHandle<T::Output>, HandleError> {
        let id = id.into_job_id()?;
        match self.0.storage.get(id).await? {
            Lookup::Unknown => Err(HandleError::unknown(id, &self.location())),
            Lookup::Gone => Err(HandleError::gone(id, &self.location())),
            Lookup::Found(job) => {
                let stored = job.task.as_str();
                if stored == T::NAME || T::ALIASES.contains(&stored) {
                    Ok(JobHandle::new(self.clone(), id))
                } else {
                    Err(HandleError::other_task(id, stored, T::NAME))
                }
            }
        }
    }

    /// A job by id, whatever its task.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn job(&self, id: JobId) -> Result<Lookup, StorageError> {
        self.0.storage.get(id).await
    }

    /// A page of jobs, oldest first; see [`JobQuery`].
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn jobs(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        self.0.storage.list(query).await
    }

    /// How many jobs the queue holds, by state, and how many have ended there; all zero for a queue nobody used yet.
    ///
    /// # Errors
    /// The storage can't be asked, or `queue` is no queue name.
    pub async fn counts(&self, queue: &str) -> Result<Counts, StorageError> {
        let queue = QueueName::new(queue).map_err(|error| StorageError::invalid(error.to_string()))?;
        let mut counts = Counts::default();
        for shard in self.0.storage.shards().await?.into_iter().filter(|shard| shard.queue == queue) {
            counts.add(&self.0.storage.counts(&shard).await?);
        }
        Ok(counts)
    }

    /// The queues that ever took a job in, by name.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn queues(&self) -> Result<Vec<QueueName>, StorageError> {
        let mut queues: Vec<_> = self.0.storage.shards().await?.into_iter().map(|shard| shard.queue).collect();
        queues.dedup();
        Ok(queues)
    }

    /// The workers the storage knows; `seen_at` tells which are alive.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        self.0.storage.workers().await
    }

    /// Asks the storage whether it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StorageError> {
        self.0.storage.ping().await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.location())
    }
}

/// What names a job: its [`JobId`], or the text of one.
pub trait IntoJobId {
    /// The id.
    ///
    /// # Errors
    /// The text is no id.
    fn into_job_id(self) -> Result<JobId, HandleError>;
}

impl IntoJobId for JobId {
    fn into_job_id(self) -> Result<JobId, HandleError> {
        Ok(self)
    }
}

impl IntoJobId for &str {
    fn into_job_id(self) -> Result<JobId, HandleError> {
        self.parse().map_err(HandleError::not_an_id)
    }
}

impl IntoJobId for &String {
    fn into_job_id(self) -> Result<JobId, HandleError> {
        self.as_str().into_job_id()
    }
}

impl IntoJobId for String {
    fn into_job_id(self) -> Result<JobId, HandleError> {
        self.as_str().into_job_id()
    }
}
