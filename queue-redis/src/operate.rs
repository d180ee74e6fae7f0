//! Looking.

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use queue_storage::model::{Job, JobId, Shard, State, Timestamp};
use queue_storage::storage::{
    Counts, Cursor, Ends, JobPage, JobQuery, Lookup, MAX_PAGE, Operate, StorageError, WorkerRecord,
};

use crate::RedisStorage;
use crate::claim::read_registered;
use crate::driver::Reply;
use crate::keys;
use crate::link::{id_bytes, number, odd};
use crate::maintain;
use crate::record::{self, Rest};
use crate::scripts::Step;

/// How many shards one page goes through at most.
const SHARDS_PER_PAGE: usize = 32;

#[async_trait]
impl Operate for RedisStorage {
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError> {
        let tag = id.home_tag();
        let known = self.link.known_homes(tag);
        let first = self.look(id, &known).await?;
        if let Lookup::Found(_) = first {
            return Ok(first);
        }
        let other = self.look(id, &self.link.other_homes(tag, &known).await?).await?;
        Ok(if other == Lookup::Unknown { first } else { other })
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        let limit = if query.limit == 0 { MAX_PAGE } else { query.limit.min(MAX_PAGE) } as usize;
        let mut place = query.after.as_ref().map(Place::read).transpose()?;
        let mut page = JobPage::default();
        let shards = self.link.shards().await?.into_iter();
        let shards = shards.filter(|shard| query.queue.as_ref().is_none_or(|queue| *queue == shard.queue));
        let from = place.as_ref().map(|place| place.shard.clone());
        for (at, shard) in shards.filter(|shard| from.as_ref().is_none_or(|from| shard >= from)).enumerate() {
            let start = match place.take().filter(|place| place.shard == shard) {
                Some(place) => place,
                None => Place { shard, block: 0, at: 0 },
            };
            if page.jobs.len() == limit || at == SHARDS_PER_PAGE {
                page.next = Some(start.cursor());
                break;
            }
            page.next =
                self.page(&start, limit - page.jobs.len(), query, &mut page.jobs).await?.map(|next| next.cursor());
            if page.next.is_some() {
                break;
            }
        }
        Ok(page)
    }

    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError> {
        let answer = self.link.list(Step::Counts, shard, self.link.args(0)).await?;
        let numbers: Option<Vec<u64>> = answer.iter().map(|one| u64::try_from(one.int()?).ok()).collect();
        let numbers: Option<[u64; 15]> = numbers.and_then(|numbers| numbers.try_into().ok());
        numbers.map(counts).ok_or_else(|| odd(Step::Counts, answer))
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        let mut shards = Vec::new();
        for shard in self.link.shards().await? {
            let key = self.link.keys_of(&shard).meta();
            let taken = self.link.driver().command("HEXISTS", Some(key.clone()), vec![key, "enqueued".into()]).await?;
            if taken.int() == Some(1) {
                shards.push(shard);
            }
        }
        Ok(shards)
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        let key = self.link.keys.workers();
        let found = self.link.driver().command("HVALS", Some(key.clone()), vec![key]).await?.list().unwrap_or_default();
        let records = found.into_iter().filter_map(Reply::bytes).map(|bytes| read_registered(&bytes));
        let mut workers = records.map(|record| record.map(|(record, _)| record)).collect::<Result<Vec<_>, _>>()?;
        workers.sort_by_key(|worker| worker.id);
        let names: Vec<Bytes> = workers.iter().map(|worker| maintain::name(worker.id)).collect();
        let seen = self.link.last_calls(&names).await?;
        for (worker, name) in workers.iter_mut().zip(&names) {
            worker.seen_at = Timestamp::from_micros(seen.get(name).copied().unwrap_or(0)).max(worker.started_at);
        }
        Ok(workers)
    }
}

impl RedisStorage {
    /// Looks for a job in these shards.
    async fn look(&self, id: JobId, shards: &[Shard]) -> Result<Lookup, StorageError> {
        let mut gone = false;
        for shard in shards {
            let mut args = self.link.args(1);
            args.push(id_bytes(id.as_u128()));
            let answer = self.link.list(Step::Look, shard, args).await?;
            if let [youngest] = answer.as_slice() {
                let youngest = youngest.clone().bytes().unwrap_or_default();
                let youngest = <[u8; 16]>::try_from(&youngest[..]).map(u128::from_be_bytes).map(JobId::from_u128);
                gone |= youngest.is_ok_and(|youngest| id.made_at() <= youngest.made_at());
            } else {
                return Ok(Lookup::Found(Box::new(shown(shard, answer.into_iter())?)));
            }
        }
        Ok(if gone { Lookup::Gone } else { Lookup::Unknown })
    }

    /// Adds jobs from a place on; where to go on.
    async fn page(
        &self,
        from: &Place,
        limit: usize,
        query: &JobQuery,
        jobs: &mut Vec<Job>,
    ) -> Result<Option<Place>, StorageError> {
        let mut args = self.link.args(5);
        args.extend([number(from.block), number(from.at), number(limit)]);
        args.push(query.state.map_or_else(Bytes::new, |state| vec![record::letter(state)].into()));
        args.push(query.task.as_ref().map_or_else(Bytes::new, |task| Bytes::copy_from_slice(task.as_str().as_bytes())));
        let mut parts = self.link.list(Step::Page, &from.shard, args).await?.into_iter();
        let next = (parts.next(), parts.next());
        while parts.len() > 0 {
            jobs.push(shown(&from.shard, parts.by_ref().take(6))?);
        }
        let number = |part: Option<Reply>| part.as_ref().and_then(Reply::text).and_then(|text| text.parse().ok());
        let place = |(block, at)| Some(Place { shard: from.shard.clone(), block: number(block)?, at: number(at)? });
        Ok(place(next))
    }
}

/// Where in the list of all jobs a page begins.
#[derive(Debug)]
struct Place {
    shard: Shard,
    block: u64,
    at: u64,
}

impl Place {
    fn cursor(&self) -> Cursor {
        Cursor(format!("{}:{}:{}", self.block, self.at, self.shard))
    }

    fn read(cursor: &Cursor) -> Result<Self, StorageError> {
        let read = || {
            let mut parts = cursor.0.splitn(3, ':');
            let (block, at) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some(Self { shard: keys::shard(parts.next()?)?, block, at })
        };
        read().ok_or_else(|| StorageError::invalid(format!("`{}` is no place in a list of jobs", cursor.0)))
    }
}

/// A job from the six parts that scripts show of it.
fn shown(shard: &Shard, mut parts: impl Iterator<Item = Reply>) -> Result<Job, StorageError> {
    let mut part = || parts.next().and_then(Reply::bytes);
    let (whole, mark, until, delivered) = (part(), part(), part(), part());
    let (failure, result) = (part(), part());
    let read = || {
        let mut record = whole.clone()?;
        Some((JobId::from_u128(record.try_get_u128().ok()?), record, mark?))
    };
    let (id, record, mark) = read().ok_or_else(|| odd(Step::Look, &whole))?;
    let lease_until = until.and_then(|score| std::str::from_utf8(&score).ok()?.parse().ok()).map(moment);
    let delivered = delivered.map(|text| text == "1");
    let failure = failure.filter(|bytes| !bytes.is_empty());
    record::job(shard, id, record, &mark, Rest { lease_until, delivered, failure, result })
}

#[expect(clippy::cast_possible_truncation, reason = "scores are whole microseconds below 2^53")]
fn moment(score: f64) -> Timestamp {
    Timestamp::from_micros(score as i64)
}

/// The counts in the order of the script.
fn counts(numbers: [u64; 15]) -> Counts {
    let [ready, parked, scheduled, retrying, running, due, enqueued, completed, cancelled, expired, dead, pruned @ ..] =
        numbers;
    let ended = Ends { completed, cancelled, expired, dead };
    let waiting = enqueued - ended.total().min(enqueued);
    let waiting = waiting.saturating_sub(ready + scheduled + retrying + running);
    let stored = [
        (State::Waiting, waiting),
        (State::Scheduled, scheduled),
        (State::Ready, ready),
        (State::Running, running),
        (State::Retrying, retrying),
        (State::Completed, completed - pruned[0].min(completed)),
        (State::Cancelled, cancelled - pruned[1].min(cancelled)),
        (State::Expired, expired - pruned[2].min(expired)),
        (State::Dead, dead - pruned[3].min(dead)),
    ];
    let stored = stored.into_iter().filter(|&(_, count)| count > 0).collect();
    Counts { stored, parked, due, enqueued, ended }
}
