//! Upkeep.

use std::time::Duration;

use async_trait::async_trait;

use super::line::Line;
use super::{Hints, Inner, MemoryStorage, line_of};
use crate::model::{Input, JobId, Shard, State, Timestamp};
use crate::storage::{
    MAX_PRUNE, MAX_UPKEEP, Maintain, Outbox, Receipt, Retention, ScheduleChange, Step, StorageError, Ticked,
    check_delivery, check_ticks,
};

/// After this long without a call, what is remembered of a worker or caller is dropped.
const FORGET_AFTER: Duration = Duration::from_secs(86_400);

#[async_trait]
impl Maintain for MemoryStorage {
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError> {
        let (mut inner, now) = self.lock()?;
        inner.forget_workers(now);
        let Inner { lines, workers, .. } = &mut *inner;
        let Some(line) = lines.get_mut(shard) else {
            return Ok(Step::default());
        };
        line.exchanges.retain(|id, _| workers.contains_key(id));
        let mut hints = Hints::default();
        if let Some(limit) = retention.unknown {
            line.bury_strangers(limit, retention.keep_dead, now, &mut hints)?;
        }
        let unknown = |&(since, _): &(Timestamp, JobId)| retention.unknown.is_some_and(|limit| now - since > limit);
        line.limits.prune(now);
        let forgotten = line.prune(retention, now);
        let more = line.next_to_prune(retention, now).is_some() || line.strangers.first().is_some_and(unknown);
        let youngest = forgotten.iter().map(|id| id.made_at()).max();
        inner.pruned = inner.pruned.max(youngest);
        drop(inner);
        self.tell(shard, &hints);
        let died: Vec<_> = hints.upkept.into_iter().map(|(id, _)| id).collect();
        let done = u32::try_from(forgotten.len() + died.len()).unwrap_or(u32::MAX);
        Ok(Step { done, more, died })
    }

    async fn outbox(&self, shard: &Shard, sent: &[Receipt]) -> Result<Outbox, StorageError> {
        if sent.len() > MAX_UPKEEP as usize {
            let count = sent.len();
            return Err(StorageError::invalid(format!("{count} receipts in one call; the most is {MAX_UPKEEP}")));
        }
        let mut hints = Hints::default();
        let (mut inner, now) = self.lock()?;
        let Some(line) = inner.lines.get_mut(shard) else { return Ok(Outbox::default()) };
        line.sent(sent, now, &mut hints)?;
        let outbox = line.outbox(&mut hints)?;
        drop(inner);
        self.tell(shard, &hints);
        Ok(outbox)
    }

    async fn deliver(&self, shard: &Shard, deliveries: &[(JobId, Input)]) -> Result<Vec<Option<State>>, StorageError> {
        check_delivery(deliveries)?;
        let mut hints = Hints::default();
        let (mut inner, now) = self.lock()?;
        let Some(line) = inner.lines.get_mut(shard) else { return Ok(vec![None; deliveries.len()]) };
        let states = deliveries.iter().map(|(id, input)| line.deliver(*id, input, now, &mut hints)).collect();
        line.follow_edges(now, &mut hints)?;
        drop(inner);
        self.tell(shard, &hints);
        states
    }

    async fn tick(&self, shard: &Shard, changes: &[ScheduleChange]) -> Result<Ticked, StorageError> {
        check_ticks(shard, changes)?;
        let mut hints = Hints::default();
        let (mut inner, now) = self.lock()?;
        let line = line_of(&mut inner.lines, shard);
        let changed = changes.iter().map(|change| line.change(change, now, &mut hints)).collect::<Result<_, _>>()?;
        let (due, more) = line.schedules.due(now);
        drop(inner);
        self.tell(shard, &hints);
        Ok(Ticked { now, changed, due, more })
    }
}

impl Inner {
    fn forget_workers(&mut self, now: Timestamp) {
        let lines = &self.lines;
        self.workers.retain(|id, worker| {
            let holds = || lines.values().any(|line| line.held_by(*id).next().is_some());
            now - worker.seen_at < FORGET_AFTER || holds()
        });
    }
}

impl Line {
    fn prune(&mut self, retention: Retention, now: Timestamp) -> Vec<JobId> {
        self.callers.retain(|_, caller| now - caller.seen < FORGET_AFTER);
        let (mut forgotten, mut touched) = (Vec::new(), 0);
        while touched < MAX_PRUNE as usize {
            let Some(id) = self.next_to_prune(retention, now) else {
                break;
            };
            touched += 1 + self.forget(id);
            forgotten.push(id);
        }
        forgotten
    }

    fn next_to_prune(&self, retention: Retention, now: Timestamp) -> Option<JobId> {
        let over = |len: usize, cap: u64| len as u64 > cap;
        let expired = self.kept.first().filter(|&&(until, _)| until <= now);
        let trace = self.traces.first().filter(|_| over(self.traces.len(), retention.traces));
        let dead = self.dead.iter().filter(|_| over(self.dead.len(), retention.dead));
        let dead = dead.filter(|(_, id)| !self.readers.contains_key(id)).min();
        expired.or(trace).or(dead).map(|&(_, id)| id)
    }
}
