//! A handle to a stored job.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use queue_storage::model::{EndReason, Failure, Job, JobId, Parked, State};
use queue_storage::storage::{Lookup, StorageError, Topic};

use crate::client::Client;
use crate::codec;
use crate::task::TaskOutput;

/// How often a waiting handle looks although nothing told it to: hints may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long it waits before it looks again after the storage could not be asked.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A job that was enqueued, whose task returns `Out`: its id, its state, its result.
///
/// Cloning it is cheap, and it is not needed to keep the job: [`Client::handle`] makes another from the id.
pub struct JobHandle<Out> {
    id: JobId,
    client: Client,
    output: PhantomData<fn() -> Out>,
}

impl<Out> JobHandle<Out> {
    pub(crate) fn new(client: Client, id: JobId) -> Self {
        Self { id, client, output: PhantomData }
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
            Lookup::Found(job) => JobStatus::Known(JobFacts::of(&job)),
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
        match self.client.storage().get(self.id).await {
            Ok(Lookup::Found(job)) => self.ended(&job).transpose(),
            Ok(Lookup::Gone) => Err(self.error(WaitErrorKind::Gone)),
            Ok(Lookup::Unknown) => Err(self.error(WaitErrorKind::Unknown)),
            Err(error) => Err(self.error(WaitErrorKind::Storage(error))),
        }
    }

    /// Waits until the job has ended, at most `timeout`, and returns what it returned. Reading does not delete it.
    ///
    /// While the storage can't be asked it goes on trying until the timeout.
    ///
    /// # Errors
    /// The timeout passed first (the job goes on); the job is dead, cancelled or expired; it ended and was pruned; what
    /// it returned is not an `Out`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait; the job goes on.
    pub async fn wait(&self, timeout: Duration) -> Result<Out, WaitError> {
        let clock = self.client.clock();
        let deadline = clock.now() + timeout;
        // Interest is registered before the first look, so that no end falls between look and listening.
        let listener = self.client.storage().listen(Topic::Job(self.id));
        loop {
            let (again, unavailable) = match self.result().await {
                Ok(Some(output)) => return Ok(output),
                Ok(None) => (LOOK_EVERY, None),
                Err(error) => match error.kind {
                    WaitErrorKind::Storage(storage) if storage.is_unavailable() => (RETRY_AFTER, Some(storage)),
                    kind => return Err(self.error(kind)),
                },
            };
            tokio::select! {
                () = listener.changed(), if unavailable.is_none() => {}
                () = clock.sleep_until((clock.now() + again).min(deadline)) => {
                    if clock.now() >= deadline {
                        return Err(self.error(unavailable.map_or(WaitErrorKind::TimedOut(timeout), WaitErrorKind::Storage)));
                    }
                }
            }
        }
    }

    /// The result of an ended job, or why it has none; `None` while it is live.
    fn ended(&self, job: &Job) -> Option<Result<Out, WaitError>> {
        let kind = match job.state {
            State::Completed => {
                let bytes = job.result.as_deref().unwrap_or(codec::NIL);
                return Some(codec::decode(bytes).map_err(|why| self.error(WaitErrorKind::Undecodable(why))));
            }
            State::Dead => WaitErrorKind::Dead(job.reason.clone(), job.failure.clone()),
            State::Cancelled => WaitErrorKind::Cancelled(job.culprit),
            State::Expired => WaitErrorKind::Expired,
            _ => return None,
        };
        Some(Err(self.error(kind)))
    }

    fn error(&self, kind: WaitErrorKind) -> WaitError {
        WaitError { id: self.id, kind }
    }
}

impl<Out> Clone for JobHandle<Out> {
    fn clone(&self) -> Self {
        Self::new(self.client.clone(), self.id)
    }
}

impl<Out> fmt::Debug for JobHandle<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobHandle({} in {})", self.id, self.client.location())
    }
}

/// What a storage knows of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobStatus {
    /// It is stored.
    Known(JobFacts),
    /// It is not stored any more: it ended, and the time it is kept has passed.
    Gone,
    /// It was never stored.
    Unknown,
}

impl JobStatus {
    /// The state of a job that is stored.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.facts().map(|facts| facts.state)
    }

    /// The facts of a job that is stored.
    #[must_use]
    pub fn facts(&self) -> Option<&JobFacts> {
        match self {
            Self::Known(facts) => Some(facts),
            Self::Gone | Self::Unknown => None,
        }
    }
}

/// A stored job, seen from outside.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobFacts {
    /// Where it is in its life.
    pub state: State,
    /// The name of its task.
    pub task: String,
    /// The name of its queue.
    pub queue: String,
    /// Runs that its task answered.
    pub attempts: u32,
    /// Times its worker vanished.
    pub crashes: u32,
    /// Why it does not run although it is ready.
    pub parked: Option<Parked>,
    /// When it was enqueued.
    pub enqueued_at: SystemTime,
    /// When it is or was due, if it was to start later.
    pub due_at: Option<SystemTime>,
    /// When its latest run started.
    pub started_at: Option<SystemTime>,
    /// When it ended.
    pub ended_at: Option<SystemTime>,
    /// Why it ended, unless it completed.
    pub reason: Option<EndReason>,
    /// What went wrong last.
    pub failure: Option<Failure>,
}

impl JobFacts {
    fn of(job: &Job) -> Self {
        Self {
            state: job.state,
            task: job.task.to_string(),
            queue: job.shard.queue.to_string(),
            attempts: job.attempts,
            crashes: job.crashes,
            parked: job.parked.clone(),
            enqueued_at: job.enqueued_at.into(),
            due_at: job.due_at.map(Into::into),
            started_at: job.started_at.map(Into::into),
            ended_at: job.ended_at.map(Into::into),
            reason: job.reason.clone(),
            failure: job.failure.clone(),
        }
    }
}

/// Why there is no result.
#[derive(Debug)]
pub struct WaitError {
    id: JobId,
    kind: WaitErrorKind,
}

#[derive(Debug)]
enum WaitErrorKind {
    TimedOut(Duration),
    Dead(Option<EndReason>, Option<Failure>),
    Cancelled(Option<JobId>),
    Expired,
    Gone,
    Unknown,
    Undecodable(String),
    Storage(StorageError),
}

impl WaitError {
    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Whether the timeout passed before the job ended; it goes on.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, WaitErrorKind::TimedOut(_))
    }

    /// Whether the job failed for good.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.kind, WaitErrorKind::Dead(..))
    }

    /// Whether the job was called off.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, WaitErrorKind::Cancelled(_))
    }

    /// Whether the job ended and was pruned, or was never stored.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.kind, WaitErrorKind::Gone | WaitErrorKind::Unknown)
    }

    /// Whether the storage could not be asked.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, WaitErrorKind::Storage(_))
    }

    /// What went wrong in the job's last run.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.kind {
            WaitErrorKind::Dead(_, failure) => failure.as_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match &self.kind {
            WaitErrorKind::TimedOut(after) => write!(f, "job {id} has not ended within {after:?}; it goes on"),
            WaitErrorKind::Dead(reason, failure) => {
                write!(f, "job {id} is dead")?;
                if let Some(reason) = reason {
                    write!(f, " ({reason})")?;
                }
                match failure {
                    Some(failure) => write!(f, ": {failure}"),
                    None => Ok(()),
                }
            }
            WaitErrorKind::Cancelled(Some(culprit)) => {
                write!(f, "job {id} was cancelled: job {culprit}, which it waited for, did not complete")
            }
            WaitErrorKind::Cancelled(None) => write!(f, "job {id} was cancelled"),
            WaitErrorKind::Expired => write!(f, "job {id} was not started in time and has expired"),
            WaitErrorKind::Gone => write!(f, "job {id} ended, and the time it is kept has passed"),
            WaitErrorKind::Unknown => write!(f, "job {id} was never stored"),
            WaitErrorKind::Undecodable(why) => {
                write!(f, "job {id} completed, but its result is not of the type asked for: {why}")
            }
            WaitErrorKind::Storage(error) => write!(f, "can't ask for job {id}: {error}"),
        }
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            WaitErrorKind::Storage(error) => error.source(),
            _ => None,
        }
    }
}
