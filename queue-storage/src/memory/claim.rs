//! Settling, claiming, renewing: the steps of the exchange, in order.

use std::cmp::Ordering;
use std::time::Duration;

use async_trait::async_trait;

use super::line::{LastExchange, Line};
use super::pick::Taken;
use super::steps::Workers;
use super::{Hints, Inner, MemoryStorage, line_of};
use crate::model::{Fence, JobId, Timestamp, WorkerId};
use crate::storage::{Claim, Exchange, Exchanged, Renewal, Renewed, StorageError, WorkerRecord};

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
            let again = |id: &JobId| line.jobs.get(id).is_some_and(|job| !job.at_most_once);
            let held: Vec<_> = line.held_by(worker).filter(again).collect();
            held.into_iter().for_each(|id| line.touch(id, |lease| lease.delivered = false));
        }
        Ok(())
    }

    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError> {
        call.check()?;
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
        call.check()?;
        let mut hints = Hints::default();
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
            let Some(job) = line.jobs.get_mut(&id) else { return Renewed::Lost };
            if let Some((_, progress)) = call.progress.iter().find(|(told, _)| *told == id) {
                job.progress = Some(progress.clone());
                hints.progress.push(id);
            }
            if job.cancel_requested { Renewed::Stop } else { Renewed::Held }
        });
        let answers = answers.collect();
        drop(inner);
        self.tell(&call.shard, &hints);
        Ok(answers)
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
    // Only now: a pause that has ended since it was told is for a repeat to tell.
    line.controls.lapse(now);
    let settled = call.settlements.iter().map(|s| line.settle(worker, s, now, hints)).collect::<Result<Vec<_>, _>>()?;
    line.follow_edges(now, hints)?;
    line.promote(now, hints)?;
    line.open_windows(now, hints);
    line.expire(now, worker.lease.keep_ended, hints)?;
    line.reclaim(worker.id, workers, now, hints)?;
    line.follow_edges(now, hints)?;
    let fence = Fence(line.next_fence(now));
    let claim = line.claim(worker, call, fence, now, hints)?;
    let claimed = claim.jobs.iter().map(|claimed| claimed.job.id).collect();
    let last = LastExchange { number: call.number, settled: settled.clone(), fence, claimed };
    line.exchanges.insert(worker.id, last);
    // Whoever sleeps has nothing to come for when this call took all there was.
    hints.shard &=
        !(line.ready.is_empty() && line.suspects.is_empty() && line.parked.is_empty() && line.due.is_empty());
    let look_again = if claim.more { Some(Duration::ZERO) } else { line.look_again(worker, now) };
    let upkept = std::mem::take(&mut hints.upkept);
    let Taken { jobs, suspects_left, parked, .. } = claim;
    let (outbox, ticks) = (!line.outbox.is_empty(), line.schedules.are_due(now));
    Ok(Exchanged { settled, claimed: jobs, look_again, suspects_left, parked, upkept, outbox, ticks })
}
