//! The claim itself: which jobs a worker gets, and when it should look again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Hints;
use super::line::{Line, Rank};
use crate::model::{Claimed, Fence, Input, Job, JobId, Lease, Move, Parked, State, TaskName, Timestamp};
use crate::storage::{Exchange, MAX_CLAIM, MAX_CLAIM_BYTES, MAX_HEADS, StorageError, WorkerRecord};

/// What a claim got.
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
        let (candidates, more_heads, parked) = self.candidates(worker, want, hints);
        let (mut jobs, mut suspects, mut bytes, mut suspects_left) = (Vec::new(), call.suspects, 0, false);
        for (_, _, id) in candidates {
            let Some(job) = self.jobs.get(&id) else {
                continue;
            };
            if job.suspect && suspects == 0 {
                suspects_left = true;
                continue;
            }
            if jobs.len() == want || bytes >= MAX_CLAIM_BYTES {
                break;
            }
            suspects -= u32::from(job.suspect);
            bytes += job.envelope.len();
            let lease = Lease { worker: worker.id, fence, until: now + worker.lease.length, delivered: false };
            self.fence = fence.0;
            self.shift(id, Move::Claim, hints, |job| {
                (job.state, job.lease, job.parked, job.started_at) = (State::Running, Some(lease), None, Some(now));
            })?;
            jobs.extend(self.claimed(id, fence));
        }
        let stopped = want > 0 && jobs.len() < want && (more_heads || bytes >= MAX_CLAIM_BYTES);
        let upkeep_left = !self.follow.is_empty()
            || self.due.first().is_some_and(|&(due, _)| due <= now)
            || !self.lost_leases(worker.id, now).is_empty();
        Ok(Taken { jobs, more: stopped || upkeep_left, suspects_left, parked })
    }

    /// Jobs this worker can run, in order: from the head of the line (parking what it can't run), from the park, and
    /// from the suspects. Also whether heads were left unseen, and the tasks of what was parked.
    fn candidates(
        &mut self,
        worker: &WorkerRecord,
        want: usize,
        hints: &mut Hints,
    ) -> (Vec<Rank>, bool, BTreeSet<TaskName>) {
        let mut found: Vec<Rank> = Vec::new();
        let (mut runnable, mut misfits) = (0, Vec::new());
        let heads = if want == 0 { 0 } else { MAX_HEADS as usize };
        for rank in self.ready.iter().take(heads) {
            if runnable == want {
                break;
            }
            match self.jobs.get(&rank.2).and_then(|job| misfit(worker, job)) {
                Some(reason) => misfits.push((rank.2, reason)),
                None => {
                    runnable += 1;
                    found.push(*rank);
                }
            }
        }
        let mut more = misfits.len() + runnable >= MAX_HEADS as usize && self.ready.len() > misfits.len() + runnable;
        let strangers = misfits.len();
        for rank in self.suspects.iter().take(heads) {
            match self.jobs.get(&rank.2).and_then(|job| misfit(worker, job)) {
                Some(reason) => misfits.push((rank.2, reason)),
                None => found.push(*rank),
            }
        }
        more |= misfits.len() > strangers && self.suspects.len() > heads;
        for ((task, needs, _), ranks) in &self.parked {
            if worker.understands >= *needs && worker.tasks.contains(task) {
                found.extend(ranks.iter().take(want));
            }
        }
        let mut strange = BTreeSet::new();
        for (id, reason) in misfits {
            strange.extend(self.jobs.get(&id).map(|job| job.task.clone()));
            self.park(id, reason, hints);
        }
        found.sort_unstable();
        (found, more, strange)
    }

    pub(super) fn claimed(&self, id: JobId, fence: Fence) -> Option<Claimed> {
        let job = self.jobs.get(&id)?.clone();
        let results = job.waits_for.iter().map(|parent| self.jobs.get(parent).and_then(|parent| parent.result.clone()));
        let inputs = results.map(|result| result.map_or(Input::Nothing, Input::Returned)).collect();
        Some(Claimed::new(job, fence, inputs))
    }

    /// When another look is worth while although nothing happens until then.
    pub(super) fn look_again(&self, worker: &WorkerRecord, now: Timestamp) -> Option<Duration> {
        let due = self.due.first().map(|&(due, _)| due - now);
        let spared = self.spared.map_or(Timestamp::EPOCH, |spared| spared.until);
        // A lease that is over and still here is the caller's own: it is renewed, or taken back by someone else.
        let mut ends = self.leases.iter().map(|&(until, _)| until.max(spared) - now);
        let next_end = ends.find(|end| !end.is_zero());
        let watch = worker.lease.watch_every();
        let watch = (!self.leases.is_empty()).then(|| next_end.map_or(watch, |end| end.min(watch)));
        [due, watch].into_iter().flatten().min()
    }
}

/// Why this worker can't run the job.
fn misfit(worker: &WorkerRecord, job: &Job) -> Option<Parked> {
    if job.needs > worker.understands {
        Some(Parked::NewerProgram)
    } else if !worker.tasks.contains(&job.task) {
        Some(Parked::UnknownTask)
    } else {
        None
    }
}
