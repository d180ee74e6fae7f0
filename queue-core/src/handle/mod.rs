//! A handle to a stored job.

mod acts;
mod error;
mod find;
mod progress;
mod shown;
mod status;

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{Ending, Job, JobId, Node, State};
use queue_storage::storage::{Lookup, StorageError, Topic};

use crate::client::Client;
use crate::codec;
use crate::facts::JobFacts;
use crate::gather::{Gatherer, Trouble};
use crate::task::TaskOutput;

pub use error::WaitError;
use error::{Culprit, Live, WaitErrorKind};
pub use find::{HandleError, IntoJobId};
pub use progress::ProgressStream;
pub use status::JobStatus;

/// How often a waiting handle looks although nothing told it to: hints may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a look may take, even when that is longer than the wait.
const LOOK_TAKES: Duration = Duration::from_secs(1);
/// How long it waits before it looks again after the storage could not be asked.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A job that was enqueued, whose task returns `Out`: its id, its state, its result.
///
/// Cloning it is cheap, and it is not needed to keep the job: [`Client::handle`] makes another from the id.
pub struct JobHandle<Out> {
    id: JobId,
    client: Client,
    /// Whether the job was there before, and kept the one that was enqueued out.
    existing: bool,
    output: PhantomData<fn() -> Out>,
}

impl<Out> JobHandle<Out> {
    pub(crate) fn new(client: Client, id: JobId) -> Self {
        Self { id, client, existing: false, output: PhantomData }
    }

    pub(crate) fn existing(client: Client, id: JobId) -> Self {
        Self { existing: true, ..Self::new(client, id) }
    }

    /// Whether this is the job that was there before and kept the one out that was enqueued, both being
    /// [unique](crate::Unique) by one key. False for handles found by id.
    #[must_use]
    pub fn is_existing(&self) -> bool {
        self.existing
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The job's id; its text is what to keep or show.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// What the storage knows of the job now.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn status(&self) -> Result<JobStatus, StorageError> {
        Ok(match self.client.storage().get(self.id).await? {
            Lookup::Found(job) => JobStatus::Known(Box::new(JobFacts::of(&job))),
            Lookup::Gone => JobStatus::Gone,
            Lookup::Unknown => JobStatus::Unknown,
        })
    }
}

impl<Out: TaskOutput> JobHandle<Out> {
    /// What the job returned, if it has completed: `None` while it is live. Reading does not delete it.
    ///
    /// # Errors
    /// The job ended otherwise, is gone, or the storage can't be asked.
    pub async fn result(&self) -> Result<Option<Out>, WaitError> {
        Ok(self.look().await?.ok())
    }

    /// Waits until the job has ended, at most `timeout`, and returns what it returned. Reading does not delete it.
    ///
    /// While the storage can't be asked it goes on trying until the timeout.
    ///
    /// # Errors
    /// The timeout passed first (the error says where the job is; it is not stopped); the job is dead, cancelled or
    /// expired; it ended and was pruned; what it returned is not an `Out`, or what it gathers can't be put together.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait; the job goes on.
    pub async fn wait(&self, timeout: Duration) -> Result<Out, WaitError> {
        let clock = self.client.clock();
        let deadline = clock.now() + timeout;
        // Interest is registered before the first look, so that no end falls between look and listening.
        let listener = self.client.storage().listen(Topic::Job(self.id));
        let mut last = WaitErrorKind::TimedOut(timeout, None);
        let mut is_over = false;
        loop {
            let latest = deadline.max(clock.now() + LOOK_TAKES);
            let looked = tokio::select! {
                looked = self.look() => looked,
                () = clock.sleep_until(latest) => return Err(self.error(last)),
            };
            let again = match looked {
                Ok(Ok(output)) => return Ok(output),
                Ok(Err(live)) => {
                    last = WaitErrorKind::TimedOut(timeout, Some(live));
                    LOOK_EVERY
                }
                Err(error) if error.is_unavailable() => {
                    last = *error.kind;
                    RETRY_AFTER
                }
                Err(error) => return Err(error),
            };
            if is_over {
                return Err(self.error(self.followed(last).await));
            }
            tokio::select! {
                () = listener.changed(), if again == LOOK_EVERY => {}
                // When the time is over one more look tells where the job is now.
                () = clock.sleep_until((clock.now() + again).min(deadline)) => is_over = clock.now() >= deadline,
            }
        }
    }

    /// One look: the result of an ended job, or where it is while it is live.
    async fn look(&self) -> Result<Result<Out, Live>, WaitError> {
        let job = match self.client.storage().get(self.id).await {
            Ok(Lookup::Found(job)) => job,
            Ok(Lookup::Gone) => return Err(self.error(WaitErrorKind::Gone)),
            Ok(Lookup::Unknown) => return Err(self.error(WaitErrorKind::Unknown)),
            Err(error) => return Err(self.error(WaitErrorKind::Storage(error))),
        };
        Err(self.error(match job.state {
            State::Completed => {
                let bytes = self.returned(&job, usize::MAX).await?;
                let output = codec::decode(&bytes).map_err(|why| self.error(WaitErrorKind::Undecodable(why)));
                return Ok(Ok(output?));
            }
            State::Dead => WaitErrorKind::Dead(job.reason, job.failure),
            State::Cancelled => {
                let culprit = self.culprit(job.culprit).await;
                WaitErrorKind::Cancelled(job.reason, culprit, job.failure)
            }
            State::Expired => WaitErrorKind::Expired(job.reason),
            _ => return Ok(Err(Live::of(*job))),
        }))
    }

    /// What the completed job returned; of a gather, what those returned that it waited for, if that is no more than so many
    /// bytes.
    async fn returned(&self, job: &Job, limit: usize) -> Result<Bytes, WaitError> {
        if !matches!(job.node, Node::Gather { .. }) {
            return Ok(job.result.clone().unwrap_or_else(|| Bytes::from_static(codec::NIL)));
        }
        let gathered = Gatherer::new(&**self.client.storage(), limit).gathered(self.id).await;
        gathered.map_err(|trouble| match trouble {
            Trouble::Storage(error) => self.error(WaitErrorKind::Storage(error)),
            trouble => self.error(WaitErrorKind::NotGathered(trouble.to_string())),
        })
    }

    /// What holds it up, where it waits for others when the time is over.
    async fn followed(&self, mut kind: WaitErrorKind) -> WaitErrorKind {
        if let WaitErrorKind::TimedOut(_, Some(live)) = &mut kind
            && live.state == State::Waiting
        {
            let clock = self.client.clock();
            tokio::select! {
                explained = self.client.explain(self.id) => live.cause = explained.ok().and_then(|told| told.cause),
                () = clock.sleep_until(clock.now() + LOOK_TAKES) => {}
            }
        }
        kind
    }

    /// The job whose end cancelled this one, as far as it is still known.
    async fn culprit(&self, id: Option<JobId>) -> Option<Culprit> {
        let id = id?;
        let job = self.client.storage().get(id).await.ok().and_then(Lookup::found);
        Some(Culprit { id, end: job.map(|job| Box::new(Ending::of(&job))) })
    }

    fn error(&self, kind: WaitErrorKind) -> WaitError {
        WaitError::new(self.id, kind)
    }
}

impl<Out> Clone for JobHandle<Out> {
    fn clone(&self) -> Self {
        Self { existing: self.existing, ..Self::new(self.client.clone(), self.id) }
    }
}

impl<Out> fmt::Debug for JobHandle<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobHandle({} in {})", self.id, self.client.location())
    }
}
