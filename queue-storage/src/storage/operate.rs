//! Looking; called by people.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{StorageError, WorkerRecord};
use crate::model::{Job, JobId, QueueName, Shard, State, TaskName};

/// The most jobs on one page.
pub const MAX_PAGE: u32 = 1_000;

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
    /// Where to go on: [`JobPage::next`] of the page before.
    pub after: Option<Cursor>,
    /// The most jobs on the page; 0 and anything above [`MAX_PAGE`] count as that.
    pub limit: u32,
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

/// How many jobs a shard holds, by state, and how many have ended there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Jobs stored now in each state, ended ones that are still kept among them; a state without jobs is absent.
    pub stored: BTreeMap<State, u64>,
    /// Ready jobs that are parked.
    pub parked: u64,
    /// Scheduled and retrying jobs that are due but not promoted yet.
    pub due: u64,
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
        self.enqueued += other.enqueued;
        self.ended.completed += other.ended.completed;
        self.ended.cancelled += other.ended.cancelled;
        self.ended.expired += other.ended.expired;
        self.ended.dead += other.ended.dead;
    }
}

/// Looks into a storage. Nothing here changes anything.
#[async_trait]
pub trait Operate: Send + Sync {
    /// The job, wherever it lives.
    ///
    /// # Errors
    /// *Unavailable*. *Corrupt*.
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError>;

    /// A page of jobs; within a shard in the order in which they were taken in, those of one call in its order. Nothing
    /// is said of the order between shards. A job that moves keeps its place: every job that is stored throughout, and
    /// fits throughout, is shown exactly once, whatever moves meanwhile. Pages are not a snapshot: a job that moves
    /// between two of them may be missed by a query for its state; one that comes meanwhile comes last in its shard, and
    /// may be missed where nothing was left to show when it came. A storage looks at a bounded number of records for one
    /// page, so a filter that fits little gives short pages.
    ///
    /// # Errors
    /// *Unavailable*. *Invalid*: `after` is no cursor. *Corrupt*.
    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError>;

    /// The counts of one shard, all of one moment; all zero for a shard that is not known.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError>;

    /// Every shard that ever took a job in, by name.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn shards(&self) -> Result<Vec<Shard>, StorageError>;

    /// Every worker known, by id; `seen_at` tells which are alive.
    ///
    /// # Errors
    /// *Unavailable*. *Corrupt*.
    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError>;
}
