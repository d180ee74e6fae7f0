//! The steps of the exchange that come before the claim: number, settle, promote, reclaim.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Hints;
use super::ends::{cut_history, end, remember};
use super::line::{LastExchange, Line, Spared};
use crate::model::{
    AttemptEnd, EndReason, Failure, FailureKind, Fence, Job, JobId, Lease, Move, Settled, Settlement, State, Timestamp,
    WorkerId,
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
        let (suspects_left, outbox) = (!self.suspects.is_empty(), !self.outbox.is_empty());
        let ticks = self.schedules.are_due(now);
        Exchanged { settled, claimed, look_again, suspects_left, outbox, ticks, ..Exchanged::default() }
    }

    pub(super) fn acknowledge(&mut self, worker: WorkerId, last: &LastExchange) {
        for id in self.still_held(worker, last) {
            self.touch(id, |lease| lease.delivered = true);
        }
    }

    pub(super) fn settle(
        &mut self,
        worker: &WorkerRecord,
        settled: &Settled,
        now: Timestamp,
        hints: &mut Hints,
    ) -> Result<SettleAnswer, StorageError> {
        if !self.holds(settled.job, worker.id, settled.fence) {
            return Ok(SettleAnswer::Lost);
        }
        let (settlement, most) = (self.as_asked(settled), worker.lease.keep_attempts);
        let as_it_was = settlement.target() == settled.settlement.target();
        let (mv, to) = settlement.target();
        if let Settlement::Snooze { hold: Some(hold), .. } = settled.settlement {
            self.close_rates(settled.job, now, hold);
        }
        self.shift(settled.job, mv, hints, |job| {
            job.state = to;
            job.lease = None;
            job.attempts = settled.attempts;
            job.suspect &= mv == Move::Release;
            job.cancel_requested = false;
            match settlement {
                Settlement::Complete { result, keep } => {
                    (job.result, job.ended_at, job.keep_until) = (result, Some(now), Some(now + keep));
                }
                Settlement::Retry { when, failure } => {
                    remember(job, AttemptEnd::Failed, Some(&failure), now);
                    (job.due_at, job.failure) = (Some(when.resolve(now)), Some(failure));
                }
                Settlement::Snooze { when, .. } => {
                    remember(job, AttemptEnd::Snoozed, None, now);
                    job.due_at = Some(when.resolve(now));
                }
                Settlement::Release => remember(job, AttemptEnd::Released, None, now),
                Settlement::Cancel { reason, failure, keep } => {
                    end(job, State::Cancelled, reason, now, keep);
                    job.failure = failure.or(job.failure.take());
                }
                Settlement::Die { reason, failure, keep } => die(job, reason, failure, now, keep),
            }
            cut_history(job, most);
        })?;
        Ok(if as_it_was { SettleAnswer::Applied } else { SettleAnswer::Cancelled })
    }

    /// What is written: a job that was asked to stop and would live on is cancelled.
    fn as_asked(&self, settled: &Settled) -> Settlement {
        match (&settled.settlement, self.stops.get(&settled.job)) {
            (Settlement::Retry { failure, .. }, Some(&keep)) => called_off(Some(failure.clone()), keep),
            (Settlement::Snooze { .. } | Settlement::Release, Some(&keep)) => called_off(None, keep),
            (as_it_is, _) => as_it_is.clone(),
        }
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
            let asked = self.stops.get(&id).copied();
            self.shift(id, Move::Reclaim, hints, |job| {
                take_back(job, lease, &terms, asked, now);
                cut_history(job, terms.keep_attempts);
            })?;
        }
        Ok(())
    }
}

fn called_off(failure: Option<Failure>, keep: Duration) -> Settlement {
    Settlement::Cancel { reason: EndReason::Requested, failure, keep }
}

fn die(job: &mut Job, reason: EndReason, failure: Failure, now: Timestamp, keep: Duration) {
    end(job, State::Dead, reason, now, keep);
    job.failure = Some(failure);
}

/// What becomes of a job whose lease has ended.
fn take_back(job: &mut Job, lease: Lease, terms: &LeaseTerms, asked: Option<Duration>, now: Timestamp) {
    job.lease = None;
    job.state = State::Ready;
    let vanished = |times: u32, what: &str| {
        let message = format!("worker {} vanished {what} this job (time {times})", lease.worker);
        Failure::new(FailureKind::Crash, message)
    };
    if !lease.delivered {
        job.lapses += 1;
        let failure = vanished(job.lapses, "on receiving");
        if let Some(keep) = asked {
            end(job, State::Cancelled, EndReason::Requested, now, keep);
        } else if terms.crash_limit.is_some() && job.lapses >= MAX_LAPSES {
            die(job, EndReason::Crashed, failure, now, terms.keep_dead);
        } else {
            remember(job, AttemptEnd::Lapsed, None, now);
        }
        return;
    }
    let times = if job.at_most_once { 1 } else { job.crashes + 1 };
    let failure = vanished(times, "while it ran");
    if !job.at_most_once {
        (job.crashes, job.suspect) = (times, true);
    }
    let at_limit = terms.crash_limit.is_some_and(|limit| job.crashes >= limit.max(1));
    if let Some(keep) = asked {
        end(job, State::Cancelled, EndReason::Requested, now, keep);
        job.failure = Some(failure);
    } else if job.at_most_once {
        die(job, EndReason::Interrupted, failure, now, terms.keep_dead);
    } else if at_limit {
        die(job, EndReason::Crashed, failure, now, terms.keep_dead);
    } else {
        remember(job, AttemptEnd::Crashed, Some(&failure), now);
        job.failure = Some(failure);
    }
}
