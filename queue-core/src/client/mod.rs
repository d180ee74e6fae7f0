//! The handle to one storage: enqueues, inspects.

mod builder;
mod producer;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use queue_storage::clock::{Clock, SystemClock};
use queue_storage::memory::MemoryStorage;
use queue_storage::model::{CallerId, JobId, QueueName, Shard, TaskName};
use queue_storage::storage::{Counts, JobPage, JobQuery, Lookup, Storage, StorageError, WorkerRecord};

use crate::events::Teller;
pub use builder::ClientBuilder;
pub(crate) use producer::{MAX_CALL_BYTES, Producer, Unanswered};

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
pub struct Client(Arc<Inner>, Passes);

/// What enqueues pass on their way. Its type stands above this file, which only keeps it.
pub(crate) type Passes = Option<Arc<dyn Any + Send + Sync>>;

struct Inner {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    config: ClientConfig,
    caller: CallerId,
    /// One per shard this client has enqueued to. Locked to look one up or put one in, never across an await.
    producers: Mutex<HashMap<Shard, Arc<Producer>>>,
    /// Tells of what this client, and workers on it, make happen.
    teller: Arc<Teller>,
    /// In immediate mode.
    inline: Option<Inlines>,
}

/// What runs jobs inside `enqueue`, once a worker is built.
type Inlines = Arc<RwLock<Option<Arc<dyn Inline>>>>;

/// Runs jobs inside `enqueue`.
#[async_trait]
pub(crate) trait Inline: Send + Sync {
    /// Whether it can run this task; if not, why.
    fn check(&self, task: &TaskName) -> Result<(), String>;

    /// Runs what is ready in the shard until nothing is.
    async fn run(self: Arc<Self>, client: Client, shard: Shard) -> Result<(), StorageError>;
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
    /// How long a job is kept that this client cancels.
    pub(crate) keep_cancelled: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            payload_limit: 1024 * 1024,
            payload_warning: 64 * 1024,
            enqueue_timeout: Duration::from_secs(5),
            keep_cancelled: Duration::from_secs(3_600),
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

    /// A client of `storage` with settings of your own.
    pub fn builder(storage: Arc<dyn Storage>) -> ClientBuilder {
        ClientBuilder::new(storage)
    }

    /// A builder of another client of the same storage, with the settings of this one, immediate mode and middleware among
    /// them: to change some of a client that a URL made.
    ///
    /// It is a client of its own, with handlers of events of its own: build workers on the one that is kept.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError, tasks};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
    /// # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
    /// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// let client = Client::immediate(tasks![Add]).build()?;
    /// let client = client.to_builder().enqueue_timeout(Duration::from_secs(2)).build();
    /// let job = Call::new(Add { a: 1, b: 2 }).enqueue(&client).await?;
    /// assert_eq!(job.result().await?, Some(3));
    /// # Ok(()) }
    /// ```
    pub fn to_builder(&self) -> ClientBuilder {
        ClientBuilder::like(self)
    }

    fn assemble(
        storage: Arc<dyn Storage>,
        clock: Option<Arc<dyn Clock>>,
        config: ClientConfig,
        inline: Option<Inlines>,
        passes: Passes,
    ) -> Self {
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock));
        let inner = Inner {
            teller: Arc::new(Teller::new(Arc::clone(&storage), Arc::clone(&clock))),
            storage,
            clock,
            config,
            caller: CallerId::generate(),
            producers: Mutex::default(),
            inline,
        };
        Self(Arc::new(inner), passes)
    }

    /// The same client, whose enqueues pass this.
    pub(crate) fn passing(&self, passes: Arc<dyn Any + Send + Sync>) -> Self {
        Self(Arc::clone(&self.0), Some(passes))
    }

    pub(crate) fn passes(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.1.as_deref()
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

    pub(crate) fn teller(&self) -> &Arc<Teller> {
        &self.0.teller
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// Whether jobs run inside `enqueue`.
    #[must_use]
    pub fn is_immediate(&self) -> bool {
        self.0.inline.is_some()
    }

    /// What runs jobs inside `enqueue`, if a worker has been built.
    pub(crate) fn inline(&self) -> Option<Arc<dyn Inline>> {
        let slot = self.0.inline.as_ref()?;
        slot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// In immediate mode, runs jobs with this from now on.
    pub(crate) fn attach(&self, inline: Arc<dyn Inline>) {
        if let Some(slot) = &self.0.inline {
            *slot.write().unwrap_or_else(PoisonError::into_inner) = Some(inline);
        }
    }

    /// In immediate mode, runs what is ready in the shard; nothing to do otherwise.
    pub(crate) async fn run_inline(&self, shard: &Shard) -> Result<(), StorageError> {
        let Some(inline) = self.inline() else { return Ok(()) };
        // A task of its own: a caller who is dropped leaves no job half run, and jobs that enqueue jobs need no deeper stack.
        let run = tokio::spawn(inline.run(self.clone(), shard.clone()));
        run.await.unwrap_or(Ok(()))
    }

    pub(crate) fn producer(&self, shard: &Shard) -> Arc<Producer> {
        let mut producers = self.0.producers.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Producer::new(Arc::clone(&self.0.storage), self.0.caller, shard.clone()));
        Arc::clone(producers.entry(shard.clone()).or_insert_with(fresh))
    }

    /// A job by id, whatever its task.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn job(&self, id: JobId) -> Result<Lookup, StorageError> {
        self.0.storage.get(id).await
    }

    /// A page of jobs, those of a queue in the order in which they were enqueued; see [`JobQuery`].
    ///
    /// Pages are not a snapshot, yet a job that is stored throughout is shown exactly once; a job whose state changes
    /// between two pages may be missed by a query for its state.
    ///
    /// # Errors
    /// The storage can't be asked, or `query.after` is not from a page of this storage.
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
