//! Schedules: as bytes that the scripts store, changed and shown.

use bytes::{Buf, BufMut, Bytes};
use queue_storage::model::{ScheduleName, Shard, Timestamp};
use queue_storage::storage::{
    Changed, MAX_PAGE, ScheduleChange, SchedulePage, ScheduleQuery, ScheduleRecord, StorageError, Ticked,
};

use crate::RedisStorage;
use crate::driver::Reply;
use crate::enqueue::admissions;
use crate::link::{id_bytes, number, odd};
use crate::record::{self, time};
use crate::scripts::Step;

impl RedisStorage {
    /// Changes schedules and tells which are due.
    pub(crate) async fn change_schedules(
        &self,
        shard: &Shard,
        changes: &[ScheduleChange],
    ) -> Result<Ticked, StorageError> {
        if !changes.is_empty() {
            self.link.list_shard(shard).await?;
        }
        let jobs: usize = changes.iter().map(|change| change.jobs.len()).sum();
        let mut args = self.link.args(changes.len() * 4 + jobs * 2);
        changes.iter().for_each(|change| put(&mut args, change));
        let step = step(changes);
        let mut answer = self.link.list(step, shard, args).await?.into_iter();
        let head = answer.next().and_then(Head::read).ok_or_else(|| odd(step, "no head"))?;
        if head.is_first {
            self.link.list_anew(shard).await?;
        }
        let told = changes.iter().map(|change| changed(change, answer.next()?));
        let told = told.collect::<Option<_>>().ok_or_else(|| odd(step, "changes that can't be read"))?;
        Ok(Ticked { now: head.now, changed: told, due: records(answer, shard)?, more: head.more })
    }

    /// Shows schedules.
    pub(crate) async fn show_schedules(
        &self,
        shard: &Shard,
        query: &ScheduleQuery,
    ) -> Result<SchedulePage, StorageError> {
        let mut args = self.link.args(2);
        args.extend(asked(query));
        let mut answer = self.link.list(Step::Schedules, shard, args).await?.into_iter();
        let head = answer.next().and_then(Head::read).ok_or_else(|| odd(Step::Schedules, "no head"))?;
        let schedules = records(answer, shard)?;
        let next = schedules.last().filter(|_| head.more).map(|last| last.name.clone());
        Ok(SchedulePage { now: head.now, schedules, next })
    }
}

/// What stores something needs memory; what only removes or looks goes on without.
fn step(changes: &[ScheduleChange]) -> Step {
    let stores = changes.iter().any(|change| change.to.is_some() || !change.jobs.is_empty());
    if stores { Step::Tick } else { Step::Untick }
}

fn text(name: &ScheduleName) -> Bytes {
    Bytes::copy_from_slice(name.as_str().as_bytes())
}

/// A change as the script takes it.
fn put(args: &mut Vec<Bytes>, change: &ScheduleChange) {
    args.push(text(&change.name));
    args.push(change.version.map_or_else(Bytes::new, |version| version.to_be_bytes().to_vec().into()));
    args.push(change.to.as_ref().map_or_else(Bytes::new, |(due, data)| stored(*due, data)));
    args.push(number(change.jobs.len()));
    for job in &change.jobs {
        args.extend([id_bytes(job.id.as_u128()), record::part(job)]);
    }
}

/// A record without its version.
fn stored(due: Option<Timestamp>, data: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(8 + data.len());
    out.put_u64(due.map_or(u64::MAX, |due| due.as_micros().unsigned_abs()));
    out.put_slice(data);
    out.into()
}

/// What is to be shown as the script takes it: each name once, in order; or how many, and after which.
fn asked(query: &ScheduleQuery) -> Vec<Bytes> {
    match query {
        ScheduleQuery::Named(names) => {
            let mut names: Vec<_> = names.iter().map(text).collect();
            names.sort();
            names.dedup();
            names.insert(0, Bytes::from_static(b"="));
            names
        }
        ScheduleQuery::After(after, limit) => {
            let limit = if *limit == 0 { MAX_PAGE } else { (*limit).min(MAX_PAGE) };
            vec![number(limit), after.as_ref().map_or_else(Bytes::new, text)]
        }
    }
}

/// The first part of an answer.
struct Head {
    now: Timestamp,
    more: bool,
    is_first: bool,
}

impl Head {
    fn read(reply: Reply) -> Option<Self> {
        let mut bytes = reply.bytes()?;
        let now = Timestamp::from_micros(bytes.try_get_i64().ok()?);
        Some(Self { now, more: bytes.first()? == &b'1', is_first: bytes.get(1) == Some(&b'1') })
    }
}

/// What became of a change.
fn changed(change: &ScheduleChange, reply: Reply) -> Option<Changed> {
    let told = reply.bytes()?;
    match told.strip_prefix(b"+") {
        Some(answers) => Some(Changed::Applied(admissions(answers, change.jobs.len())?)),
        None => (told == "-").then_some(Changed::Stale),
    }
}

/// Schedules, each from its name and its bytes.
fn records(mut parts: impl Iterator<Item = Reply>, shard: &Shard) -> Result<Vec<ScheduleRecord>, StorageError> {
    let mut records = Vec::new();
    while let Some(name) = parts.next() {
        let damaged = || StorageError::corrupt(format!("the schedule {name:?} of {shard} is damaged"));
        records.push(record(&name, parts.next()).ok_or_else(damaged)?);
    }
    Ok(records)
}

fn record(name: &Reply, stored: Option<Reply>) -> Option<ScheduleRecord> {
    let (name, mut stored) = (ScheduleName::new(name.text()?).ok()?, stored?.bytes()?);
    let (version, due) = (stored.try_get_u64().ok()?, stored.try_get_u64().ok()?);
    Some(ScheduleRecord::new(name, version, time(due), stored))
}
