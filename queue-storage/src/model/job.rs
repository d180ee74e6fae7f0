//! The stored job, and what is handed in and out of a storage about it.

use std::fmt;

use super::attempt::{Attempt, AttemptEnd, Progress};
use super::flow::{Input, Node, Trigger};
use super::id::{Fence, JobId, Key, Shard, Tag, TaskName, WorkerId};
use super::limit::{Limit, Unique};
use super::state::State;
use super::time::{Timestamp, When};
use super::words::open_words;
use bytes::Bytes;

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
    /// What it waits for in them.
    pub trigger: Trigger,
    /// What it is in its flow; a [hold](Node::Hold) starts in [`State::Waiting`] too, though it waits for no job.
    pub node: Node,
    /// By when its first run must have started: a moment, or counted from when it is due. It is expired
    /// ([`EndReason::Overdue`]) when it has not. Retries do not move it.
    pub expires: Option<When>,
    /// By when it must have ended: a moment, or counted from when it is due. Past it no run starts any more, and a job
    /// that does not run is expired ([`EndReason::Deadline`]); what a run does at it is the engine's affair.
    pub deadline: Option<When>,
    /// Labels to find it by; at most [`MAX_TAGS`], each once.
    pub tags: Vec<Tag>,
    /// Whether it is the only one of its key, and for how long.
    pub unique: Option<Unique>,
    /// What must have room before it runs, in the order in which it is asked; at most [`MAX_LIMITS`](super::MAX_LIMITS),
    /// no kind and key twice.
    pub limits: Vec<Limit>,
    /// Whether a lost lease ends it ([`EndReason::Interrupted`]) instead of running it again.
    pub at_most_once: bool,
    /// What a worker must [understand](crate::storage::WorkerRecord::understands) to run it: 1 today. A program that
    /// writes an envelope older workers can't open, or sets a lock they would not free, writes a higher level, and they
    /// leave the job alone.
    pub needs: u16,
    /// The [`Envelope`](super::Envelope), encoded; opaque to storages.
    pub envelope: Bytes,
}

/// The most tags of a job.
pub const MAX_TAGS: usize = 8;

/// The level of this program: the highest [`NewJob::needs`] that its workers understand.
pub const LEVEL: u16 = 1;

impl NewJob {
    /// A job of priority 0 that is to run at once.
    #[must_use]
    pub fn new(id: JobId, task: TaskName, envelope: Bytes) -> Self {
        Self {
            id,
            task,
            priority: 0,
            when: When::Now,
            waits_for: Vec::new(),
            trigger: Trigger::Completed,
            node: Node::Task,
            expires: None,
            deadline: None,
            tags: Vec::new(),
            unique: None,
            limits: Vec::new(),
            at_most_once: false,
            needs: LEVEL,
            envelope,
        }
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
    /// Since when.
    pub parked_at: Option<Timestamp>,
    /// The key whose slots are taken or whose rate is used up, where it is parked for that.
    pub parked_for: Option<Key>,
    /// When that rate next admits a start, by what is known now; others may be first.
    pub opens_at: Option<Timestamp>,
    /// Runs that its task answered: successes and failures, but no release, snooze or crash.
    pub attempts: u32,
    /// Leases that ended without an answer after the job had been delivered.
    pub crashes: u32,
    /// Leases that ended before the worker had confirmed the delivery; the job can't have been at fault.
    pub lapses: u32,
    /// Whether the worker of its last run vanished: set by a crash, cleared by any settlement but a release. A process
    /// runs one suspect at a time, so that a job that kills its worker takes no other suspect with it.
    pub suspect: bool,
    /// Whether a lost lease ends it.
    pub at_most_once: bool,
    /// What a worker must understand to run it.
    pub needs: u16,
    /// When it was asked to start; what a waiting job's time is counted from once it is reached.
    pub when: When,
    /// When the storage took it in.
    pub enqueued_at: Timestamp,
    /// When a scheduled or retrying job is due; the moment it was due, once it is ready or later.
    pub due_at: Option<Timestamp>,
    /// When the first of its runs was claimed since it was taken in, or run again.
    pub first_started_at: Option<Timestamp>,
    /// When its latest run was claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Until when the ended job is kept.
    pub keep_until: Option<Timestamp>,
    /// As [`NewJob::expires`] and [`NewJob::deadline`] asked; `None` after a revival.
    pub expires: Option<When>,
    /// See [`expires`](Self::expires).
    pub deadline: Option<When>,
    /// The moment by which its first run must have started; `None` without one, and while a waiting job's is not known.
    pub expires_at: Option<Timestamp>,
    /// The moment by which it must have ended; likewise.
    pub deadline_at: Option<Timestamp>,
    /// Labels to find it by.
    pub tags: Vec<Tag>,
    /// What makes it the only one of its key; `None` after a revival.
    pub unique: Option<Unique>,
    /// What must have room before it runs.
    pub limits: Vec<Limit>,
    /// The claim of the worker that runs it.
    pub lease: Option<Lease>,
    /// Whether it runs and was asked to stop.
    pub cancel_requested: bool,
    /// Who runs it, or ran it when it ended; `None` while it does not run, and after an end that was no run's.
    pub worker: Option<WorkerId>,
    /// Why it ended, unless it completed.
    pub reason: Option<EndReason>,
    /// The job that did not complete, so that this one was cancelled; where several were cancelled one after the other,
    /// the first of them all, which did not end for another.
    pub culprit: Option<JobId>,
    /// What went wrong last.
    pub failure: Option<Failure>,
    /// How far its latest run got, by its own word; `None` again when a run starts.
    pub progress: Option<Progress>,
    /// Runs before the one that it is in or ended with, oldest first: the last
    /// [`keep_attempts`](crate::storage::LeaseTerms::keep_attempts). [`attempts_made`](Self::attempts_made) has that one too.
    pub history: Vec<Attempt>,
    /// What its task returned; `None` before the end and for tasks that return nothing.
    pub result: Option<Bytes>,
    /// Jobs whose results it takes, in order.
    pub waits_for: Vec<JobId>,
    /// What it waits for in them.
    pub trigger: Trigger,
    /// What it is in its flow.
    pub node: Node,
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
        let starts = new.waits_for.is_empty() && new.node.is_task();
        let (state, due_at) = if starts { new.when.start(now) } else { (State::Waiting, None) };
        let mut job = Self {
            id: new.id,
            shard,
            task: new.task,
            priority: new.priority,
            state,
            sequence: None,
            parked: None,
            parked_at: None,
            parked_for: None,
            opens_at: None,
            attempts: 0,
            crashes: 0,
            lapses: 0,
            suspect: false,
            at_most_once: new.at_most_once,
            needs: new.needs,
            when: new.when,
            enqueued_at: now,
            due_at,
            first_started_at: None,
            started_at: None,
            ended_at: None,
            keep_until: None,
            expires: new.expires,
            deadline: new.deadline,
            expires_at: None,
            deadline_at: None,
            tags: new.tags,
            unique: new.unique,
            limits: new.limits,
            lease: None,
            cancel_requested: false,
            worker: None,
            reason: None,
            culprit: None,
            failure: None,
            progress: None,
            history: Vec::new(),
            result: None,
            waits_for: new.waits_for,
            trigger: new.trigger,
            node: new.node,
            envelope: new.envelope,
        };
        job.set_limits(now);
        job
    }

    /// Sets the moments of [`expires`](Self::expires) and [`deadline`](Self::deadline): counted from when the job is due,
    /// else from `now`; those of a waiting job that are to be counted are not known yet, unless it is a hold.
    pub fn set_limits(&mut self, now: Timestamp) {
        let from = self.due_at.unwrap_or(now);
        let waits = self.state == State::Waiting && self.node != Node::Hold;
        let moment = |when: Option<When>| match when? {
            When::At(at) => Some(at),
            _ if waits => None,
            When::In(delay) => Some(from + delay),
            When::Now => Some(from),
        };
        (self.expires_at, self.deadline_at) = (moment(self.expires), moment(self.deadline));
    }

    /// Since when it could run, if it is ready or was claimed: since it was taken in, or since it was due.
    #[must_use]
    pub fn ready_since(&self) -> Timestamp {
        self.due_at.map_or(self.enqueued_at, |due| due.max(self.enqueued_at))
    }

    /// The moment past which the job, as it does not run now, is expired, and the reason it then has.
    #[must_use]
    pub fn overdue_at(&self) -> Option<(Timestamp, EndReason)> {
        if self.state.is_end() || self.state == State::Running {
            return None;
        }
        let start = self.expires_at.filter(|_| self.first_started_at.is_none());
        match (start, self.deadline_at) {
            (Some(start), deadline) if deadline.is_none_or(|deadline| start <= deadline) => {
                Some((start, EndReason::Overdue))
            }
            (_, deadline) => deadline.map(|deadline| (deadline, EndReason::Deadline)),
        }
    }

    /// Whether this is its unique key or that of a limit.
    #[must_use]
    pub fn has_key(&self, key: &Key) -> bool {
        self.unique.as_ref().is_some_and(|unique| unique.key == *key) || self.limits.iter().any(|one| one.key() == key)
    }

    /// Every run that is remembered, oldest first: [`history`](Self::history), and the run that the job ended with.
    #[must_use]
    pub fn attempts_made(&self) -> Vec<Attempt> {
        let mut attempts = self.history.clone();
        let last = self.worker.zip(self.started_at).zip(self.ended_at);
        attempts.extend(last.map(|((worker, started_at), ended_at)| Attempt {
            worker,
            started_at,
            ended_at,
            end: match self.state {
                State::Completed => AttemptEnd::Completed,
                State::Cancelled => AttemptEnd::Cancelled,
                _ => match self.reason {
                    Some(EndReason::Crashed | EndReason::Interrupted) => AttemptEnd::Crashed,
                    _ => AttemptEnd::Failed,
                },
            },
            failure: self.failure.clone().filter(|_| self.state != State::Completed),
        }));
        attempts
    }

    /// Whether the ended job still needs what it waited for: until it is removed, so that it can run, or wait, again, or be
    /// read. One that completed without being a gather, or was not needed, does not.
    #[must_use]
    pub fn keeps_inputs(&self) -> bool {
        match self.state {
            State::Completed => matches!(self.node, Node::Gather { .. }),
            State::Dead | State::Expired => true,
            State::Cancelled => self.reason != Some(EndReason::NotNeeded),
            _ => false,
        }
    }

    /// Whether the ended job can be let to [wait again](crate::storage::Act::Rearm), as far as it says itself: one that
    /// waited for others and did not complete, a hold that was cancelled, a completed relay.
    #[must_use]
    pub fn may_wait_again(&self) -> bool {
        let waited = !self.waits_for.is_empty() || !self.node.is_task();
        match self.state {
            State::Completed => matches!(self.node, Node::Relay { .. }),
            State::Expired => waited && self.node != Node::Hold,
            State::Cancelled | State::Dead => waited,
            _ => false,
        }
    }

    /// Whether its worker confirms the delivery, by a renewal, before it as much as decodes the job: what then goes
    /// wrong is counted, and a job that runs at most once is known not to have started without it.
    #[must_use]
    pub fn confirm_first(&self) -> bool {
        self.suspect || self.lapses > 0 || self.at_most_once
    }
}

/// A worker's time-limited claim on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The worker that holds it.
    pub worker: WorkerId,
    /// Its number.
    pub fence: Fence,
    /// When it ends, by the storage's clock.
    pub until: Timestamp,
    /// Whether the worker is known to have received the job: it has sent its next exchange, or renewed this lease.
    pub delivered: bool,
}

/// A job as a worker receives it: running, with its lease and the results it waited for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claimed {
    /// The job, in [`State::Running`] with its [`lease`](Job::lease) set.
    pub job: Job,
    /// The number of the lease: what every later write about this run must show.
    pub fence: Fence,
    /// What became of [`Job::waits_for`], in its order.
    pub inputs: Vec<Input>,
}

impl Claimed {
    /// A claimed job.
    #[must_use]
    pub fn new(job: Job, fence: Fence, inputs: Vec<Input>) -> Self {
        Self { job, fence, inputs }
    }
}

open_words! {
    /// Why a ready job is set aside.
    Parked {
        /// The workers that looked at it have not registered its task.
        UnknownTask = "unknown_task",
        /// The workers that looked at it are too old for it: see [`NewJob::needs`].
        NewerProgram = "newer_program",
        /// Its task is paused in this queue.
        TaskPaused = "task_paused",
        /// As many jobs of a key of its as may run at once do: [`Job::parked_for`].
        LimitFull = "limit_full",
        /// A rate it is under admits no start yet: [`Job::parked_for`], [`Job::opens_at`].
        RateWindow = "rate_window",
        /// What it waited for is to be delivered to another shard: see [`Node::Relay`].
        Outbox = "outbox",
    }
}

open_words! {
    /// Why a job ended without completing.
    EndReason {
        /// It failed, and no retry was left, or no time for one.
        Exhausted = "exhausted",
        /// Its task said that another run can't help.
        Fatal = "fatal",
        /// Its envelope or arguments could not be decoded.
        Undecodable = "undecodable",
        /// Its task succeeded with a result that could not be encoded or is too large.
        Unstorable = "unstorable",
        /// It lost more leases than the crash limit allows.
        Crashed = "crashed",
        /// It lost its lease and runs at most once.
        Interrupted = "interrupted",
        /// A job it waited for ended without completing; [`Job::culprit`] says which, or which was to blame for that.
        Dependency = "dependency",
        /// It was there for the case that a job fails, and none did.
        NotNeeded = "not_needed",
        /// Someone cancelled it.
        Requested = "requested",
        /// It came to run while jobs like it were revoked.
        Revoked = "revoked",
        /// It came to run while no slot was free, and was not to wait for one.
        Full = "full",
        /// Its own task called it off.
        CalledOff = "called_off",
        /// Its first run did not start in time.
        Overdue = "overdue",
        /// It had not ended in time.
        Deadline = "deadline",
        /// No worker that looked at it knew its task, for longer than the limit.
        UnknownTask = "unknown_task",
    }
}

open_words! {
    /// The sorts of failure.
    FailureKind {
        /// The task returned an error.
        Error = "error",
        /// The task panicked.
        Panic = "panic",
        /// The attempt took longer than its timeout.
        Timeout = "timeout",
        /// The envelope or the arguments could not be decoded.
        Decode = "decode",
        /// The result could not be encoded or is too large.
        Encode = "encode",
        /// The worker vanished.
        Crash = "crash",
        /// Nobody knew the task.
        Unknown = "unknown",
    }
}

/// What went wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What sort of failure it was.
    pub kind: FailureKind,
    /// The error with its sources, outermost first, joined by `: `; at most [`MAX_MESSAGE`](Self::MAX_MESSAGE) bytes.
    pub message: String,
    /// The Rust type of the error, where there was one and it is known: a `Box<dyn Error>` hides it.
    pub error_type: Option<String>,
    /// The version of the program that ran it, where it tells one.
    pub version: Option<String>,
}

impl Failure {
    /// The longest message kept, in bytes.
    pub const MAX_MESSAGE: usize = 8 * 1024;

    /// A failure without an error type; a message that is too long is cut at a character.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let message = cut(message.into(), Self::MAX_MESSAGE);
        Self { kind, message, error_type: None, version: None }
    }

    /// The same, with a message of at most so many bytes.
    #[must_use]
    pub fn cut_to(&self, longest: usize) -> Self {
        Self { message: cut(self.message.clone(), longest), ..self.clone() }
    }

    /// The same, with the Rust type of the error.
    #[must_use]
    pub fn of_type(mut self, error_type: impl Into<String>) -> Self {
        self.error_type = Some(error_type.into());
        self
    }

    /// The same, with the version of the program that ran it.
    #[must_use]
    pub fn of_version(mut self, version: Option<String>) -> Self {
        self.version = version;
        self
    }
}

/// A text of at most so many bytes; what is longer is cut at a character and ends with an ellipsis.
pub(crate) fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let fits = (0..=longest - '…'.len_utf8()).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(fits.unwrap_or(0));
        text.push('…');
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FailureKind::Error => f.write_str(&self.message),
            FailureKind::Panic => write!(f, "panicked: {}", self.message),
            kind => write!(f, "{kind}: {}", self.message),
        }
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
    fn words_survive_text_and_newer_ones_are_kept() {
        for word in ["exhausted", "unstorable", "a_word_of_tomorrow"] {
            assert_eq!(EndReason::from(word).as_str(), word);
        }
        assert_eq!(EndReason::from("fatal"), EndReason::Fatal);
        assert_eq!(Parked::from("lunar_eclipse"), Parked::Other("lunar_eclipse".into()));
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let failure = Failure::new(FailureKind::Error, "é".repeat(Failure::MAX_MESSAGE));
        assert!(failure.message.len() <= Failure::MAX_MESSAGE && failure.message.ends_with('…'));
    }
}
