//! Why there is no result.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use queue_storage::model::{EndReason, Ending, Failure, Job, JobId, Parked, State, TaskName};
use queue_storage::storage::StorageError;

use crate::explain::Explanation;
use crate::facts::words::in_words;
use crate::gather::HOLD;
use crate::operate::ActError;

/// How many characters of each end of a text about a result of another type are shown.
const SHOWN: usize = 100;

/// Why there is no result.
pub struct WaitError {
    id: JobId,
    pub(super) kind: Box<WaitErrorKind>,
}

#[derive(Debug)]
pub(super) enum WaitErrorKind {
    TimedOut(Duration, Option<Live>),
    Dead(Option<EndReason>, Option<Failure>),
    Cancelled(Option<EndReason>, Option<Culprit>, Option<Failure>),
    Expired(Option<EndReason>),
    Gone,
    Unknown,
    Undecodable(String),
    NotGathered(String),
    Taking(ActError),
    Storage(StorageError),
}

/// Where a live job is.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) state: State,
    parked: Option<Parked>,
    task: TaskName,
    /// What holds up those that it waits for.
    pub(super) cause: Option<Box<Explanation>>,
}

impl Live {
    pub(super) fn of(job: Job) -> Self {
        Self { state: job.state, parked: job.parked, task: job.task, cause: None }
    }
}

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = &self.task;
        match (self.state, &self.parked) {
            (_, Some(Parked::UnknownTask)) => {
                write!(
                    f,
                    "it is parked, because the workers there do not know task `{task}`: add it to `.tasks(tasks![…])`"
                )
            }
            (_, Some(Parked::Outbox)) => f.write_str("what it hands on is on its way to another queue"),
            (_, Some(reason)) => write!(f, "it is parked ({reason}): `client.explain(id)` tells for what"),
            (State::Ready, None) => {
                f.write_str("it is ready, and no worker has taken it yet: `client.explain(id)` tells why")
            }
            (State::Running, None) => f.write_str("it runs and goes on"),
            (state, None) => match &self.cause {
                Some(cause) => write!(f, "it is {state}: {cause}"),
                None => write!(f, "it is {state} and goes on"),
            },
        }
    }
}

/// The job whose end cancelled another, and that end, if it is still stored.
#[derive(Debug)]
pub(super) struct Culprit {
    pub(super) id: JobId,
    pub(super) end: Option<Box<Ending>>,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(end) = &self.end else {
            return write!(f, "job {}, which it waited for, did not complete", self.id);
        };
        if let (HOLD, Some(failure)) = (end.task.as_str(), &end.failure) {
            return write!(f, "what it waited for in another queue did not arrive: {failure}");
        }
        write!(f, "job {} of task `{}`, which it waited for, ", self.id, end.task)?;
        match end.state {
            State::Cancelled | State::Expired => {
                f.write_str(if end.state == State::Expired { "has expired" } else { "was cancelled" })?;
                said(f, end.reason.as_ref(), end.failure.as_ref())
            }
            _ => {
                f.write_str("did not complete")?;
                end.failure.as_ref().map_or(Ok(()), |failure| write!(f, ": {failure}"))
            }
        }
    }
}

impl WaitError {
    pub(crate) fn storage(id: JobId, error: StorageError) -> Self {
        Self::new(id, WaitErrorKind::Storage(error))
    }

    pub(super) fn new(id: JobId, kind: WaitErrorKind) -> Self {
        Self { id, kind: Box::new(kind) }
    }

    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Whether the timeout passed before the job ended; it goes on.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(*self.kind, WaitErrorKind::TimedOut(..))
    }

    /// Whether the job failed for good.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(*self.kind, WaitErrorKind::Dead(..))
    }

    /// Whether the job was called off.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.kind, WaitErrorKind::Cancelled(..))
    }

    /// Whether the job's time had passed.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(*self.kind, WaitErrorKind::Expired(_))
    }

    /// Why the job ended without completing, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<&EndReason> {
        match &*self.kind {
            WaitErrorKind::Dead(reason, _) | WaitErrorKind::Cancelled(reason, ..) | WaitErrorKind::Expired(reason) => {
                reason.as_ref()
            }
            _ => None,
        }
    }

    /// The job whose end cancelled this one.
    #[must_use]
    pub fn culprit(&self) -> Option<JobId> {
        match &*self.kind {
            WaitErrorKind::Cancelled(_, culprit, _) => culprit.as_ref().map(|culprit| culprit.id),
            _ => None,
        }
    }

    /// Whether the job ended and was pruned, or was never stored.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(*self.kind, WaitErrorKind::Gone | WaitErrorKind::Unknown)
    }

    /// Whether the storage could not be asked.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match &*self.kind {
            WaitErrorKind::Storage(_) => true,
            WaitErrorKind::Taking(error) => error.is_unavailable(),
            _ => false,
        }
    }

    /// What went wrong in the job's last run.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &*self.kind {
            WaitErrorKind::Dead(_, failure) | WaitErrorKind::Cancelled(_, _, failure) => failure.as_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match &*self.kind {
            WaitErrorKind::TimedOut(after, None) => write!(f, "job {id} has not ended within {after:?}"),
            WaitErrorKind::TimedOut(after, Some(live)) => write!(f, "job {id} has not ended within {after:?}; {live}"),
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
            WaitErrorKind::Cancelled(_, Some(culprit), _) => write!(f, "job {id} was cancelled: {culprit}"),
            WaitErrorKind::Cancelled(reason, None, failure) => {
                write!(f, "job {id} was cancelled")?;
                said(f, reason.as_ref(), failure.as_ref())
            }
            WaitErrorKind::Expired(reason) => {
                write!(f, "job {id} has expired")?;
                said(f, reason.as_ref(), None)
            }
            WaitErrorKind::Gone => write!(f, "job {id} ended, and the time it is kept has passed"),
            WaitErrorKind::Unknown => write!(f, "job {id} was never stored"),
            WaitErrorKind::Undecodable(why) => {
                write!(f, "job {id} completed, but its result is not of the type asked for: {}", shortened(why))
            }
            WaitErrorKind::NotGathered(why) => {
                write!(f, "job {id} completed, but what it gathers can't be put together: {why}")
            }
            WaitErrorKind::Taking(error) => write!(f, "job {id} completed, but its result can't be taken: {error}"),
            WaitErrorKind::Storage(error) => write!(f, "can't ask for job {id}: {error}"),
        }
    }
}

/// What says why bytes are no `Out` may quote them, however many they are: its beginning and its end.
fn shortened(why: &str) -> Cow<'_, str> {
    let count = why.chars().count();
    if count <= 2 * SHOWN {
        return why.into();
    }
    let (head, tail): (String, String) = (why.chars().take(SHOWN).collect(), why.chars().skip(count - SHOWN).collect());
    format!("{head} … {tail}").into()
}

fn said(f: &mut fmt::Formatter<'_>, reason: Option<&EndReason>, failure: Option<&Failure>) -> fmt::Result {
    if let Some(reason) = reason {
        write!(f, ": {}", in_words(reason))?;
    }
    failure.map_or(Ok(()), |failure| write!(f, ": {failure}"))
}

impl fmt::Debug for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        queue_storage::debug_as_text("WaitError", self, f)
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.kind {
            WaitErrorKind::Storage(error) => error.source(),
            WaitErrorKind::Taking(error) => error.source(),
            _ => None,
        }
    }
}
