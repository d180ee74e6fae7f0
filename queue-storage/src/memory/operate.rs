//! Looking.

use std::ops::Bound::{Excluded, Included, Unbounded};

use async_trait::async_trait;

use super::MemoryStorage;
use super::line::Line;
use crate::model::{Job, JobId, Shard};
use crate::storage::{Counts, Cursor, JobPage, JobQuery, Lookup, MAX_PAGE, Operate, StorageError, WorkerRecord};

#[async_trait]
impl Operate for MemoryStorage {
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError> {
        let (inner, _) = self.lock()?;
        let found = inner.lines.values().find_map(|line| line.jobs.get(&id));
        Ok(match found {
            Some(job) => Lookup::Found(Box::new(job.clone())),
            None if inner.pruned.is_some_and(|pruned| id.made_at() <= pruned) => Lookup::Gone,
            None => Lookup::Unknown,
        })
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        let (inner, _) = self.lock()?;
        let after = query.after.as_ref().map(Place::parse).transpose()?;
        let limit = if query.limit == 0 { MAX_PAGE } else { query.limit.min(MAX_PAGE) } as usize;
        let from = after.as_ref().map_or(Unbounded, |place| Included(&place.shard));
        let fits = |(_, job): &(u64, &Job)| {
            query.queue.as_ref().is_none_or(|queue| *queue == job.shard.queue)
                && query.task.as_ref().is_none_or(|task| *task == job.task)
                && query.state.is_none_or(|state| state == job.state)
        };
        let lines = inner.lines.range::<Shard, _>((from, Unbounded)).map(|(_, line)| line);
        let mut found: Vec<_> =
            lines.flat_map(|line| line.arrived(after.as_ref())).filter(fits).take(limit + 1).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|&(n, job)| Place { n, shard: job.shard.clone() }.cursor());
        Ok(JobPage { jobs: found.into_iter().map(|(_, job)| job.clone()).collect(), next })
    }

    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError> {
        let (inner, now) = self.lock()?;
        let mut counts = Counts::default();
        let Some(line) = inner.lines.get(shard) else {
            return Ok(counts);
        };
        for job in line.jobs.values() {
            *counts.stored.entry(job.state).or_default() += 1;
            counts.parked += u64::from(job.parked.is_some());
        }
        counts.due = line.due.iter().take_while(|&&(due, _)| due <= now).count() as u64;
        counts.enqueued = line.enqueued;
        counts.ended = line.ended;
        Ok(counts)
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        let (inner, _) = self.lock()?;
        Ok(inner.lines.values().filter(|line| line.enqueued > 0).map(|line| line.shard.clone()).collect())
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        let (inner, _) = self.lock()?;
        Ok(inner.workers.values().cloned().collect())
    }
}

impl Line {
    /// The jobs behind a place, if it is in this line, or else all; each with its own place.
    fn arrived(&self, after: Option<&Place>) -> impl Iterator<Item = (u64, &Job)> {
        let from = after.filter(|place| place.shard == self.shard).map_or(Unbounded, |place| Excluded(place.n));
        self.arrivals.range((from, Unbounded)).filter_map(|(n, id)| Some((*n, self.jobs.get(id)?)))
    }
}

/// A place in a list, which goes shard after shard by name: behind the n-th job that this shard took in.
struct Place {
    n: u64,
    shard: Shard,
}

impl Place {
    fn cursor(&self) -> Cursor {
        Cursor(format!("{}.{}.{}", self.n, self.shard.index, self.shard.queue))
    }

    fn parse(cursor: &Cursor) -> Result<Self, StorageError> {
        let mut parts = cursor.0.splitn(3, '.');
        let mut part = || parts.next().unwrap_or_default();
        match (part().parse(), part().parse(), part().parse()) {
            (Ok(n), Ok(index), Ok(queue)) => Ok(Self { n, shard: Shard { queue, index } }),
            _ => Err(StorageError::invalid(format!("`{}` is no place in a list of jobs", cursor.0))),
        }
    }
}
