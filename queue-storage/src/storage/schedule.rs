//! Schedules as they are stored, and their ticks; called by workers and people.

use bytes::Bytes;

use super::StorageError;
use super::enqueue::{Admission, MAX_ENQUEUE, check_jobs};
use crate::model::{NewJob, ScheduleName, Shard, Timestamp};

/// The most changes in one call, and the most schedules named in one query.
pub const MAX_TICKS: usize = 100;

/// A schedule as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleRecord {
    /// Its name.
    pub name: ScheduleName,
    /// Its number, given anew with each change of it and never twice for one name: higher than any the shard gave before,
    /// and at least the time in microseconds, so that it rises even if the storage has lost its last writes.
    pub version: u64,
    /// When somebody is to look at it; `None` for never.
    pub due: Option<Timestamp>,
    /// What it is and how far it has got: the engine's affair, opaque to storages.
    pub data: Bytes,
}

impl ScheduleRecord {
    /// A record.
    #[must_use]
    pub fn new(name: ScheduleName, version: u64, due: Option<Timestamp>, data: Bytes) -> Self {
        Self { name, version, due, data }
    }
}

/// A change of a schedule by compare-and-set, with what one of its ticks enqueues.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScheduleChange {
    /// The schedule.
    pub name: ScheduleName,
    /// The version it must still have; `None` if it must not be stored.
    pub version: Option<u64>,
    /// What it becomes: when it is due next, and its data. `None` removes it.
    pub to: Option<(Option<Timestamp>, Bytes)>,
    /// Jobs that are taken in with the change, in this order, or not at all.
    pub jobs: Vec<NewJob>,
}

impl ScheduleChange {
    /// A change that takes no job in.
    #[must_use]
    pub fn new(name: ScheduleName, version: Option<u64>, to: Option<(Option<Timestamp>, Bytes)>) -> Self {
        Self { name, version, to, jobs: Vec::new() }
    }
}

/// What became of a [`ScheduleChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is written, and this became of its jobs.
    Applied(Vec<Admission>),
    /// The schedule has another version, or is stored or not stored against what was said: nothing was changed.
    Stale,
}

/// The answer to [`Maintain::tick`](super::Maintain::tick).
#[derive(Clone, Debug, PartialEq)]
pub struct Ticked {
    /// The storage's time: what is due is due by it, and what is late is late by it.
    pub now: Timestamp,
    /// What became of each change, in their order.
    pub changed: Vec<Changed>,
    /// Schedules that are due now, the earliest first.
    pub due: Vec<ScheduleRecord>,
    /// Whether there are more.
    pub more: bool,
}

/// Which schedules of a shard to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleQuery {
    /// Those of these names, at most [`MAX_TICKS`], that are stored.
    Named(Vec<ScheduleName>),
    /// Those after this name, or from the first on; at most so many, where 0 and anything above
    /// [`MAX_PAGE`](super::MAX_PAGE) count as that.
    After(Option<ScheduleName>, u32),
}

impl ScheduleQuery {
    /// Refuses what breaks the contract; every storage asks this before it touches anything.
    ///
    /// # Errors
    /// *Invalid*: more than [`MAX_TICKS`] names.
    pub fn check(&self) -> Result<(), StorageError> {
        match self {
            Self::Named(names) => most(names.len(), MAX_TICKS, "names of schedules in one query"),
            Self::After(..) => Ok(()),
        }
    }
}

/// Some schedules.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulePage {
    /// The storage's time.
    pub now: Timestamp,
    /// The schedules, by name.
    pub schedules: Vec<ScheduleRecord>,
    /// The name to go on after; `None` at the end.
    pub next: Option<ScheduleName>,
}

/// Refuses what breaks the contract; every storage asks this before it touches anything.
///
/// # Errors
/// *Invalid*: more than [`MAX_TICKS`] changes, or [`MAX_ENQUEUE`] jobs added up; jobs that no
/// [`EnqueueCall`](super::EnqueueCall) could hold, or that wait for others.
pub fn check_ticks(shard: &Shard, changes: &[ScheduleChange]) -> Result<(), StorageError> {
    most(changes.len(), MAX_TICKS, "changes of schedules in one call")?;
    most(changes.iter().map(|change| change.jobs.len()).sum(), MAX_ENQUEUE, "jobs in one call")?;
    changes.iter().try_for_each(|change| check_jobs(&change.jobs, shard))?;
    let mut jobs = changes.iter().flat_map(|change| &change.jobs);
    match jobs.find(|job| !job.waits_for.is_empty() || !job.node.is_task()) {
        Some(job) => Err(StorageError::invalid(format!("job {} of a schedule waits for others", job.id))),
        None => Ok(()),
    }
}

fn most(count: usize, most: usize, what: &str) -> Result<(), StorageError> {
    if count > most {
        return Err(StorageError::invalid(format!("{count} {what}; the most is {most}")));
    }
    Ok(())
}
