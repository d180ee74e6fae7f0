//! Looking.

use std::ops::Bound::{Excluded, Included, Unbounded};

use async_trait::async_trait;

use super::line::Line;
use super::schedules::Schedules;
use super::{Hints, MemoryStorage, line_of};
use crate::model::{Job, JobId, Key, Shard, State, Timestamp};
use crate::storage::{
    Act, Acted, Control, Controls, Counts, Cursor, Inputs, JobPage, JobQuery, Lookup, MAX_PAGE, Operate, SchedulePage,
    ScheduleQuery, StorageError, Usage, WorkerRecord,
};

#[async_trait]
impl Operate for MemoryStorage {
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError> {
        let (inner, _) = self.lock()?;
        let found = inner.lines.values().find_map(|line| Some(line.shown(line.jobs.get(&id)?)));
        Ok(match found {
            Some(job) => Lookup::Found(Box::new(job)),
            None if inner.pruned.is_some_and(|pruned| id.made_at() <= pruned) => Lookup::Gone,
            None => Lookup::Unknown,
        })
    }

    async fn inputs(&self, id: JobId) -> Result<Option<Inputs>, StorageError> {
        let (inner, _) = self.lock()?;
        let found = inner.lines.values().find_map(|line| Some((line, line.jobs.get(&id)?)));
        Ok(found.map(|(line, job)| Inputs { envelope: job.envelope.clone(), inputs: line.inputs(job) }))
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        let (inner, _) = self.lock()?;
        let after = query.after.as_ref().map(Place::parse).transpose()?;
        let limit = if query.limit == 0 { MAX_PAGE } else { query.limit.min(MAX_PAGE) } as usize;
        let from = after.as_ref().map_or(Unbounded, |place| Included(&place.shard));
        let fits = |(_, job): &(u64, &Job)| query.fits(job);
        let lines = inner.lines.range::<Shard, _>((from, Unbounded)).map(|(_, line)| line);
        let arrived = |line| {
            let all: Box<dyn Iterator<Item = (u64, &Job)>> = match query.state {
                Some(State::Dead) => Box::new(Line::buried(line, after.as_ref())),
                _ => Box::new(Line::arrived(line, after.as_ref())),
            };
            all
        };
        let mut found: Vec<_> = lines.flat_map(arrived).filter(fits).take(limit + 1).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let next =
            found.last().filter(|_| more).map(|&(n, job)| Place { n, id: job.id, shard: job.shard.clone() }.cursor());
        let shown = |job: &Job| inner.lines.get(&job.shard).map_or_else(|| job.clone(), |line| line.shown(job));
        Ok(JobPage { jobs: found.into_iter().map(|(_, job)| shown(job)).collect(), next })
    }

    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError> {
        let (inner, now) = self.lock()?;
        let mut counts = Counts::default();
        let Some(line) = inner.lines.get(shard) else {
            return Ok(counts);
        };
        for job in line.jobs.iter() {
            *counts.stored.entry(job.state).or_default() += 1;
            counts.parked += u64::from(job.parked.is_some());
        }
        counts.oldest = line.oldest(now).map(|since| now.since(since));
        counts.due = line.due.iter().take_while(|&&(due, _)| due <= now).count() as u64;
        counts.enqueued = line.enqueued;
        counts.ended = line.ended;
        Ok(counts)
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        let (inner, _) = self.lock()?;
        Ok(inner
            .lines
            .values()
            .filter(|line| line.enqueued > 0 || line.schedules.any)
            .map(|line| line.shard.clone())
            .collect())
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        let (inner, _) = self.lock()?;
        Ok(inner.workers.values().cloned().collect())
    }

    async fn act(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError> {
        act.check(ids)?;
        let mut hints = Hints::default();
        let answer = {
            let (mut inner, now) = self.lock()?;
            let mut removed = Vec::new();
            let line = line_of(&mut inner.lines, shard);
            let mut one = |&id: &JobId| line.act(id, act, now, &mut removed, &mut hints);
            let answer = ids.iter().map(&mut one).collect::<Result<Vec<_>, _>>();
            line.follow_edges(now, &mut hints)?;
            inner.pruned = inner.pruned.max(removed.iter().map(|id| id.made_at()).max());
            answer
        };
        self.tell(shard, &hints);
        answer
    }

    async fn control(&self, shard: &Shard, change: &Control) -> Result<bool, StorageError> {
        let (mut inner, now) = self.lock()?;
        let line = line_of(&mut inner.lines, shard);
        let mut controls = line.controls.clone();
        let changed = controls.apply(change, now);
        controls.check()?;
        if changed {
            line.controls = controls;
            drop(inner);
            self.tell(shard, &Hints { shard: true, ..Hints::default() });
        }
        Ok(changed)
    }

    async fn controls(&self, shard: &Shard) -> Result<Controls, StorageError> {
        let (inner, now) = self.lock()?;
        let mut controls = inner.lines.get(shard).map(|line| line.controls.clone()).unwrap_or_default();
        controls.lapse(now);
        Ok(controls)
    }

    async fn schedules(&self, shard: &Shard, query: &ScheduleQuery) -> Result<SchedulePage, StorageError> {
        query.check()?;
        let (inner, now) = self.lock()?;
        let none = Schedules::default();
        Ok(inner.lines.get(shard).map_or(&none, |line| &line.schedules).page(query, now))
    }

    async fn usage(&self, shard: &Shard, key: &Key) -> Result<Usage, StorageError> {
        let (inner, now) = self.lock()?;
        Ok(inner.lines.get(shard).map(|line| line.limits.usage(key, now)).unwrap_or_default())
    }
}

impl Line {
    /// Dead letters, those that died last first: behind a place, if it is in this line, or else all. The place of each is
    /// its death.
    fn buried(&self, after: Option<&Place>) -> impl Iterator<Item = (u64, &Job)> {
        let from = after.filter(|place| place.shard == self.shard).map(Place::death);
        let dead = self.dead.range((Unbounded, from.map_or(Unbounded, Excluded))).rev();
        dead.filter_map(|(at, id)| Some((at.as_micros().unsigned_abs(), self.jobs.get(id)?)))
    }

    /// The jobs behind a place, if it is in this line, or else all; each with its own place.
    fn arrived(&self, after: Option<&Place>) -> impl Iterator<Item = (u64, &Job)> {
        let from = after.filter(|place| place.shard == self.shard).map_or(Unbounded, |place| Excluded(place.n));
        self.arrivals.range((from, Unbounded)).filter_map(|(n, id)| Some((*n, self.jobs.get(id)?)))
    }
}

/// A place in a list, which goes shard after shard by name: behind the n-th job that this shard took in, or behind the
/// job of this id that died at n.
struct Place {
    n: u64,
    id: JobId,
    shard: Shard,
}

impl Place {
    fn cursor(&self) -> Cursor {
        Cursor(format!("{}.{}.{}.{}", self.n, self.id, self.shard.index, self.shard.queue))
    }

    fn death(&self) -> (Timestamp, JobId) {
        (Timestamp::from_micros(self.n.cast_signed()), self.id)
    }

    fn parse(cursor: &Cursor) -> Result<Self, StorageError> {
        let mut parts = cursor.0.splitn(4, '.');
        let mut part = || parts.next().unwrap_or_default();
        match (part().parse(), part().parse(), part().parse(), part().parse()) {
            (Ok(n), Ok(id), Ok(index), Ok(queue)) => Ok(Self { n, id, shard: Shard { queue, index } }),
            _ => Err(StorageError::invalid(format!("`{}` is no place in a list of jobs", cursor.0))),
        }
    }
}
