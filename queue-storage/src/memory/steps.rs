//! The steps of the exchange that come before the claim: number, settle, promote, reclaim.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Hints;
use super::line::{LastExchange, Line, Spared};
use crate::model::{
    EndReason, Failure, FailureKind, Fence, Job, JobId, Lease, Move, Settled, Settlement, State, Timestamp, WorkerId,
};
use crate::storage::{Exchanged, LeaseTerms, MAX_LAPSES, MAX_UPKEEP, SettleAnswer, StorageError, WorkerRecord};

pub(super) type Workers = BTreeMap<WorkerId, WorkerRecord>;

impl Line {
    /// Notes that the shard was called, and what a silence before it means.
    pub(super) fn note(&mut self, terms: &LeaseTerms, workers: &Workers, now: Timestamp) {
        let Some(seen) = self.seen.replace(now) else {
            return;
        };
        if now < seen {
            self.spared = Some(Spared { until: now + terms.grace(), ended_before: now });
            let held: Vec<_> = self.leases.iter().map(|&(_, id)| id).collect();
            for id in held {
                self.touch(id, |lease| {
                    let length = workers.get(&lease.worker).map_or(terms.length, |holder| holder.lease.length);
                    lease.until = lease.until.min(now + length);
                });
            }
        } else if now - seen > terms.silence() && !self.leases.is_empty() {
            self.spared = Some(Spared { until: now + terms.grace(), ended_before: seen });
        }
    }

    pub(super) fn holds(&self, id: JobId, worker: WorkerId, fence: Fence) -> bool {
        let lease = self.jobs.get(&id).and_then(|job| job.lease);
        lease.is_some_and(|lease| lease.worker == worker && lease.fence == fence)
    }

    /// What a worker claimed with its last exchange and still holds, in the order of the claim.
    fn still_held(&self, worker: WorkerId, last: &LastExchange) -> Vec<JobId> {
        last.claimed.iter().copied().filter(|&id| self.holds(id, worker, last.fence)).collect()
    }

    /// Answers a repeated number as before.
    pub(super) fn repeat(&mut self, worker: &WorkerRecord, last: LastExchange, now: Timestamp) -> Exchanged {
        let held = self.still_held(worker.id, &last);
        held.iter().for_each(|&id| self.touch(id, |lease| lease.until = now + worker.lease.length));
        let claimed = held.into_iter().filter_map(|id| self.claimed(id, last.fence)).collect();
        let (settled, look_again) = (last.settled.clone(), self.look_again(worker, now));
        self.exchanges.insert(worker.id, last);
        Exchanged { settled, claimed, look_again, suspects_left: !self.suspects.is_empty(), ..Exchanged::default() }
    }

    pub(super) fn acknowledge(&mut self, worker: WorkerId, last: &LastExchange) {
        for id in self.still_held(worker, last) {
            self.touch(id, |lease| lease.delivered = true);
        }
    }

    pub(super) fn settle(
        &mut self,
        worker: WorkerId,
        settled: &Settled,
        now: Timestamp,
        hints: &mut Hints,
    ) -> Result<SettleAnswer, StorageError> {
        if !self.holds(settled.job, worker, settled.fence) {
            return Ok(SettleAnswer::Lost);
        }
        let (mv, to) = settled.settlement.target();
        let settlement = settled.settlement.clone();
        self.shift(settled.job, mv, hints, |job| {
            job.state = to;
            job.lease = None;
            job.attempts = settled.attempts;
            job.suspect &= mv == Move::Release;
            match settlement {
                Settlement::Complete { result, keep } => {
                    (job.result, job.ended_at, job.keep_until) = (result, Some(now), Some(now + keep));
                }
                Settlement::Retry { when, failure } => {
                    (job.due_at, job.failure) = (Some(when.resolve(now)), Some(failure));
                }
                Settlement::Snooze { when } => job.due_at = Some(when.resolve(now)),
                Settlement::Release => {}
                Settlement::Die { reason, failure, keep } => die(job, reason, failure, now, keep),
            }
        })?;
        Ok(SettleAnswer::Applied)
    }

    /// Makes jobs ready that are due.
    pub(super) fn promote(&mut self, now: Timestamp, hints: &mut Hints) -> Result<(), StorageError> {
        for _ in 0..MAX_UPKEEP {
            let Some(&(due, id)) = self.due.first() else {
                break;
            };
            if due > now {
                break;
            }
            let sequence = self.next_sequence();
            self.shift(id, Move::Promote, hints, |job| {
                (job.state, job.sequence) = (State::Ready, Some(sequence));
            })?;
        }
        Ok(())
    }

    /// Whether a lease that ends then may be taken back now.
    fn is_over(&self, until: Timestamp, now: Timestamp) -> bool {
        until <= now && self.spared.is_none_or(|spared| now >= spared.until || until <= spared.ended_before)
    }

    /// Ended leases of workers other than this one, as many as one call takes back, and one more to tell if that is all.
    pub(super) fn lost_leases(&self, caller: WorkerId, now: Timestamp) -> Vec<JobId> {
        let over = self.leases.iter().take_while(|&&(until, _)| self.is_over(until, now)).map(|&(_, id)| id);
        let others = over.filter(|id| self.jobs.get(id).and_then(|job| job.lease).is_some_and(|l| l.worker != caller));
        others.take(MAX_UPKEEP as usize + 1).collect()
    }

    /// Takes back ended leases.
    pub(super) fn reclaim(
        &mut self,
        caller: WorkerId,
        workers: &Workers,
        now: Timestamp,
        hints: &mut Hints,
    ) -> Result<(), StorageError> {
        let lost = self.lost_leases(caller, now);
        for id in lost.into_iter().take(MAX_UPKEEP as usize) {
            let Some(lease) = self.jobs.get(&id).and_then(|job| job.lease) else {
                continue;
            };
            let terms = workers.get(&lease.worker).map_or_else(LeaseTerms::default, |holder| holder.lease);
            self.shift(id, Move::Reclaim, hints, |job| {
                take_back(job, lease, &terms, now);
            })?;
        }
        Ok(())
    }
}

fn die(job: &mut Job, reason: EndReason, failure: Failure, now: Timestamp, keep: Duration) {
    job.state = State::Dead;
    (job.reason, job.failure) = (Some(reason), Some(failure));
    (job.ended_at, job.keep_until) = (Some(now), Some(now + keep));
}

/// What becomes of a job whose lease has ended.
fn take_back(job: &mut Job, lease: Lease, terms: &LeaseTerms, now: Timestamp) {
    job.lease = None;
    job.state = State::Ready;
    let vanished = |times: u32, what: &str| {
        let message = format!("worker {} vanished {what} this job, for the {times}. time", lease.worker);
        Failure::new(FailureKind::Crash, message)
    };
    if !lease.delivered {
        job.lapses += 1;
        if terms.crash_limit.is_some() && job.lapses >= MAX_LAPSES {
            let failure = vanished(job.lapses, "on receiving");
            die(job, EndReason::Crashed, failure, now, terms.keep_dead);
        }
    } else if job.at_most_once {
        die(job, EndReason::Interrupted, vanished(1, "while it ran"), now, terms.keep_dead);
    } else {
        job.crashes += 1;
        job.suspect = true;
        let failure = vanished(job.crashes, "while it ran");
        if terms.crash_limit.is_some_and(|limit| job.crashes >= limit.max(1)) {
            die(job, EndReason::Crashed, failure, now, terms.keep_dead);
        } else {
            job.failure = Some(failure);
        }
    }
}
