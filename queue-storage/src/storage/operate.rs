//! Looking, acting, controlling; called by people.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::{Act, Acted, Control, Controls, SchedulePage, ScheduleQuery, StorageError, WorkerRecord};
use bytes::Bytes;

use crate::model::{EndReason, Input, Job, JobId, Key, QueueName, Shard, State, Tag, TaskName, Timestamp, WorkerId};

/// The most jobs on one page.
pub const MAX_PAGE: u32 = 1_000;

/// Of how many priorities [`Counts::oldest`] knows, the highest ones.
pub const MAX_PRIORITIES: u32 = 64;

/// Which jobs to list, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct JobQuery {
    /// Only jobs of this queue.
    pub queue: Option<QueueName>,
    /// Only jobs of this task.
    pub task: Option<TaskName>,
    /// Only jobs in this state.
    pub state: Option<State>,
    /// Only jobs with this tag.
    pub tag: Option<Tag>,
    /// Only jobs with this key, unique or of a limit.
    pub key: Option<Key>,
    /// Only jobs that this worker runs, or ran when they ended.
    pub worker: Option<WorkerId>,
    /// Only jobs that ended for this reason.
    pub reason: Option<EndReason>,
    /// Only jobs taken in at this moment or later.
    pub from: Option<Timestamp>,
    /// Only jobs taken in before this moment.
    pub until: Option<Timestamp>,
    /// Where to go on: [`JobPage::next`] of the page before.
    pub after: Option<Cursor>,
    /// The most jobs on the page; 0 and anything above [`MAX_PAGE`] count as that.
    pub limit: u32,
}

impl JobQuery {
    /// Whether a job is one of those asked for.
    #[must_use]
    pub fn fits(&self, job: &Job) -> bool {
        self.queue.as_ref().is_none_or(|queue| *queue == job.shard.queue)
            && self.task.as_ref().is_none_or(|task| *task == job.task)
            && self.state.is_none_or(|state| state == job.state)
            && self.tag.as_ref().is_none_or(|tag| job.tags.contains(tag))
            && self.key.as_ref().is_none_or(|key| job.has_key(key))
            && self.worker.is_none_or(|worker| job.worker == Some(worker))
            && self.reason.as_ref().is_none_or(|reason| job.reason.as_ref() == Some(reason))
            && self.from.is_none_or(|from| job.enqueued_at >= from)
            && self.until.is_none_or(|until| job.enqueued_at < until)
    }
}

/// A place in a list; of use only for the query it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

/// Some of the jobs of a list.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct JobPage {
    /// The jobs; a page may be short, even empty, with more to come.
    pub jobs: Vec<Job>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// What the jobs before a job hand on to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// The encoded envelope of the job.
    pub envelope: Bytes,
    /// What became of [`Job::waits_for`] so far, in its order.
    pub inputs: Vec<Input>,
}

/// What is known of an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The job is stored.
    Found(Box<Job>),
    /// The job is not stored, and was made no later than the newest job pruned so far: it ended and was pruned.
    Gone,
    /// No job of this id was ever stored: none so young has been pruned yet.
    Unknown,
}

impl Lookup {
    /// The job, if it is stored.
    #[must_use]
    pub fn found(self) -> Option<Job> {
        match self {
            Self::Found(job) => Some(*job),
            Self::Gone | Self::Unknown => None,
        }
    }
}

/// How a key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// The job that keeps others of this unique key out.
    pub unique: Option<JobId>,
    /// Until when, where a time says so.
    pub unique_until: Option<Timestamp>,
    /// Jobs that hold a slot.
    pub running: u64,
    /// Jobs parked for a slot.
    pub waiting: u64,
    /// Jobs parked for the rate.
    pub throttled: u64,
    /// When everything that has started under the rate is paid for; `None` when it is.
    pub paid_at: Option<Timestamp>,
}

impl Usage {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// How many jobs a shard holds, by state, and how many have ended there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Jobs stored now in each state, ended ones that are still kept among them; a state without jobs is absent.
    pub stored: BTreeMap<State, u64>,
    /// Ready jobs that are parked.
    pub parked: u64,
    /// Scheduled and retrying jobs that are due but not promoted yet.
    pub due: u64,
    /// For how long the oldest job has been [ready](crate::model::Job::ready_since), or due: of those ready and not parked
    /// the first of each priority is looked at, of up to [`MAX_PRIORITIES`], which as a rule is the oldest. `None` without
    /// any.
    pub oldest: Option<Duration>,
    /// Jobs ever taken in.
    pub enqueued: u64,
    /// Jobs that ever ended, by how; pruning does not lower it.
    pub ended: Ends,
}

/// Ends, by how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ends {
    /// Completed.
    pub completed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Expired.
    pub expired: u64,
    /// Dead.
    pub dead: u64,
}

impl Ends {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.completed + self.cancelled + self.expired + self.dead
    }
}

impl Counts {
    /// Jobs in this state.
    #[must_use]
    pub fn of(&self, state: State) -> u64 {
        self.stored.get(&state).copied().unwrap_or(0)
    }

    /// The backlog: ready and due.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.of(State::Ready) + self.due
    }

    /// Jobs that have not ended.
    #[must_use]
    pub fn live(&self) -> u64 {
        State::ALL.into_iter().filter(|state| !state.is_end()).map(|state| self.of(state)).sum()
    }

    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Self) {
        for (state, count) in &other.stored {
            *self.stored.entry(*state).or_default() += count;
        }
        self.parked += other.parked;
        self.due += other.due;
        self.oldest = self.oldest.max(other.oldest);
        self.enqueued += other.enqueued;
        self.ended.completed += other.ended.completed;
        self.ended.cancelled += other.ended.cancelled;
        self.ended.expired += other.ended.expired;
        self.ended.dead += other.ended.dead;
    }
}

/// Looks into a storage, acts on jobs, controls queues.
#[async_trait]
pub trait Operate: Send + Sync {
    /// The job, wherever it lives.
    ///
    /// # Errors
    /// *Unavailable*. *Corrupt*.
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError>;

    /// What the jobs before a job, whatever its state, hand on to it, wherever it lives; `None` if it is not stored.
    ///
    /// Bounded by [`MAX_WAITS_FOR`](super::MAX_WAITS_FOR), as what a job waits for is.
    ///
    /// # Errors
    /// *Unavailable*. *Corrupt*.
    async fn inputs(&self, id: JobId) -> Result<Option<Inputs>, StorageError>;

    /// A page of jobs; within a shard in the order in which they were taken in, those of one call in its order. Nothing
    /// is said of the order between shards. A job that moves keeps its place: every job that is stored throughout, and
    /// fits throughout, is shown exactly once, whatever moves meanwhile. Pages are not a snapshot: a job that moves
    /// between two of them may be missed by a query for its state; one that comes meanwhile comes last in its shard, and
    /// may be missed where nothing was left to show when it came. A storage looks at a bounded number of records for one
    /// page, so a filter that fits little gives short pages.
    ///
    /// Dead letters alone, [`state`](JobQuery::state) being [`State::Dead`], go by their death within a shard, those that
    /// died last first, and are found without looking at other jobs, those excepted that a live job needs: they may be
    /// left out.
    ///
    /// # Errors
    /// *Unavailable*. *Invalid*: `after` is no cursor. *Corrupt*.
    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError>;

    /// The counts of one shard, all of one moment; all zero for a shard that is not known.
    ///
    /// Bounded but for what is due and was not promoted yet, which is counted one by one.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError>;

    /// Every shard that ever took a job or a schedule in, by name.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn shards(&self) -> Result<Vec<Shard>, StorageError>;

    /// Every worker known, by id; `seen_at` tells which are alive.
    ///
    /// # Errors
    /// *Unavailable*. *Corrupt*.
    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError>;

    /// Does something to up to [`MAX_ACT`](super::MAX_ACT) jobs of the shard, each on its own: one that is refused does not
    /// hinder the others. Answers in the order of the ids; one that comes twice is treated twice. What ends is counted,
    /// told and followed like any end: up to [`MAX_UPKEEP`](super::MAX_UPKEEP) edges at once, the others by the next
    /// exchange. Wakes sleepers when a job became ready, or is due before they meant to look again.
    ///
    /// Not numbered: whoever repeats it finds what it did the first time.
    ///
    /// # Errors
    /// *Invalid*: more than [`MAX_ACT`](super::MAX_ACT). *Unavailable*.
    async fn act(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError>;

    /// Changes what is said of the shard, known or not; whether that changed anything. Wakes every sleeper of the shard
    /// when something may now be claimed. One that changes nothing writes nothing.
    ///
    /// # Errors
    /// *Invalid*: the shard would hold more than [`MAX_RULES`](super::MAX_RULES), or the rate is [at
    /// fault](crate::model::Rate::fault). *Unavailable*.
    async fn control(&self, shard: &Shard, change: &Control) -> Result<bool, StorageError>;

    /// What is said of the shard now.
    ///
    /// # Errors
    /// *Unavailable*. *Corrupt*.
    async fn controls(&self, shard: &Shard) -> Result<Controls, StorageError>;

    /// Schedules of the shard, by name, and no further once their data holds
    /// [`MAX_CLAIM_BYTES`](super::MAX_CLAIM_BYTES). Pages are not a snapshot: one that is changed meanwhile is shown
    /// exactly once.
    ///
    /// # Errors
    /// *Invalid*: as [`ScheduleQuery::check`] says. *Unavailable*.
    async fn schedules(&self, shard: &Shard, query: &ScheduleQuery) -> Result<SchedulePage, StorageError>;

    /// How a key of the shard is used now; all empty for one that is not.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn usage(&self, shard: &Shard, key: &Key) -> Result<Usage, StorageError>;
}
