//! Settling, claiming, renewing: the steps of the exchange, in order.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;

use super::line::{LastExchange, Line, Rank, Spared};
use super::{Hints, Inner, MemoryStorage, line_of};
use crate::model::{
    Claimed, EndReason, Failure, FailureKind, Fence, Input, Job, JobId, Lease, Move, Parked, Settled, Settlement,
    State, Timestamp, WorkerId,
};
use crate::storage::{
    Claim, Exchange, Exchanged, LeaseTerms, MAX_CLAIM, MAX_CLAIM_BYTES, MAX_HEADS, MAX_LAPSES, MAX_RENEWALS,
    MAX_SETTLEMENTS, MAX_UPKEEP, Renewal, Renewed, SettleAnswer, StorageError, WorkerRecord,
};

type Workers = BTreeMap<WorkerId, WorkerRecord>;

#[async_trait]
impl Claim for MemoryStorage {
    async fn register(&self, mut worker: WorkerRecord) -> Result<(), StorageError> {
        let (mut inner, now) = self.lock()?;
        worker.seen_at = now;
        inner.workers.insert(worker.id, worker);
        Ok(())
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StorageError> {
        let (mut inner, _) = self.lock()?;
        inner.workers.remove(&worker);
        for line in inner.lines.values_mut() {
            line.exchanges.remove(&worker);
            for job in line.jobs.values_mut().filter(|job| !job.at_most_once) {
                if let Some(lease) = job.lease.as_mut().filter(|lease| lease.worker == worker) {
                    lease.delivered = false;
                }
            }
        }
        Ok(())
    }

    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError> {
        check(&call)?;
        let mut hints = Hints::default();
        let answer = {
            let (mut inner, now) = self.lock()?;
            let Inner { lines, workers, .. } = &mut *inner;
            let unknown = || StorageError::unknown_worker(format!("worker {} is not registered", call.worker));
            workers.get_mut(&call.worker).ok_or_else(unknown)?.seen_at = now;
            let worker = workers.get(&call.worker).ok_or_else(unknown)?;
            exchange(line_of(lines, &call.shard), worker, workers, &call, now, &mut hints)
        };
        self.tell(&call.shard, &hints);
        answer
    }

    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError> {
        if call.leases.len() > MAX_RENEWALS {
            let message = format!("{} leases in one renewal, the limit is {MAX_RENEWALS}", call.leases.len());
            return Err(StorageError::invalid(message));
        }
        let (mut inner, now) = self.lock()?;
        let Some(worker) = inner.workers.get_mut(&call.worker) else {
            return Ok(vec![Renewed::Lost; call.leases.len()]);
        };
        worker.seen_at = now;
        let terms = worker.lease;
        let Inner { lines, workers, .. } = &mut *inner;
        let line = line_of(lines, &call.shard);
        line.note(&terms, workers, now);
        let answers = call.leases.iter().map(|&(id, fence)| {
            if !line.holds(id, call.worker, fence) {
                return Renewed::Lost;
            }
            line.touch(id, |lease| {
                (lease.until, lease.delivered) = (now + terms.length, true);
            });
            Renewed::Held
        });
        Ok(answers.collect())
    }
}

fn check(call: &Exchange) -> Result<(), StorageError> {
    let count = call.settlements.len();
    if count > MAX_SETTLEMENTS {
        return Err(StorageError::invalid(format!(
            "{count} settlements in one exchange, the limit is {MAX_SETTLEMENTS}"
        )));
    }
    let mut seen = HashSet::new();
    match call.settlements.iter().find(|settled| !seen.insert(settled.job)) {
        Some(twice) => Err(StorageError::invalid(format!("job {} is settled twice in one exchange", twice.job))),
        None => Ok(()),
    }
}

fn exchange(
    line: &mut Line,
    worker: &WorkerRecord,
    workers: &Workers,
    call: &Exchange,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<Exchanged, StorageError> {
    line.note(&worker.lease, workers, now);
    if let Some(last) = line.exchanges.remove(&worker.id) {
        match call.number.cmp(&last.number) {
            Ordering::Greater => line.acknowledge(worker.id, &last),
            Ordering::Equal => return Ok(line.repeat(worker, last, now)),
            Ordering::Less => {
                let message = format!("exchange {} of {} was overtaken by {}", call.number, worker.id, last.number);
                line.exchanges.insert(worker.id, last);
                return Err(StorageError::superseded(message));
            }
        }
    }
    let settled =
        call.settlements.iter().map(|s| line.settle(worker.id, s, now, hints)).collect::<Result<Vec<_>, _>>()?;
    line.follow_edges(now, hints)?;
    line.promote(now, hints)?;
    line.reclaim(worker.id, workers, now, hints)?;
    line.follow_edges(now, hints)?;
    let fence = Fence((line.fence + 1).max(u64::try_from(now.as_micros()).unwrap_or(0)));
    let claim = line.claim(worker, call, fence, now, hints)?;
    let claimed = claim.jobs.iter().map(|claimed| claimed.job.id).collect();
    let last = LastExchange { number: call.number, settled: settled.clone(), fence, claimed };
    line.exchanges.insert(worker.id, last);
    // Whoever sleeps has nothing to come for when this call took all there was.
    hints.shard &=
        !(line.ready.is_empty() && line.suspects.is_empty() && line.parked.is_empty() && line.due.is_empty());
    let look_again = if claim.more { Some(Duration::ZERO) } else { line.look_again(worker, now) };
    Ok(Exchanged { settled, claimed: claim.jobs, look_again, suspects_left: claim.suspects_left })
}

struct Taken {
    jobs: Vec<Claimed>,
    more: bool,
    suspects_left: bool,
}

impl Line {
    /// Notes that the shard was called, and what a silence before it means.
    fn note(&mut self, terms: &LeaseTerms, workers: &Workers, now: Timestamp) {
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

    fn holds(&self, id: JobId, worker: WorkerId, fence: Fence) -> bool {
        let lease = self.jobs.get(&id).and_then(|job| job.lease);
        lease.is_some_and(|lease| lease.worker == worker && lease.fence == fence)
    }

    /// What a worker claimed with its last exchange and still holds, in the order of the claim.
    fn still_held(&self, worker: WorkerId, last: &LastExchange) -> Vec<JobId> {
        last.claimed.iter().copied().filter(|&id| self.holds(id, worker, last.fence)).collect()
    }

    /// Answers a repeated number as before.
    fn repeat(&mut self, worker: &WorkerRecord, last: LastExchange, now: Timestamp) -> Exchanged {
        let held = self.still_held(worker.id, &last);
        held.iter().for_each(|&id| self.touch(id, |lease| lease.until = now + worker.lease.length));
        let claimed = held.into_iter().filter_map(|id| self.claimed(id, last.fence)).collect();
        let (settled, look_again) = (last.settled.clone(), self.look_again(worker, now));
        self.exchanges.insert(worker.id, last);
        Exchanged { settled, claimed, look_again, suspects_left: !self.suspects.is_empty() }
    }

    fn acknowledge(&mut self, worker: WorkerId, last: &LastExchange) {
        for id in self.still_held(worker, last) {
            self.touch(id, |lease| lease.delivered = true);
        }
    }

    fn settle(
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
    fn promote(&mut self, now: Timestamp, hints: &mut Hints) -> Result<(), StorageError> {
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
    fn lost_leases(&self, caller: WorkerId, now: Timestamp) -> Vec<JobId> {
        let over = self.leases.iter().take_while(|&&(until, _)| self.is_over(until, now)).map(|&(_, id)| id);
        let others = over.filter(|id| self.jobs.get(id).and_then(|job| job.lease).is_some_and(|l| l.worker != caller));
        others.take(MAX_UPKEEP as usize + 1).collect()
    }

    /// Takes back ended leases.
    fn reclaim(
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

    fn claim(
        &mut self,
        worker: &WorkerRecord,
        call: &Exchange,
        fence: Fence,
        now: Timestamp,
        hints: &mut Hints,
    ) -> Result<Taken, StorageError> {
        let want = call.want.min(MAX_CLAIM) as usize;
        let (candidates, more_heads) = self.candidates(worker, want, hints);
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
        Ok(Taken { jobs, more: stopped || upkeep_left, suspects_left })
    }

    /// Jobs this worker can run, in order: from the head of the line (parking what it can't run), from the park, and
    /// from the suspects. Also whether heads were left unseen.
    fn candidates(&mut self, worker: &WorkerRecord, want: usize, hints: &mut Hints) -> (Vec<Rank>, bool) {
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
        for (id, reason) in misfits {
            self.park(id, Some(reason), hints);
        }
        found.sort_unstable();
        (found, more)
    }

    fn claimed(&self, id: JobId, fence: Fence) -> Option<Claimed> {
        let job = self.jobs.get(&id)?.clone();
        let results = job.waits_for.iter().map(|parent| self.jobs.get(parent).and_then(|parent| parent.result.clone()));
        let inputs = results.map(|result| result.map_or(Input::Nothing, Input::Returned)).collect();
        Some(Claimed::new(job, fence, inputs))
    }

    /// When another look is worth while although nothing happens until then.
    fn look_again(&self, worker: &WorkerRecord, now: Timestamp) -> Option<Duration> {
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
