//! The claim itself: which jobs a worker gets, and when it should look again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Hints;
use super::limits::HeldBack;
use super::line::{Line, Rank};
use crate::model::{Claimed, Fence, Input, Job, JobId, Lease, Move, Parked, Rate, State, TaskName, Timestamp};
use crate::storage::{Controls, Exchange, MAX_CLAIM, MAX_CLAIM_BYTES, MAX_HEADS, StorageError, WorkerRecord};

/// What a claim got.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) jobs: Vec<Claimed>,
    /// Whether it stopped at a bound with more to do.
    pub(super) more: bool,
    pub(super) suspects_left: bool,
    pub(super) parked: BTreeSet<TaskName>,
}

impl Line {
    pub(super) fn claim(
        &mut self,
        worker: &WorkerRecord,
        call: &Exchange,
        fence: Fence,
        now: Timestamp,
        hints: &mut Hints,
    ) -> Result<Taken, StorageError> {
        let want = call.want.min(MAX_CLAIM) as usize;
        let mut taken = Taken::default();
        let (mut looked, mut suspects, mut bytes, mut with_suspects) = (0, call.suspects, 0, true);
        let paused = self.controls.queue.is_some() || self.controls.workers.contains_key(&worker.id);
        let want = if paused { 0 } else { want };
        while taken.jobs.len() < want && looked < MAX_HEADS && bytes < MAX_CLAIM_BYTES && self.has_room(now) {
            let Some((_, _, id)) = self.head(worker, with_suspects) else { break };
            let Some(job) = self.jobs.get(&id) else { break };
            if job.parked.is_none()
                && let Some(reason) = misfit(worker, &self.controls, job)
            {
                if reason != Parked::TaskPaused {
                    taken.parked.insert(job.task.clone());
                }
                self.park(id, reason, None, now, hints);
            } else if job.overdue_at().is_some_and(|(at, _)| at <= now) {
                self.expire_one(id, now, worker.lease.keep_ended, hints)?;
            } else if let Some(rule) = self.controls.revocations.iter().position(|rule| rule.fits(job, now)) {
                self.revoke_one(id, rule, now, worker.lease.keep_ended, hints)?;
            } else if job.suspect && suspects == 0 {
                (taken.suspects_left, with_suspects) = (true, false);
                continue;
            } else if let Some(held_back) = self.limits.hold_back(job, now) {
                match held_back {
                    HeldBack::Park(reason, key) => self.park(id, reason, Some(key), now, hints),
                    HeldBack::Cancel => self.turn_away(id, now, worker.lease.keep_ended, hints)?,
                }
            } else {
                suspects -= u32::from(job.suspect);
                bytes += job.envelope.len();
                let lease = Lease { worker: worker.id, fence, until: now + worker.lease.length, delivered: false };
                self.take(id, lease, now, hints)?;
                taken.jobs.extend(self.claimed(id, fence));
            }
            looked += 1;
        }
        taken.more = taken.jobs.len() < want && self.has_room(now) && self.head(worker, with_suspects).is_some();
        taken.suspects_left |= want > 0 && suspects == 0 && self.suspect_for(worker).is_some();
        taken.more |= self.has_upkeep(worker, now);
        Ok(taken)
    }

    /// Whether the limits of the whole shard let one more start.
    fn has_room(&self, now: Timestamp) -> bool {
        let admits = |rate: Rate| rate.admits(self.limits.paid_by_all, now, 1).is_some();
        self.controls.slots.is_none_or(|slots| self.leases.len() < slots as usize)
            && self.controls.rate.is_none_or(admits)
    }

    /// The first job in line that this worker may run or has to set aside.
    fn head(&self, worker: &WorkerRecord, with_suspects: bool) -> Option<Rank> {
        let parked = self.parked.iter().filter(|((task, needs, suspect), _)| {
            let known = worker.understands >= *needs && worker.tasks.contains(task);
            known && !self.controls.tasks.contains_key(task) && (with_suspects || !suspect)
        });
        let parked = parked.filter_map(|(_, ranks)| ranks.first());
        let suspect = self.suspects.first().filter(|_| with_suspects);
        parked.chain(self.ready.first()).chain(suspect).min().copied()
    }

    /// The first suspect in line that this worker can run.
    fn suspect_for(&self, worker: &WorkerRecord) -> Option<Rank> {
        let fits = |rank: &&Rank| {
            self.jobs.get(&rank.2).is_some_and(|job| job.suspect && misfit(worker, &self.controls, job).is_none())
        };
        self.suspects.iter().chain(self.parked.values().flatten()).find(fits).copied()
    }

    fn take(&mut self, id: JobId, lease: Lease, now: Timestamp, hints: &mut Hints) -> Result<(), StorageError> {
        self.fence = lease.fence.0;
        if let Some(job) = self.jobs.get(&id) {
            self.limits.pay(job, now);
        }
        let paid = self.controls.rate.and_then(|rate| rate.admits(self.limits.paid_by_all, now, 1));
        self.limits.paid_by_all = paid.unwrap_or(self.limits.paid_by_all);
        self.shift(id, Move::Claim, hints, |job| {
            (job.state, job.lease, job.worker) = (State::Running, Some(lease), Some(lease.worker));
            (job.parked, job.parked_at, job.parked_for, job.started_at) = (None, None, None, Some(now));
            job.first_started_at.get_or_insert(now);
            job.progress = None;
        })
    }

    /// Whether steps before the claim stopped at their bounds.
    fn has_upkeep(&self, worker: &WorkerRecord, now: Timestamp) -> bool {
        let is_over = |first: Option<&(Timestamp, JobId)>| first.is_some_and(|&(at, _)| at <= now);
        !self.follow.is_empty()
            || is_over(self.due.first())
            || is_over(self.overdue.first())
            || self.limits.next_window().is_some_and(|at| at <= now)
            || !self.lost_leases(worker.id, now).is_empty()
    }

    pub(super) fn claimed(&self, id: JobId, fence: Fence) -> Option<Claimed> {
        let job = self.shown(self.jobs.get(&id)?);
        let inputs = self.inputs(&job);
        Some(Claimed::new(job, fence, inputs))
    }

    /// What the jobs before a job hand on to it.
    pub(super) fn inputs(&self, job: &Job) -> Vec<Input> {
        job.waits_for.iter().map(|parent| self.jobs.get(parent).map_or(Input::Gone, Input::of)).collect()
    }

    /// When another look is worth while although nothing happens until then.
    pub(super) fn look_again(&self, worker: &WorkerRecord, now: Timestamp) -> Option<Duration> {
        let due = self.due.first().into_iter().chain(self.overdue.first()).map(|&(at, _)| at - now).min();
        let pauses = self.controls.queue.iter().chain(self.controls.tasks.values());
        let pauses = pauses.chain(self.controls.workers.get(&worker.id));
        let resumed = pauses.filter_map(|pause| pause.until).map(|until| until - now).min();
        let opens = self.limits.next_window().map(|at| at - now);
        let admits = self.controls.rate.map(|rate| rate.opens_at(self.limits.paid_by_all, 1) - now);
        let empty = self.ready.is_empty() && self.suspects.is_empty() && self.parked.is_empty();
        let admits = admits.filter(|wait| !wait.is_zero() && !empty);
        let spared = self.spared.map_or(Timestamp::EPOCH, |spared| spared.until);
        // A lease that is over and still here is the caller's own: it is renewed, or taken back by someone else.
        let mut ends = self.leases.iter().map(|&(until, _)| until.max(spared) - now);
        let next_end = ends.find(|end| !end.is_zero());
        let watch = worker.lease.watch_every();
        let watch = (!self.leases.is_empty()).then(|| next_end.map_or(watch, |end| end.min(watch)));
        let ticks = self.schedules.next_after(now).map(|at| at - now);
        [due, resumed, opens, admits, watch, ticks].into_iter().flatten().min()
    }
}

/// Why this worker can't run the job now.
fn misfit(worker: &WorkerRecord, controls: &Controls, job: &Job) -> Option<Parked> {
    if job.needs > worker.understands {
        Some(Parked::NewerProgram)
    } else if !worker.tasks.contains(&job.task) {
        Some(Parked::UnknownTask)
    } else if controls.tasks.contains_key(&job.task) {
        Some(Parked::TaskPaused)
    } else {
        None
    }
}
