//! What a running task may ask.

mod inject;
mod testing;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use queue_storage::model::{JobId, Progress, Shard, TaskName, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::data::{Data, DataMap};
use crate::progress::{Said, Told};
use crate::task_error::TaskError;
pub use inject::{FromContext, Requirements};
pub use testing::TestContext;

/// A running job, seen from inside: who it is, which attempt this is, and whether it should stop.
///
/// Take it as a parameter of a task; it is no argument. Cloning it is cheap. In unit tests, [`Context::test`].
#[derive(Clone)]
pub struct Context(Arc<Inner>);

/// The header that names the schedule of a job.
pub(crate) const SCHEDULE_HEADER: &str = "queue.schedule";

/// The facts of one run.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: JobId,
    pub(crate) shard: Shard,
    pub(crate) task: TaskName,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) fence: u64,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) scheduled_for: Option<Timestamp>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) client: Client,
    pub(crate) data: Arc<DataMap>,
    pub(crate) cancelled: CancellationToken,
    pub(crate) told: Arc<Told>,
}

impl Context {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// A context for calling a task's function in a unit test: attempt 1 of 1 of a made-up job, a client on a memory
    /// storage of its own, never cancelled.
    ///
    /// ```
    /// let ctx = queue_core::Context::test();
    /// assert_eq!((ctx.attempt(), ctx.is_cancelled()), (1, false));
    /// ```
    #[must_use]
    pub fn test() -> Self {
        TestContext::new().build()
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.0.id
    }

    /// The name of the queue it came from.
    #[must_use]
    pub fn queue(&self) -> &str {
        self.0.shard.queue.as_str()
    }

    /// The name of the task, as stored with the job.
    #[must_use]
    pub fn task(&self) -> &str {
        self.0.task.as_str()
    }

    /// Which attempt this is, from 1. Runs that a stop of the worker or a crash cut short do not count.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// How many attempts there are at most: retries and the first.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.0.max_attempts
    }

    /// How many attempts are left after this one.
    #[must_use]
    pub fn retries_left(&self) -> u32 {
        self.0.max_attempts.saturating_sub(self.0.attempt)
    }

    /// When this attempt will have taken too long, or the job's deadline comes, whichever is first; `None` without a
    /// timeout and a deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<SystemTime> {
        self.0.deadline.map(Into::into)
    }

    /// The moment the job was scheduled for; `None` when it was to run at once. Of a schedule's job it is the tick, however
    /// late that was carried out, and the same for every attempt.
    #[must_use]
    pub fn scheduled_for(&self) -> Option<SystemTime> {
        self.0.scheduled_for.map(Into::into)
    }

    /// The name of the [`Schedule`](crate::Schedule) that enqueued the job; `None` if none did.
    #[must_use]
    pub fn schedule(&self) -> Option<&str> {
        self.header(SCHEDULE_HEADER)
    }

    /// When it was enqueued, by the storage's clock.
    #[must_use]
    pub fn enqueued_at(&self) -> SystemTime {
        self.0.enqueued_at.into()
    }

    /// A header that travels with the job.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.get(name).map(String::as_str)
    }

    /// Every header that travels with the job.
    #[must_use]
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.0.headers
    }

    /// The number of this run's lease, rising within the queue: a fencing token for systems that take one. A later run
    /// of the same job has a higher number.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.0.fence
    }

    /// The client of the worker, to enqueue further jobs.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// Waits until this run should stop: someone cancelled the job, its lease is lost, it took too long, or the worker
    /// stops and its grace is over. For ever otherwise.
    ///
    /// A job that was cancelled has a while to end as it likes
    /// ([`WorkerBuilder::cancel_grace`](crate::WorkerBuilder::cancel_grace)): if its task succeeds, it is completed; if it
    /// fails, or does not end in time, it is cancelled. In every other case an async task is dropped at its next await.
    /// A task that is not async can't be dropped: it asks [`is_cancelled`](Self::is_cancelled).
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn cancelled(&self) {
        self.0.cancelled.cancelled().await;
    }

    /// Whether this run should stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.is_cancelled()
    }

    /// The error to return when whom the task calls asks it to slow down, as by an HTTP 429:
    /// [`TaskError::rate_limited`].
    #[must_use]
    pub fn rate_limited(&self, after: Duration) -> TaskError {
        TaskError::rate_limited(after)
    }

    /// Says how far this run got: so much is done of so much (0 when that is not known), in whatever unit, and what it is
    /// doing. Read with [`JobHandle::progress`](crate::JobHandle::progress).
    ///
    /// It only notes it, so it may be called in a tight loop, from a task that is not async too. The worker sends the
    /// latest word along with its leases, at most every 100 ms; words between are left out, the last one never, unless the
    /// storage does not answer: a run that has ended settles once its last word has come, or after a second. A message
    /// is cut to 1,024 bytes.
    ///
    /// ```
    /// let ctx = queue_core::Context::test();
    /// for page in 1..=20 {
    ///     ctx.progress(page, 20, format!("page {page}"));
    /// }
    /// ```
    pub fn progress(&self, done: u64, total: u64, message: impl Into<String>) {
        let progress = Progress::new(done, total, message);
        self.0.told.say(Said { task: self.0.task.clone(), progress });
    }

    /// What the worker was given with [`data`](crate::WorkerBuilder::data).
    #[must_use]
    pub fn data<T: ?Sized + Send + Sync + 'static>(&self) -> Option<Data<T>> {
        self.0.data.get()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.0.id)
            .field("task", &self.0.task)
            .field("queue", &self.0.shard.queue)
            .field("attempt", &self.0.attempt)
            .finish_non_exhaustive()
    }
}
