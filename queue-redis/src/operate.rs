//! Looking, and what people do.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use queue_storage::model::{EndReason, Job, JobId, Key, Shard, State, Tag, TaskName, Timestamp};
use queue_storage::storage::{
    Act, Acted, Control, Controls, Counts, Cursor, Ends, Inputs, JobPage, JobQuery, Lookup, MAX_PAGE, MAX_PRIORITIES,
    Operate, SchedulePage, ScheduleQuery, StorageError, Usage, WorkerRecord,
};

use crate::RedisStorage;
use crate::claim::read_registered;
use crate::driver::Reply;
use crate::inputs;
use crate::keys;
use crate::limits;
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

    async fn inputs(&self, id: JobId) -> Result<Option<Inputs>, StorageError> {
        let tag = id.home_tag();
        let known = self.link.known_homes(tag);
        match self.inherited(id, &known).await? {
            None => self.inherited(id, &self.link.other_homes(tag, &known).await?).await,
            found => Ok(found),
        }
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        let limit = if query.limit == 0 { MAX_PAGE } else { query.limit.min(MAX_PAGE) } as usize;
        let mut place = query.after.as_ref().map(|after| Place::read(after, query)).transpose()?;
        let mut page = JobPage::default();
        let shards = self.link.shards().await?.into_iter();
        let shards = shards.filter(|shard| query.queue.as_ref().is_none_or(|queue| *queue == shard.queue));
        let from = place.as_ref().map(|place| place.shard.clone());
        for (at, shard) in shards.filter(|shard| from.as_ref().is_none_or(|from| shard >= from)).enumerate() {
            let start = match place.take().filter(|place| place.shard == shard) {
                Some(place) => place,
                None => Place::first(shard, query),
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
        let mut args = self.link.args(1);
        args.push(number(MAX_PRIORITIES));
        let answer = self.link.list(Step::Counts, shard, args).await?;
        let numbers: Option<Vec<i64>> = answer.iter().map(Reply::int).collect();
        numbers.as_deref().and_then(counts).ok_or_else(|| odd(Step::Counts, answer))
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

    async fn act(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError> {
        act.check(ids)?;
        self.act_on(shard, ids, act).await
    }

    async fn control(&self, shard: &Shard, change: &Control) -> Result<bool, StorageError> {
        self.link.list_shard(shard).await?;
        self.change(shard, change).await
    }

    async fn controls(&self, shard: &Shard) -> Result<Controls, StorageError> {
        self.controls_of(shard).await
    }

    async fn schedules(&self, shard: &Shard, query: &ScheduleQuery) -> Result<SchedulePage, StorageError> {
        query.check()?;
        self.show_schedules(shard, query).await
    }

    async fn usage(&self, shard: &Shard, key: &Key) -> Result<Usage, StorageError> {
        let mut args = self.link.args(1);
        args.push(Bytes::copy_from_slice(key.as_str().as_bytes()));
        let answer = self.link.list(Step::Usage, shard, args).await?;
        limits::usage(answer.clone()).ok_or_else(|| odd(Step::Usage, answer))
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

    /// Looks in these shards for what the jobs before a job hand on to it.
    async fn inherited(&self, id: JobId, shards: &[Shard]) -> Result<Option<Inputs>, StorageError> {
        for shard in shards {
            let mut args = self.link.args(1);
            args.push(id_bytes(id.as_u128()));
            let mut answer = self.link.list(Step::Inputs, shard, args).await?.into_iter();
            let Some(stored) = answer.next() else { continue };
            let stored = stored.bytes().ok_or_else(|| odd(Step::Inputs, "no record"))?;
            let job = record::job(shard, id, stored, b"", Rest::default())?;
            let inputs =
                inputs::take(&job.waits_for, &mut answer).ok_or_else(|| odd(Step::Inputs, "what can't be read"))?;
            return Ok(Some(Inputs { envelope: job.envelope, inputs }));
        }
        Ok(None)
    }

    /// Adds jobs from a place on; where to go on.
    async fn page(
        &self,
        from: &Place,
        limit: usize,
        query: &JobQuery,
        jobs: &mut Vec<Job>,
    ) -> Result<Option<Place>, StorageError> {
        let mut args = self.link.args(11);
        args.extend(from.at.words());
        args.push(number(limit));
        args.extend(wanted(query));
        let mut parts = self.link.list(Step::Page, &from.shard, args).await?.into_iter();
        let next = (parts.next(), parts.next());
        while parts.len() > 0 {
            jobs.push(shown(&from.shard, parts.by_ref().take(10))?);
        }
        let is_dead = query.state == Some(State::Dead);
        let at = next.0.zip(next.1).and_then(|(one, other)| At::of(&one.bytes()?, &other.bytes()?, is_dead));
        Ok(at.map(|at| Place { shard: from.shard.clone(), at }))
    }
}

/// What jobs must be like to be on a page, as the script takes it.
fn wanted(query: &JobQuery) -> [Bytes; 8] {
    let text = |text: Option<&str>| text.map_or_else(Bytes::new, |text| Bytes::copy_from_slice(text.as_bytes()));
    let time = |at: Option<Timestamp>| at.map_or_else(Bytes::new, |at| number(at.as_micros()));
    [
        query.state.map_or_else(Bytes::new, |state| vec![record::letter(state)].into()),
        text(query.task.as_ref().map(TaskName::as_str)),
        text(query.tag.as_ref().map(Tag::as_str)),
        query.worker.map_or_else(Bytes::new, |worker| id_bytes(worker.as_u128())),
        text(query.reason.as_ref().map(EndReason::as_str)),
        time(query.from),
        time(query.until),
        text(query.key.as_ref().map(Key::as_str)),
    ]
}

/// Where in the list of all jobs a page begins.
#[derive(Debug)]
struct Place {
    shard: Shard,
    at: At,
}

/// Where it begins in one shard: at a place of a block; among the dead, behind the one of this id that died then.
#[derive(Clone, Copy, Debug)]
enum At {
    Admitted(u64, u64),
    Died(Option<(u64, JobId)>),
}

impl At {
    /// As the script takes it.
    fn words(self) -> [Bytes; 2] {
        match self {
            Self::Admitted(block, at) => [number(block), number(at)],
            Self::Died(None) => [const { Bytes::new() }; 2],
            Self::Died(Some((at, id))) => [number(at), id_bytes(id.as_u128())],
        }
    }

    /// As the script tells it.
    fn of(one: &[u8], other: &[u8], is_dead: bool) -> Option<Self> {
        let number = |bytes| std::str::from_utf8(bytes).ok()?.parse().ok();
        Some(if is_dead {
            Self::Died(Some((number(one)?, JobId::from_u128(u128::from_be_bytes(other.try_into().ok()?)))))
        } else {
            Self::Admitted(number(one)?, number(other)?)
        })
    }
}

impl Place {
    fn first(shard: Shard, query: &JobQuery) -> Self {
        Self { shard, at: if query.state == Some(State::Dead) { At::Died(None) } else { At::Admitted(0, 0) } }
    }

    fn cursor(&self) -> Cursor {
        Cursor(match self.at {
            At::Admitted(block, at) => format!("{block}:{at}:{}", self.shard),
            At::Died(None) => format!("::{}", self.shard),
            At::Died(Some((at, id))) => format!("{at}:{id}:{}", self.shard),
        })
    }

    fn read(cursor: &Cursor, query: &JobQuery) -> Result<Self, StorageError> {
        let read = || {
            let mut parts = cursor.0.splitn(3, ':');
            let (one, other) = (parts.next()?, parts.next()?);
            let at = match query.state {
                Some(State::Dead) if one.is_empty() => At::Died(None),
                Some(State::Dead) => At::Died(Some((one.parse().ok()?, other.parse().ok()?))),
                _ => At::Admitted(one.parse().ok()?, other.parse().ok()?),
            };
            Some(Self { shard: keys::shard(parts.next()?)?, at })
        };
        read().ok_or_else(|| StorageError::invalid(format!("`{}` is no place in this list of jobs", cursor.0)))
    }
}

/// A job from the ten parts that scripts show of it.
fn shown(shard: &Shard, mut parts: impl Iterator<Item = Reply>) -> Result<Job, StorageError> {
    let mut part = || parts.next().and_then(Reply::bytes);
    let (whole, mark, until, delivered) = (part(), part(), part(), part());
    let (failure, result, history, progress, limits) = (part(), part(), part(), part(), part());
    let paid_at = part().as_ref().and_then(score);
    let read = || {
        let mut record = whole.clone()?;
        Some((JobId::from_u128(record.try_get_u128().ok()?), record, mark?))
    };
    let (id, record, mark) = read().ok_or_else(|| odd(Step::Look, &whole))?;
    let lease_until = until.as_ref().and_then(score);
    let delivered = delivered.map(|text| text == "1");
    let failure = failure.filter(|bytes| !bytes.is_empty());
    let rest = Rest { lease_until, delivered, failure, result, history, progress, limits, paid_at };
    record::job(shard, id, record, &mark, rest)
}

/// The moment that a score is.
#[expect(clippy::cast_possible_truncation, reason = "scores are whole microseconds below 2^53")]
fn score(bytes: &Bytes) -> Option<Timestamp> {
    let score: f64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    Some(Timestamp::from_micros(score as i64))
}

/// The counts in the order of the script.
fn counts(numbers: &[i64]) -> Option<Counts> {
    let (oldest, numbers) = numbers.split_last()?;
    let numbers: Vec<u64> = numbers.iter().map(|&number| u64::try_from(number).ok()).collect::<Option<_>>()?;
    let [ready, parked, scheduled, retrying, running, due, enqueued, completed, cancelled, expired, dead, pruned @ ..] =
        <[u64; 15]>::try_from(numbers).ok()?;
    let oldest = u64::try_from(*oldest).ok().map(Duration::from_micros);
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
    Some(Counts { stored, parked, due, oldest, enqueued, ended })
}
