//! What people do to jobs.

use std::time::Duration;

use super::Hints;
use super::ends::end;
use super::line::Line;
use crate::model::{EndReason, Job, JobId, Move, Node, State, Timestamp, Trigger, When};
use crate::storage::{Act, Acted, Edit, StorageError};

impl Line {
    /// Does something to one job. `removed` gets it when it is gone.
    pub(super) fn act(
        &mut self,
        id: JobId,
        act: &Act,
        now: Timestamp,
        removed: &mut Vec<JobId>,
        hints: &mut Hints,
    ) -> Result<Acted, StorageError> {
        let Some((state, node)) = self.jobs.get(&id).map(|job| (job.state, job.node.clone())) else {
            return Ok(Acted::Missing);
        };
        match act {
            Act::Cancel { .. } | Act::Delete if !state.is_end() && matches!(node, Node::Relay { .. }) => {
                return Ok(Acted::Refused(state));
            }
            Act::Edit(_) | Act::Revive(_) if !node.is_task() => return Ok(Acted::Refused(state)),
            Act::Rearm if self.is_rearmable(id) => self.rearm(id, now, hints)?,
            Act::Rearm => return Ok(Acted::Refused(state)),
            Act::Cancel { .. } | Act::Edit(_) if state.is_end() => return Ok(Acted::Refused(state)),
            Act::Cancel { keep } if state == State::Running => return Ok(self.ask_to_stop(id, *keep, hints)),
            Act::Cancel { keep } => self.cancel(id, *keep, now, hints)?,
            Act::Revive(edit) if self.is_revivable(id) => self.revive(id, edit, now, hints)?,
            Act::Revive(_) => return Ok(Acted::Refused(state)),
            Act::Delete | Act::Edit(_) if state == State::Running => return Ok(Acted::Refused(state)),
            Act::Delete => return self.delete(id, state, now, removed, hints),
            Act::Edit(edit) => self.edit(id, edit, now, hints)?,
        }
        Ok(Acted::Done(self.jobs.get(&id).map_or(state, |job| job.state)))
    }

    fn ask_to_stop(&mut self, id: JobId, keep: Duration, hints: &mut Hints) -> Acted {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.cancel_requested) {
            job.cancel_requested = true;
            self.stops.insert(id, keep);
        }
        hints.stops.extend(self.jobs.get(&id).and_then(|job| job.worker));
        Acted::Asked
    }

    fn cancel(&mut self, id: JobId, keep: Duration, now: Timestamp, hints: &mut Hints) -> Result<(), StorageError> {
        self.shift(id, Move::Cancel, hints, |job| end(job, State::Cancelled, EndReason::Requested, now, keep))
    }

    fn delete(
        &mut self,
        id: JobId,
        state: State,
        now: Timestamp,
        removed: &mut Vec<JobId>,
        hints: &mut Hints,
    ) -> Result<Acted, StorageError> {
        if !state.is_end() {
            self.cancel(id, Duration::ZERO, now, hints)?;
        }
        if let Some(job) = self.jobs.get(&id) {
            self.limits.disown(job, true);
        }
        if self.readers.contains_key(&id) {
            // Kept by those who need it, and by nothing else.
            if let Some(job) = self.jobs.get_mut(&id) {
                job.keep_until = Some(now.max(job.ended_at.unwrap_or(now)));
            }
        } else {
            self.forget(id);
            removed.push(id);
        }
        Ok(Acted::Done(if state.is_end() { state } else { State::Cancelled }))
    }

    /// Whether a job has ended, nobody needs what it returned, and what it needs is there.
    fn is_revivable(&self, id: JobId) -> bool {
        let ended = |trigger, parent: &Job| match trigger {
            Trigger::Completed => parent.state == State::Completed,
            Trigger::Ended | Trigger::Failed => parent.state.is_end(),
        };
        let is_there = |trigger, id: &JobId| self.jobs.get(id).is_some_and(|parent| ended(trigger, parent));
        let fits = |job: &Job| job.state.is_end() && job.waits_for.iter().all(|parent| is_there(job.trigger, parent));
        self.jobs.get(&id).is_some_and(fits) && !self.is_needed(id)
    }

    fn revive(&mut self, id: JobId, edit: &Edit, now: Timestamp, hints: &mut Hints) -> Result<(), StorageError> {
        let when = edit.when.unwrap_or(When::Now);
        let (state, due_at) = when.start(now);
        let sequence = (state == State::Ready).then(|| self.next_sequence());
        self.begin_anew(id);
        self.shift(id, Move::Revive, hints, |job| {
            made_anew(job);
            (job.state, job.when, job.due_at, job.sequence) = (state, when, due_at, sequence);
            (job.expires, job.deadline, job.expires_at, job.deadline_at) = (None, None, None, None);
            apply(job, edit);
        })
    }

    /// An ended job is taken in once more: its key is free, and what it waited for is kept for it.
    pub(super) fn begin_anew(&mut self, id: JobId) {
        self.enqueued += 1;
        if let Some(job) = self.jobs.get(&id) {
            self.limits.disown(job, true);
        }
        self.read(id);
    }

    pub(super) fn edit(
        &mut self,
        id: JobId,
        edit: &Edit,
        now: Timestamp,
        hints: &mut Hints,
    ) -> Result<(), StorageError> {
        let moved = self.jobs.get(&id).and_then(|job| Some(rescheduled(job, edit.when?, now)));
        let fresh = moved.as_ref().is_some_and(|(_, _, fresh)| *fresh).then(|| self.next_sequence());
        self.shift(id, Move::Reschedule, hints, |job| {
            if let Some((state, due_at, _)) = moved {
                (job.state, job.due_at, job.when) = (state, due_at, edit.when.unwrap_or(job.when));
                job.sequence = fresh.or(job.sequence);
                if state != State::Ready {
                    (job.parked, job.parked_at, job.parked_for) = (None, None, None);
                }
                job.set_limits(now);
            }
            apply(job, edit);
        })
    }
}

/// Nothing is left of how an ended job ended and of what it has been through, but its history, which its last run joins.
pub(super) fn made_anew(job: &mut Job) {
    job.history = job.attempts_made();
    (job.attempts, job.crashes, job.lapses, job.suspect) = (0, 0, 0, false);
    (job.ended_at, job.keep_until, job.reason, job.culprit) = (None, None, None, None);
    (job.started_at, job.first_started_at) = (None, None);
    (job.failure, job.result, job.progress, job.worker) = (None, None, None, None);
    job.unique = None;
}

/// Where a live job goes that is to start then: its state, when it is due, and whether it gets a new place in line.
fn rescheduled(job: &Job, when: When, now: Timestamp) -> (State, Option<Timestamp>, bool) {
    if job.state == State::Waiting {
        return (State::Waiting, None, false);
    }
    let (state, due_at) = when.start(now);
    match (job.state, state) {
        (State::Retrying, State::Scheduled) => (State::Retrying, due_at, false),
        (before, State::Ready) => (State::Ready, due_at, before != State::Ready),
        _ => (state, due_at, false),
    }
}

fn apply(job: &mut Job, edit: &Edit) {
    job.priority = edit.priority.unwrap_or(job.priority);
    if let Some(envelope) = &edit.envelope {
        job.envelope = envelope.clone();
    }
}
