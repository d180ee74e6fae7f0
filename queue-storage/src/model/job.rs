//! The stored job, and what is handed in and out of a storage about it.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::id::{Fence, JobId, Shard, TaskName, WorkerId};
use super::state::State;
use super::time::{Timestamp, When};

/// A job on its way into a storage.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewJob {
    /// Its identity, made with the call; its [home tag](JobId::home_tag) is that of the shard it is sent to.
    pub id: JobId,
    /// The task that is to run.
    pub task: TaskName,
    /// Higher runs first. Default 0.
    pub priority: i32,
    /// When it may start; for a job that waits for others, counted from the moment it is reached.
    pub when: When,
    /// Jobs of the same shard whose results it takes, in order. It starts in [`State::Waiting`] unless this is empty.
    /// Each must be stored already or come earlier in the same call.
    pub waits_for: Vec<JobId>,
    /// Whether a lost lease ends it ([`EndReason::Interrupted`]) instead of running it again.
    pub at_most_once: bool,
    /// The [`Envelope`](super::Envelope), encoded; opaque to storages.
    pub envelope: Bytes,
}

impl NewJob {
    /// A job of priority 0 that is to run at once.
    #[must_use]
    pub fn new(id: JobId, task: TaskName, envelope: Bytes) -> Self {
        Self { id, task, priority: 0, when: When::Now, waits_for: Vec::new(), at_most_once: false, envelope }
    }
}

/// A stored job.
///
/// Which fields are set follows from the state: a lease while running, a due time while scheduled or retrying, an end
/// with its moment and reason after it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Job {
    /// Its identity.
    pub id: JobId,
    /// Where it lives.
    pub shard: Shard,
    /// The task that is to run.
    pub task: TaskName,
    /// Higher runs first.
    pub priority: i32,
    /// Where it is in its life.
    pub state: State,
    /// Its place among ready jobs of the same priority, lower first. Given when it becomes ready and kept when it is
    /// released, reclaimed or parked; new when it is promoted. `None` before it was ever ready.
    pub sequence: Option<u64>,
    /// Why it is kept from running although it is ready.
    pub parked: Option<Parked>,
    /// Runs that its task answered: successes and failures, but no release, snooze or crash.
    pub attempts: u32,
    /// Leases that ended without an answer after the job had been delivered.
    pub crashes: u32,
    /// Leases that ended before the worker had confirmed the delivery; counted against nothing.
    pub lapses: u32,
    /// Whether a lost lease ends it.
    pub at_most_once: bool,
    /// When it was asked to start; what a waiting job's time is counted from once it is reached.
    pub when: When,
    /// When the storage took it in.
    pub enqueued_at: Timestamp,
    /// When a scheduled or retrying job is due; the moment it was due, once it is ready or later.
    pub due_at: Option<Timestamp>,
    /// When its latest run was claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Until when the ended job is kept.
    pub keep_until: Option<Timestamp>,
    /// The claim of the worker that runs it.
    pub lease: Option<Lease>,
    /// Why it ended, unless it completed.
    pub reason: Option<EndReason>,
    /// What went wrong last.
    pub failure: Option<Failure>,
    /// What its task returned; `None` before the end and for tasks that return nothing.
    pub result: Option<Bytes>,
    /// Jobs whose results it takes, in order.
    pub waits_for: Vec<JobId>,
    /// The encoded envelope.
    pub envelope: Bytes,
}

impl Job {
    /// The job as a storage takes it in at `now`, before it has a sequence.
    ///
    /// The one place that says where a life begins: waiting for other jobs, else scheduled when its time is to come,
    /// else ready.
    #[must_use]
    pub fn admitted(new: NewJob, shard: Shard, now: Timestamp) -> Self {
        let due = new.when.resolve(now);
        let (state, due_at) = match new.when {
            _ if !new.waits_for.is_empty() => (State::Waiting, None),
            When::Now => (State::Ready, None),
            _ if due > now => (State::Scheduled, Some(due)),
            _ => (State::Ready, Some(due)),
        };
        Self {
            id: new.id,
            shard,
            task: new.task,
            priority: new.priority,
            state,
            sequence: None,
            parked: None,
            attempts: 0,
            crashes: 0,
            lapses: 0,
            at_most_once: new.at_most_once,
            when: new.when,
            enqueued_at: now,
            due_at,
            started_at: None,
            ended_at: None,
            keep_until: None,
            lease: None,
            reason: None,
            failure: None,
            result: None,
            waits_for: new.waits_for,
            envelope: new.envelope,
        }
    }

    /// Whether a worker that ran it has vanished: such a job runs one at a time in a process, and its delivery is
    /// confirmed before it starts, so that a job that kills its worker takes no other job with it twice.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.crashes > 0 || self.lapses > 0
    }
}

/// A worker's time-limited claim on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The worker that holds it.
    pub worker: WorkerId,
    /// Its number.
    pub fence: Fence,
    /// When it ends, by the storage's clock.
    pub until: Timestamp,
}

/// A job as a worker receives it: running, with its lease and the results it waited for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claimed {
    /// The job, in [`State::Running`] with its [`lease`](Job::lease) set.
    pub job: Job,
    /// The number of the lease: what every later write about this run must show.
    pub fence: Fence,
    /// The results of [`Job::waits_for`], in its order; `None` for a task that returned nothing.
    pub inputs: Vec<Option<Bytes>>,
}

impl Claimed {
    /// A claimed job.
    #[must_use]
    pub fn new(job: Job, fence: Fence, inputs: Vec<Option<Bytes>>) -> Self {
        Self { job, fence, inputs }
    }
}

/// Why a ready job is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Parked {
    /// No worker that looked at it has its task registered.
    UnknownTask,
}

impl Parked {
    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTask => "unknown_task",
        }
    }
}

impl FromStr for Parked {
    type Err = ReasonError;
    fn from_str(text: &str) -> Result<Self, ReasonError> {
        match text {
            "unknown_task" => Ok(Self::UnknownTask),
            other => Err(ReasonError(other.to_owned())),
        }
    }
}

/// Why a job ended without completing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// Its last retry failed.
    Exhausted,
    /// Its task said that another run can't help.
    Fatal,
    /// Its envelope or arguments could not be decoded.
    Undecodable,
    /// Its task succeeded with a result that could not be encoded or is too large.
    Unstorable,
    /// It lost more leases than the crash limit allows.
    Crashed,
    /// It lost its lease and runs at most once.
    Interrupted,
    /// A job it waited for ended without completing.
    Dependency(JobId),
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted => f.write_str("exhausted"),
            Self::Fatal => f.write_str("fatal"),
            Self::Undecodable => f.write_str("undecodable"),
            Self::Unstorable => f.write_str("unstorable"),
            Self::Crashed => f.write_str("crashed"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Dependency(job) => write!(f, "dependency:{job}"),
        }
    }
}

/// A stored text that names no reason: written by a newer version, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a reason this version knows")]
pub struct ReasonError(String);

impl FromStr for EndReason {
    type Err = ReasonError;
    fn from_str(text: &str) -> Result<Self, ReasonError> {
        let unknown = || ReasonError(text.to_owned());
        Ok(match text {
            "exhausted" => Self::Exhausted,
            "fatal" => Self::Fatal,
            "undecodable" => Self::Undecodable,
            "unstorable" => Self::Unstorable,
            "crashed" => Self::Crashed,
            "interrupted" => Self::Interrupted,
            other => {
                let id = other.strip_prefix("dependency:").ok_or_else(unknown)?;
                Self::Dependency(id.parse().map_err(|_| unknown())?)
            }
        })
    }
}

/// What went wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of failure it was.
    pub kind: FailureKind,
    /// The error with its sources, outermost first, joined by `: `; at most [`MAX_MESSAGE`](Self::MAX_MESSAGE) bytes.
    pub message: String,
    /// The Rust type of the error, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
}

impl Failure {
    /// The longest message kept, in bytes.
    pub const MAX_MESSAGE: usize = 8 * 1024;

    /// A failure without an error type; a message that is too long is cut at a character.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > Self::MAX_MESSAGE {
            let fits = (0..=Self::MAX_MESSAGE - '…'.len_utf8()).rev().find(|&at| message.is_char_boundary(at));
            message.truncate(fits.unwrap_or(0));
            message.push('…');
        }
        Self { kind, message, error_type: None }
    }

    /// The same, with the Rust type of the error.
    #[must_use]
    pub fn of_type(mut self, error_type: impl Into<String>) -> Self {
        self.error_type = Some(error_type.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FailureKind::Error => f.write_str(&self.message),
            FailureKind::Panic => write!(f, "panicked: {}", self.message),
            _ => write!(f, "{}: {}", self.kind.as_str(), self.message),
        }
    }
}

/// The sorts of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The task returned an error.
    Error,
    /// The task panicked.
    Panic,
    /// The attempt took longer than its timeout.
    Timeout,
    /// The envelope or the arguments could not be decoded.
    Decode,
    /// The result could not be encoded or is too large.
    Encode,
    /// The worker vanished.
    Crash,
}

impl FailureKind {
    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Decode => "decode",
            Self::Encode => "encode",
            Self::Crash => "crash",
        }
    }
}

impl FromStr for FailureKind {
    type Err = ReasonError;
    fn from_str(text: &str) -> Result<Self, ReasonError> {
        [Self::Error, Self::Panic, Self::Timeout, Self::Decode, Self::Encode, Self::Crash]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| ReasonError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_begins_where_its_time_says() {
        let shard = Shard::of("q".parse().unwrap());
        let now = Timestamp::from_micros(1_000);
        let start = |when, waits_for| {
            let mut new = NewJob::new(JobId::new(&shard), "t".parse().unwrap(), Bytes::new());
            (new.when, new.waits_for) = (when, waits_for);
            let job = Job::admitted(new, shard.clone(), now);
            (job.state, job.due_at)
        };
        let later = now + std::time::Duration::from_micros(1);
        assert_eq!(start(When::Now, vec![]), (State::Ready, None));
        assert_eq!(start(When::At(later), vec![]), (State::Scheduled, Some(later)));
        assert_eq!(start(When::At(now), vec![]), (State::Ready, Some(now)));
        assert_eq!(start(When::At(later), vec![JobId::new(&shard)]), (State::Waiting, None));
    }

    #[test]
    fn reasons_survive_text() {
        let job = JobId::new(&Shard::of("q".parse().unwrap()));
        for reason in [EndReason::Exhausted, EndReason::Unstorable, EndReason::Dependency(job)] {
            assert_eq!(reason.to_string().parse::<EndReason>().unwrap(), reason);
        }
        assert!("dependency:x".parse::<EndReason>().is_err());
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let failure = Failure::new(FailureKind::Error, "é".repeat(Failure::MAX_MESSAGE));
        assert!(failure.message.len() <= Failure::MAX_MESSAGE && failure.message.ends_with('…'));
    }
}
