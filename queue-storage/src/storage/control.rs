//! What people say of a whole queue: pauses and revocations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StorageError;
use crate::model::{Job, JobId, Key, Rate, Tag, TaskName, Timestamp, WorkerId};

/// The most pauses of tasks and workers, and revocations, that one shard holds, added up.
pub const MAX_RULES: usize = 100;

/// A change of what is said of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Nothing of this is claimed any more, until a moment if there is one. What runs goes on. Pausing again sets the
    /// moment anew.
    Pause(Scope, Option<Timestamp>),
    /// Ends a pause.
    Resume(Scope),
    /// From now on, jobs like these are cancelled when they come to run. One about the same jobs replaces it.
    Revoke(Revocation),
    /// Ends the revocation about the same jobs; its moment and count say nothing here.
    Restore(Revocation),
    /// At most so many jobs of the shard run at once, on all workers together; `None` for any number. What runs goes on.
    Slots(Option<u32>),
    /// Jobs of the shard start no faster than this, on all workers together; `None` for any speed.
    Rate(Option<Rate>),
}

/// What is paused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// The whole shard.
    Queue,
    /// The jobs of a task; they are parked as [`TaskPaused`](crate::model::Parked::TaskPaused) where they stand in the way.
    Task(TaskName),
    /// What one worker would claim.
    Worker(WorkerId),
}

/// Which jobs are cancelled when they come to run: those that fit all that is given.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Revocation {
    /// Only this job.
    pub job: Option<JobId>,
    /// Only jobs of this task.
    pub task: Option<TaskName>,
    /// Only jobs with this tag.
    pub tag: Option<Tag>,
    /// Only jobs with this key, unique or of a limit.
    pub key: Option<Key>,
    /// Until when; `None` for ever.
    pub until: Option<Timestamp>,
    /// Whether it ends with the first job that it cancels.
    pub next_only: bool,
}

impl Revocation {
    /// Whether the other is about the same jobs.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.job, &self.task, &self.tag, &self.key) == (&other.job, &other.task, &other.tag, &other.key)
    }

    /// Whether it cancels this job if that comes to run at `now`.
    #[must_use]
    pub fn fits(&self, job: &Job, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
            && self.job.is_none_or(|id| id == job.id)
            && self.task.as_ref().is_none_or(|task| *task == job.task)
            && self.tag.as_ref().is_none_or(|tag| job.tags.contains(tag))
            && self.key.as_ref().is_none_or(|key| job.has_key(key))
    }
}

/// A pause that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` until it is resumed.
    pub until: Option<Timestamp>,
}

impl Pause {
    /// A pause.
    #[must_use]
    pub const fn new(since: Timestamp, until: Option<Timestamp>) -> Self {
        Self { since, until }
    }

    /// Whether it holds at that moment.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What is said of a shard now; what has ended by its own moment is left out.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Controls {
    /// Whether the whole shard is paused.
    pub queue: Option<Pause>,
    /// The tasks that are.
    pub tasks: BTreeMap<TaskName, Pause>,
    /// The workers that are.
    pub workers: BTreeMap<WorkerId, Pause>,
    /// What is revoked, in the order in which it was.
    pub revocations: Vec<Revocation>,
    /// How many jobs may run at once.
    pub slots: Option<u32>,
    /// How fast jobs may start.
    pub rate: Option<Rate>,
}

impl Controls {
    /// Leaves out what has ended by `now`.
    pub fn lapse(&mut self, now: Timestamp) {
        self.queue = self.queue.filter(|pause| pause.holds(now));
        self.tasks.retain(|_, pause| pause.holds(now));
        self.workers.retain(|_, pause| pause.holds(now));
        self.revocations.retain(|one| one.until.is_none_or(|until| now < until));
    }

    /// How many count against [`MAX_RULES`].
    #[must_use]
    pub fn rules(&self) -> usize {
        self.tasks.len() + self.workers.len() + self.revocations.len()
    }

    /// Refuses what breaks the contract.
    ///
    /// # Errors
    /// *Invalid*: more than [`MAX_RULES`], or a rate [at fault](Rate::fault).
    pub fn check(&self) -> Result<(), StorageError> {
        if let Some(fault) = self.rate.and_then(|rate| rate.fault()) {
            return Err(StorageError::invalid(format!("the rate of the queue {fault}")));
        }
        match self.rules() {
            count if count > MAX_RULES => Err(StorageError::invalid(format!(
                "{count} pauses of tasks and workers and revocations in one queue; the most is {MAX_RULES}"
            ))),
            _ => Ok(()),
        }
    }

    /// Applies a change; whether it changed anything. The one place that says what a change means.
    pub fn apply(&mut self, change: &Control, now: Timestamp) -> bool {
        self.lapse(now);
        let before = self.clone();
        match change {
            Control::Pause(Scope::Queue, until) => set(&mut self.queue, *until, now),
            Control::Pause(Scope::Task(task), until) => set_in(&mut self.tasks, task, *until, now),
            Control::Pause(Scope::Worker(worker), until) => set_in(&mut self.workers, worker, *until, now),
            Control::Resume(Scope::Queue) => self.queue = None,
            Control::Resume(Scope::Task(task)) => drop(self.tasks.remove(task)),
            Control::Resume(Scope::Worker(worker)) => drop(self.workers.remove(worker)),
            Control::Revoke(one) => match self.revocations.iter_mut().find(|other| other.is_like(one)) {
                Some(other) => *other = one.clone(),
                None => self.revocations.push(one.clone()),
            },
            Control::Restore(one) => self.revocations.retain(|other| !other.is_like(one)),
            Control::Slots(most) => self.slots = *most,
            Control::Rate(rate) => self.rate = *rate,
        }
        self.lapse(now);
        *self != before
    }
}

fn set(pause: &mut Option<Pause>, until: Option<Timestamp>, now: Timestamp) {
    *pause = Some(Pause::new(pause.map_or(now, |pause| pause.since), until));
}

fn set_in<K: Ord + Clone>(pauses: &mut BTreeMap<K, Pause>, key: &K, until: Option<Timestamp>, now: Timestamp) {
    let mut pause = pauses.get(key).copied();
    set(&mut pause, until, now);
    pauses.extend(pause.map(|pause| (key.clone(), pause)));
}
