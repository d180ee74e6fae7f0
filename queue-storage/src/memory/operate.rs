//! Looking.

use async_trait::async_trait;

use super::MemoryStorage;
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
        let after = query.after.as_ref().map(place).transpose()?;
        let limit = if query.limit == 0 { MAX_PAGE } else { query.limit.min(MAX_PAGE) } as usize;
        let mut all: Vec<&Job> = inner.lines.values().flat_map(|line| line.jobs.values()).collect();
        all.sort_unstable_by_key(|job| job.id);
        let fits = |job: &&Job| {
            after.is_none_or(|after| job.id > after)
                && query.queue.as_ref().is_none_or(|queue| *queue == job.shard.queue)
                && query.task.as_ref().is_none_or(|task| *task == job.task)
                && query.state.is_none_or(|state| state == job.state)
        };
        let mut jobs: Vec<Job> = all.into_iter().filter(fits).take(limit + 1).cloned().collect();
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        let next = jobs.last().filter(|_| more).map(|job| Cursor(job.id.to_string()));
        Ok(JobPage { jobs, next })
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

fn place(cursor: &Cursor) -> Result<JobId, StorageError> {
    cursor.0.parse().map_err(|_| StorageError::invalid(format!("`{}` is no place in a list of jobs", cursor.0)))
}
