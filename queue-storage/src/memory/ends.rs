//! Ends that no run brings about, and what is remembered of runs that end nothing.

use std::time::Duration;

use super::Hints;
use super::line::Line;
use crate::model::{Attempt, AttemptEnd, EndReason, Failure, FailureKind, Job, JobId, Move, State, Timestamp};
use crate::storage::{MAX_UPKEEP, StorageError};

impl Line {
    /// Expires jobs that are overdue.
    pub(super) fn expire(&mut self, now: Timestamp, keep: Duration, hints: &mut Hints) -> Result<(), StorageError> {
        for _ in 0..MAX_UPKEEP {
            match self.overdue.first() {
                Some(&(at, id)) if at <= now => self.expire_one(id, now, keep, hints)?,
                _ => break,
            }
        }
        Ok(())
    }

    pub(super) fn expire_one(
        &mut self,
        id: JobId,
        now: Timestamp,
        keep: Duration,
        hints: &mut Hints,
    ) -> Result<(), StorageError> {
        let reason = self.jobs.get(&id).and_then(Job::overdue_at).map_or(EndReason::Overdue, |(_, reason)| reason);
        self.shift(id, Move::Expire, hints, |job| end(job, State::Expired, reason, now, keep))
    }

    /// Cancels a job that came to run although it fits a revocation.
    pub(super) fn revoke_one(
        &mut self,
        id: JobId,
        rule: usize,
        now: Timestamp,
        keep: Duration,
        hints: &mut Hints,
    ) -> Result<(), StorageError> {
        if self.controls.revocations.get(rule).is_some_and(|rule| rule.next_only) {
            self.controls.revocations.remove(rule);
        }
        self.shift(id, Move::Cancel, hints, |job| end(job, State::Cancelled, EndReason::Revoked, now, keep))
    }

    /// Cancels a job that came to run while no slot was free, and is not to wait for one.
    pub(super) fn turn_away(
        &mut self,
        id: JobId,
        now: Timestamp,
        keep: Duration,
        hints: &mut Hints,
    ) -> Result<(), StorageError> {
        self.shift(id, Move::Cancel, hints, |job| end(job, State::Cancelled, EndReason::Full, now, keep))
    }

    /// Lets jobs die that nobody has known for longer than `limit`.
    pub(super) fn bury_strangers(
        &mut self,
        limit: Duration,
        keep: Duration,
        now: Timestamp,
        hints: &mut Hints,
    ) -> Result<(), StorageError> {
        for _ in 0..MAX_UPKEEP {
            let Some(&(since, id)) = self.strangers.first() else { break };
            if now - since <= limit {
                break;
            }
            let message = format!("no worker that looked at it knew its task within {limit:?}");
            let failure = Failure::new(FailureKind::Unknown, message);
            self.shift(id, Move::Die, hints, |job| {
                end(job, State::Dead, EndReason::UnknownTask, now, keep);
                job.failure = Some(failure);
            })?;
        }
        Ok(())
    }
}

/// Ends a job that does not run any more.
pub(super) fn end(job: &mut Job, state: State, reason: EndReason, now: Timestamp, keep: Duration) {
    (job.state, job.reason) = (state, Some(reason));
    (job.ended_at, job.keep_until) = (Some(now), Some(now + keep));
    (job.parked, job.parked_at, job.parked_for, job.cancel_requested) = (None, None, None, false);
}

/// Remembers the run of a job that goes on.
pub(super) fn remember(job: &mut Job, how: AttemptEnd, failure: Option<&Failure>, now: Timestamp) {
    let Some((worker, started_at)) = job.worker.take().zip(job.started_at) else { return };
    job.history.push(Attempt::remembered(worker, started_at, now, how, failure));
}

/// Keeps the last so many runs of a history.
pub(super) fn cut_history(job: &mut Job, most: u32) {
    let surplus = job.history.len().saturating_sub(most as usize);
    job.history.drain(..surplus);
}
