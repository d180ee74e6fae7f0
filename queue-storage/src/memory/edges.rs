//! Jobs that wait for jobs: edges followed, what is kept for whom, and what goes from shard to shard.

use super::Hints;
use super::act::made_anew;
use super::line::Line;
use crate::model::{EndReason, Ending, Input, Job, JobId, Move, Node, Parked, State, Timestamp, Trigger};
use crate::storage::{KEEP_TOLD, MAX_CLAIM_BYTES, MAX_UPKEEP, Outbox, Parcel, Receipt, StorageError};

impl Line {
    /// Notes whom a waiting job waits for.
    pub(super) fn await_all(&mut self, job: &Job) {
        self.outstanding.insert(job.id, job.waits_for.iter().copied().collect());
    }

    /// Keeps what a job waits for, or takes; dead letters are kept by themselves.
    pub(super) fn read(&mut self, id: JobId) {
        let is_dead = |parent: &JobId| self.jobs.get(parent).is_some_and(|parent| parent.state == State::Dead);
        for parent in self.parents(id).into_iter().filter(|parent| !is_dead(parent)).collect::<Vec<_>>() {
            self.readers.entry(parent).or_default().insert(id);
            self.unkeep(parent);
        }
    }

    /// Keeps what a job waited for no longer; how many jobs those are.
    pub(super) fn let_go(&mut self, id: JobId) -> usize {
        let parents = self.parents(id);
        for parent in &parents {
            if let Some(readers) = self.readers.get_mut(parent) {
                readers.remove(&id);
                if readers.is_empty() {
                    self.readers.remove(parent);
                    self.keep(*parent);
                }
            }
        }
        parents.len()
    }

    fn parents(&self, id: JobId) -> Vec<JobId> {
        self.jobs.get(&id).map(|job| job.waits_for.clone()).unwrap_or_default()
    }

    /// Whether a live job needs this one, or a gather that is stored.
    pub(super) fn is_needed(&self, id: JobId) -> bool {
        let needs = |job: &Job| !job.state.is_end() || job.state == State::Completed;
        let mut readers = self.readers.get(&id).into_iter().flatten();
        readers.any(|reader| self.jobs.get(reader).is_some_and(needs))
    }

    /// What follows from an end: it is counted, what it needs no more is free, and those that wait for it are told.
    pub(super) fn close(&mut self, id: JobId, end: State) {
        self.count(end);
        self.outstanding.remove(&id);
        self.stops.remove(&id);
        if !self.jobs.get(&id).is_some_and(Job::keeps_inputs) {
            self.let_go(id);
        }
        if self.readers.contains_key(&id) {
            self.follow.push_back(id);
        }
    }

    /// Follows up to [`MAX_UPKEEP`] edges from ended jobs.
    pub(super) fn follow_edges(&mut self, now: Timestamp, hints: &mut Hints) -> Result<(), StorageError> {
        let mut left = MAX_UPKEEP;
        while let Some(&parent) = self.follow.front() {
            let ended = self.jobs.get(&parent).is_some_and(|job| job.state.is_end());
            let children: Vec<JobId> = self
                .readers
                .get(&parent)
                .into_iter()
                .flatten()
                .filter(|child| ended && self.outstanding.get(child).is_some_and(|open| open.contains(&parent)))
                .take(left as usize)
                .copied()
                .collect();
            if children.is_empty() {
                self.follow.pop_front();
                if self.jobs.get(&parent).is_some_and(|job| job.state == State::Dead) {
                    self.readers.remove(&parent);
                    self.keep(parent);
                }
                continue;
            }
            for child in children {
                left -= 1;
                self.follow_edge(parent, child, now, hints)?;
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Follows the edges to a job that has just come to wait, from those that have ended.
    pub(super) fn follow_back(&mut self, id: JobId, now: Timestamp, hints: &mut Hints) -> Result<(), StorageError> {
        let parents = self.parents(id);
        if parents.is_empty() && self.jobs.get(&id).is_some_and(|job| matches!(job.node, Node::Gather { .. })) {
            return self.reach(id, now, hints);
        }
        for parent in parents {
            if self.jobs.get(&parent).is_some_and(|parent| parent.state.is_end()) {
                self.follow_edge(parent, id, now, hints)?;
            }
        }
        Ok(())
    }

    /// Follows the edge from an ended job to one that may wait for it.
    fn follow_edge(
        &mut self,
        parent: JobId,
        child: JobId,
        now: Timestamp,
        hints: &mut Hints,
    ) -> Result<(), StorageError> {
        let trigger = self.jobs.get(&child).map(|job| job.trigger).unwrap_or_default();
        let Some(parent) = self.jobs.get(&parent) else { return Ok(()) };
        let (completed, keep) = (parent.state == State::Completed, parent.keep_until);
        let (id, origin) = (parent.id, Ending::of(parent).origin());
        let Some(open) = self.outstanding.get_mut(&child) else { return Ok(()) };
        open.remove(&id);
        let was_last = open.is_empty();
        let (reason, culprit) = match (trigger, completed) {
            (Trigger::Completed, false) => (EndReason::Dependency, Some(origin)),
            (Trigger::Failed, true) if was_last => (EndReason::NotNeeded, None),
            (Trigger::Failed, false) => return self.reach(child, now, hints),
            (Trigger::Completed, true) | (Trigger::Ended, _) if was_last => return self.reach(child, now, hints),
            _ => return Ok(()),
        };
        self.shift(child, Move::Cancel, hints, |job| {
            job.state = State::Cancelled;
            job.ended_at = Some(now);
            job.keep_until = keep.map(|keep| keep.max(now));
            (job.reason, job.culprit) = (Some(reason), culprit);
        })
    }

    /// What a job waited for has come.
    fn reach(&mut self, id: JobId, now: Timestamp, hints: &mut Hints) -> Result<(), StorageError> {
        self.outstanding.remove(&id);
        let Some(job) = self.jobs.get(&id) else { return Ok(()) };
        let (when, node) = (job.when, job.node.clone());
        let (state, due) = match node {
            Node::Task => when.start(now),
            Node::Gather { .. } => (State::Completed, None),
            Node::Hold | Node::Relay { .. } => (State::Ready, None),
        };
        let sequence = (state == State::Ready).then(|| self.next_sequence());
        self.shift(id, Move::Reach, hints, |job| {
            (job.state, job.due_at, job.sequence) = (state, due, sequence);
            match node {
                Node::Gather { keep } => (job.ended_at, job.keep_until) = (Some(now), Some(now + keep)),
                Node::Relay { .. } => (job.parked, job.parked_at) = (Some(Parked::Outbox), Some(now)),
                Node::Task | Node::Hold => job.set_limits(now),
            }
        })
    }

    /// Lets a job wait again.
    pub(super) fn rearm(&mut self, id: JobId, now: Timestamp, hints: &mut Hints) -> Result<(), StorageError> {
        self.begin_anew(id);
        self.shift(id, Move::Rearm, hints, |job| {
            if job.state == State::Expired {
                (job.expires, job.deadline) = (None, None);
            }
            made_anew(job);
            (job.state, job.sequence, job.due_at) = (State::Waiting, None, None);
            job.set_limits(now);
        })?;
        if let Some(job) = self.jobs.get(&id).cloned() {
            self.await_all(&job);
        }
        self.follow_back(id, now, hints)
    }

    /// Whether a job could wait again, all that it waited for is there, and nobody needs it.
    pub(super) fn is_rearmable(&self, id: JobId) -> bool {
        let whole = |job: &Job| job.waits_for.iter().all(|parent| self.jobs.contains(parent));
        self.jobs.get(&id).is_some_and(|job| job.may_wait_again() && whole(job)) && !self.is_needed(id)
    }

    /// Completes relays whose parcels were delivered.
    pub(super) fn sent(&mut self, sent: &[Receipt], now: Timestamp, hints: &mut Hints) -> Result<(), StorageError> {
        for &Receipt { relay: id, sequence } in sent {
            let stands = |job: &&Job| job.parked == Some(Parked::Outbox) && job.sequence == Some(sequence);
            let Some(job) = self.jobs.get(&id).filter(stands) else { continue };
            let keep = match self.inputs(job).pop() {
                Some(Input::Failed(ending)) => kept_with(&ending, now),
                _ => now + KEEP_TOLD,
            };
            self.shift(id, Move::Deliver, hints, |job| {
                (job.state, job.ended_at, job.keep_until) = (State::Completed, Some(now), Some(keep));
                (job.parked, job.parked_at) = (None, None);
            })?;
        }
        Ok(())
    }

    /// What stands in the outbox.
    pub(super) fn outbox(&mut self, hints: &mut Hints) -> Result<Outbox, StorageError> {
        let mut outbox = Outbox::default();
        let mut bytes = 0;
        let first: Vec<_> = self.outbox.iter().take(MAX_UPKEEP as usize + 1).copied().collect();
        for (at, (sequence, id)) in first.into_iter().enumerate() {
            if at == MAX_UPKEEP as usize || bytes >= MAX_CLAIM_BYTES {
                outbox.more = true;
                break;
            }
            let Some(job) = self.jobs.get(&id) else { continue };
            match (&job.node, self.inputs(job).pop()) {
                (_, Some(Input::Open(_))) => self.recall(id, hints)?,
                (Node::Relay { shard, to }, Some(input)) => {
                    bytes += if let Input::Returned(result) = &input { result.len() } else { 0 };
                    outbox.parcels.push(Parcel::new((id, sequence), shard.clone(), *to, input));
                }
                _ => {}
            }
        }
        Ok(outbox)
    }

    /// Lets a relay wait once more whose job has not ended any more.
    fn recall(&mut self, id: JobId, hints: &mut Hints) -> Result<(), StorageError> {
        self.read(id);
        self.shift(id, Move::Recall, hints, |job| {
            (job.state, job.sequence) = (State::Waiting, None);
            (job.parked, job.parked_at) = (None, None);
        })?;
        if let Some(job) = self.jobs.get(&id).cloned() {
            self.await_all(&job);
        }
        Ok(())
    }

    /// Delivers to a hold.
    pub(super) fn deliver(
        &mut self,
        id: JobId,
        input: &Input,
        now: Timestamp,
        hints: &mut Hints,
    ) -> Result<Option<State>, StorageError> {
        let Some(job) = self.jobs.get(&id) else { return Ok(None) };
        if job.node != Node::Hold || job.state != State::Waiting {
            return Ok(Some(job.state));
        }
        self.shift(id, Move::Deliver, hints, |job| {
            (job.state, job.ended_at, job.keep_until) = (State::Completed, Some(now), Some(now + KEEP_TOLD));
            match input {
                Input::Returned(result) => job.result = Some(result.clone()),
                Input::Failed(ending) => {
                    job.state = State::Cancelled;
                    job.keep_until = Some(kept_with(ending, now));
                    (job.reason, job.culprit) = (Some(EndReason::Dependency), Some(ending.origin()));
                    job.failure = ending.failure.clone();
                }
                _ => {}
            }
        })?;
        Ok(self.jobs.get(&id).map(|job| job.state))
    }
}

/// Until when a relay or a hold is kept that has told of this.
fn kept_with(ending: &Ending, now: Timestamp) -> Timestamp {
    ending.keep_until.unwrap_or(now).max(now + KEEP_TOLD)
}
