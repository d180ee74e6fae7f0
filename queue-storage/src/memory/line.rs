//! One shard in memory: its jobs, the indexes over them, and the only function that moves one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use super::Hints;
use super::jobs::Jobs;
use super::limits::{Limits, Standing};
use super::schedules::Schedules;
use crate::model::{
    CallerId, Fence, Job, JobId, Key, Lease, Move, Parked, Shard, State, TaskName, Timestamp, WorkerId,
};
use crate::storage::{Admission, Controls, Ends, MAX_PRIORITIES, SettleAnswer, StorageError};

/// Where a ready job stands: higher priority first, then lower sequence.
pub(super) type Rank = (Reverse<i32>, u64, JobId);
/// What a worker must be able to run to take a parked job, and whether the job is a suspect.
pub(super) type ParkKey = (TaskName, u16, bool);

/// A shard.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) shard: Shard,
    pub(super) jobs: Jobs,
    /// Stored jobs in the order in which they were taken in, and the place of each.
    pub(super) arrivals: BTreeMap<u64, JobId>,
    places: HashMap<JobId, u64>,
    pub(super) ready: BTreeSet<Rank>,
    pub(super) suspects: BTreeSet<Rank>,
    pub(super) parked: BTreeMap<ParkKey, BTreeSet<Rank>>,
    /// Scheduled and retrying jobs by due time.
    pub(super) due: BTreeSet<(Timestamp, JobId)>,
    /// Jobs that do not run and are expired at some moment, by it.
    pub(super) overdue: BTreeSet<(Timestamp, JobId)>,
    /// Jobs that are parked because nobody knows their task, by since when.
    pub(super) strangers: BTreeSet<(Timestamp, JobId)>,
    /// Running jobs by lease end.
    pub(super) leases: BTreeSet<(Timestamp, JobId)>,
    /// Ended jobs that nobody needs, by the end of their keep; of them the completed without result, likewise; and all
    /// that are dead, by their end.
    pub(super) kept: BTreeSet<(Timestamp, JobId)>,
    pub(super) traces: BTreeSet<(Timestamp, JobId)>,
    pub(super) dead: BTreeSet<(Timestamp, JobId)>,
    /// Unstruck edges: whom a waiting job still waits for.
    pub(super) outstanding: HashMap<JobId, BTreeSet<JobId>>,
    /// The jobs that a job is kept for: those that wait for it or take what it returned.
    pub(super) readers: HashMap<JobId, BTreeSet<JobId>>,
    /// Relays whose parcels are to be delivered, in the order in which they came.
    pub(super) outbox: BTreeSet<(u64, JobId)>,
    /// Ended jobs whose edges are not all followed yet.
    pub(super) follow: VecDeque<JobId>,
    /// How long jobs are kept that run and were asked to stop, once they are cancelled.
    pub(super) stops: HashMap<JobId, Duration>,
    pub(super) controls: Controls,
    pub(super) limits: Limits,
    pub(super) schedules: Schedules,
    pub(super) sequence: u64,
    pub(super) fence: u64,
    pub(super) seen: Option<Timestamp>,
    pub(super) spared: Option<Spared>,
    pub(super) callers: HashMap<CallerId, LastCall>,
    pub(super) exchanges: HashMap<WorkerId, LastExchange>,
    pub(super) enqueued: u64,
    pub(super) ended: Ends,
}

/// The grace after a silence: until then only leases that ended before the silence are taken back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spared {
    pub(super) until: Timestamp,
    pub(super) ended_before: Timestamp,
}

/// The last enqueue call of a caller, with its answer.
#[derive(Debug)]
pub(super) struct LastCall {
    pub(super) number: u64,
    pub(super) answer: Vec<Admission>,
    pub(super) seen: Timestamp,
}

/// The last exchange of a worker, with what its answer is made of.
#[derive(Debug)]
pub(super) struct LastExchange {
    pub(super) number: u64,
    pub(super) settled: Vec<SettleAnswer>,
    pub(super) fence: Fence,
    pub(super) claimed: Vec<JobId>,
}

impl Line {
    pub(super) fn new(shard: Shard) -> Self {
        Self {
            shard,
            jobs: Jobs::default(),
            arrivals: BTreeMap::new(),
            places: HashMap::new(),
            ready: BTreeSet::new(),
            suspects: BTreeSet::new(),
            parked: BTreeMap::new(),
            due: BTreeSet::new(),
            overdue: BTreeSet::new(),
            strangers: BTreeSet::new(),
            leases: BTreeSet::new(),
            kept: BTreeSet::new(),
            traces: BTreeSet::new(),
            dead: BTreeSet::new(),
            outstanding: HashMap::new(),
            readers: HashMap::new(),
            outbox: BTreeSet::new(),
            follow: VecDeque::new(),
            stops: HashMap::new(),
            controls: Controls::default(),
            limits: Limits::default(),
            schedules: Schedules::default(),
            sequence: 0,
            fence: 0,
            seen: None,
            spared: None,
            callers: HashMap::new(),
            exchanges: HashMap::new(),
            enqueued: 0,
            ended: Ends::default(),
        }
    }

    /// Counts an end.
    pub(super) fn count(&mut self, end: State) {
        match end {
            State::Completed => self.ended.completed += 1,
            State::Cancelled => self.ended.cancelled += 1,
            State::Expired => self.ended.expired += 1,
            _ => self.ended.dead += 1,
        }
    }

    /// Takes a job in that was [admitted](Job::admitted), with its edges to the jobs it waits for.
    pub(super) fn admit(&mut self, job: Box<Job>, hints: &mut Hints) {
        self.enqueued += 1;
        let id = job.id;
        self.arrivals.insert(self.enqueued, id);
        self.places.insert(id, self.enqueued);
        if job.state == State::Waiting {
            self.await_all(&job);
        }
        self.put(job, hints);
        self.read(id);
    }

    /// Moves a job: the only place where a state changes. `edit` sets the new state and what goes with it.
    pub(super) fn shift(
        &mut self,
        id: JobId,
        mv: Move,
        hints: &mut Hints,
        edit: impl FnOnce(&mut Job),
    ) -> Result<(), StorageError> {
        let Some(mut job) = self.lift(id) else {
            return Err(StorageError::corrupt(format!("memory: {id} is indexed but not stored")));
        };
        let (from, stood) = (job.state, Standing::of(&job));
        edit(&mut job);
        let (to, legal) = (job.state, mv.check(from, job.state));
        self.limits.disown(&job, false);
        self.put(job, hints);
        self.stood(id, stood, hints);
        if to.is_end() {
            self.close(id, to);
        }
        hints.jobs.push(id);
        let ends_unrun = from != State::Running && matches!(mv, Move::Expire | Move::Cancel | Move::Die);
        if mv == Move::Reclaim || ends_unrun {
            hints.upkept.push((id, to));
        }
        legal.map_err(|error| StorageError::corrupt(format!("memory: {id}: {error}")).because(error))
    }

    /// The next place in the line.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// The next number of a claim or of a schedule's change; kept where it is used.
    pub(super) fn next_fence(&self, now: Timestamp) -> u64 {
        (self.fence + 1).max(u64::try_from(now.as_micros()).unwrap_or(0))
    }

    /// Stores a job under every index its state asks for.
    pub(super) fn put(&mut self, job: Box<Job>, hints: &mut Hints) {
        let id = job.id;
        self.overdue.extend(job.overdue_at().map(|(at, _)| (at, id)));
        self.strangers.extend(stranger(&job));
        let limited = self.limits.put(&job);
        match job.state {
            State::Ready if limited => {}
            State::Ready if !job.node.is_task() => {
                self.outbox.insert((job.sequence.unwrap_or(0), id));
                hints.shard = true;
            }
            State::Ready => {
                let rank = rank(&job);
                match (&job.parked, job.suspect) {
                    (Some(_), _) => {
                        self.parked.entry(park_key(&job)).or_default().insert(rank);
                    }
                    (None, true) => drop(self.suspects.insert(rank)),
                    (None, false) => drop(self.ready.insert(rank)),
                }
                hints.shard = true;
            }
            State::Scheduled | State::Retrying => {
                let due = (job.due_at.unwrap_or(Timestamp::EPOCH), id);
                hints.shard |= self.due.first().is_none_or(|first| due < *first);
                self.due.insert(due);
            }
            State::Running => drop(self.leases.insert((lease_end(&job), id))),
            State::Waiting | State::Completed | State::Cancelled | State::Expired | State::Dead => {}
        }
        let ended = job.state.is_end();
        self.jobs.insert(job);
        if ended {
            self.keep(id);
        }
    }

    /// Takes a job out of the store and every index.
    pub(super) fn lift(&mut self, id: JobId) -> Option<Box<Job>> {
        self.unkeep(id);
        let job = self.jobs.remove(&id)?;
        job.overdue_at().map(|(at, _)| self.overdue.remove(&(at, id)));
        stranger(&job).map(|place| self.strangers.remove(&place));
        self.limits.lift(&job);
        match job.state {
            State::Ready => {
                self.outbox.remove(&(job.sequence.unwrap_or(0), id));
                let rank = rank(&job);
                self.ready.remove(&rank);
                self.suspects.remove(&rank);
                if job.parked.is_some() {
                    let key = park_key(&job);
                    if let Some(ranks) = self.parked.get_mut(&key) {
                        ranks.remove(&rank);
                        if ranks.is_empty() {
                            self.parked.remove(&key);
                        }
                    }
                }
            }
            State::Scheduled | State::Retrying => {
                self.due.remove(&(job.due_at.unwrap_or(Timestamp::EPOCH), id));
            }
            State::Running => drop(self.leases.remove(&(lease_end(&job), id))),
            State::Waiting | State::Completed | State::Cancelled | State::Expired | State::Dead => {}
        }
        Some(job)
    }

    /// Lets an ended job be pruned, unless it is kept for another.
    pub(super) fn keep(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.state.is_end()) else {
            return;
        };
        let ended = job.ended_at.unwrap_or(Timestamp::EPOCH);
        if job.state == State::Dead {
            self.dead.insert((ended, id));
        }
        if self.readers.contains_key(&id) {
            return;
        }
        let kept = (job.keep_until.unwrap_or(ended), id);
        self.kept.insert(kept);
        if job.state == State::Completed && job.result.is_none() {
            self.traces.insert(kept);
        }
    }

    /// Keeps an ended job from being pruned.
    pub(super) fn unkeep(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.state.is_end()) else {
            return;
        };
        let ended = job.ended_at.unwrap_or(Timestamp::EPOCH);
        let kept = (job.keep_until.unwrap_or(ended), id);
        self.kept.remove(&kept);
        self.traces.remove(&kept);
        self.dead.remove(&(ended, id));
    }

    /// Forgets an ended job, and lets go of what it kept; how many jobs it did not need to keep any more.
    pub(super) fn forget(&mut self, id: JobId) -> usize {
        let kept = self.jobs.get(&id).is_some_and(Job::keeps_inputs);
        let freed = if kept { self.let_go(id) } else { 0 };
        self.lift(id);
        if let Some(place) = self.places.remove(&id) {
            self.arrivals.remove(&place);
        }
        freed
    }

    /// Since when the oldest job is ready or due, by the first of each priority.
    pub(super) fn oldest(&self, now: Timestamp) -> Option<Timestamp> {
        let firsts = |line: &BTreeSet<Rank>| {
            let mut firsts: Vec<Rank> = Vec::new();
            while firsts.len() < MAX_PRIORITIES as usize {
                let above = firsts.last().map_or(Bound::Unbounded, |&(priority, ..)| {
                    Bound::Excluded((priority, u64::MAX, JobId::from_u128(u128::MAX)))
                });
                let Some(next) = line.range((above, Bound::Unbounded)).next() else { break };
                firsts.push(*next);
            }
            firsts.iter().filter_map(|(.., id)| self.jobs.get(id)).map(Job::ready_since).min()
        };
        let due = self.due.first().map(|&(due, _)| due).filter(|&due| due <= now);
        [firsts(&self.ready), firsts(&self.suspects), due].into_iter().flatten().min()
    }

    /// Sets a ready job aside.
    pub(super) fn park(&mut self, id: JobId, reason: Parked, key: Option<Key>, now: Timestamp, hints: &mut Hints) {
        if let Some(mut job) = self.lift(id) {
            let stood = Standing::of(&job);
            (job.parked, job.parked_at, job.parked_for) = (Some(reason), Some(now), key);
            if let (Some(Parked::RateWindow), Some(key)) = (&job.parked, &job.parked_for) {
                self.limits.watch(&job, key);
            }
            self.put(job, hints);
            self.stood(id, stood, hints);
        }
    }

    /// The running jobs that a worker holds.
    pub(super) fn held_by(&self, worker: WorkerId) -> impl Iterator<Item = JobId> + '_ {
        let lease = |id: &JobId| self.jobs.get(id).and_then(|job| job.lease);
        self.leases.iter().map(|&(_, id)| id).filter(move |id| lease(id).is_some_and(|lease| lease.worker == worker))
    }

    /// Changes a lease of a running job without moving it.
    pub(super) fn touch(&mut self, id: JobId, edit: impl FnOnce(&mut Lease)) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let before = lease_end(job);
        if let Some(lease) = &mut job.lease {
            edit(lease);
            let after = lease.until;
            self.leases.remove(&(before, id));
            self.leases.insert((after, id));
        }
    }
}

pub(super) fn rank(job: &Job) -> Rank {
    (Reverse(job.priority), job.sequence.unwrap_or(0), job.id)
}

/// The place of a job that is parked because nobody knows its task.
fn stranger(job: &Job) -> Option<(Timestamp, JobId)> {
    let since = job.parked_at.filter(|_| job.parked == Some(Parked::UnknownTask))?;
    Some((since, job.id))
}

fn park_key(job: &Job) -> ParkKey {
    (job.task.clone(), job.needs, job.suspect)
}

fn lease_end(job: &Job) -> Timestamp {
    job.lease.map_or(Timestamp::EPOCH, |lease| lease.until)
}
