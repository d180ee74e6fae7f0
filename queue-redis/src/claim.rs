//! Settling, claiming, renewing.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes};
use queue_storage::model::{
    Claimed, EndReason, Failure, Fence, JobId, Lease, Settled, Settlement, Shard, State, TaskName, Timestamp, WorkerId,
};
use queue_storage::storage::{Claim, Exchange, Exchanged, Renewal, Renewed, SettleAnswer, StorageError, WorkerRecord};

use crate::RedisStorage;
use crate::driver::Reply;
use crate::inputs;
use crate::link::{id_bytes, number, odd};
use crate::notes;
use crate::record::{self, Rest, micros};
use crate::scripts::Step;

/// What is remembered of a worker beside its record: shards it called without having registered there.
pub(crate) type Registered = (WorkerRecord, Vec<Shard>);

#[async_trait]
impl Claim for RedisStorage {
    async fn register(&self, worker: WorkerRecord) -> Result<(), StorageError> {
        for shard in &worker.shards {
            self.introduce(&worker, shard).await?;
        }
        self.remember(&(worker, Vec::new())).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StorageError> {
        let Some((record, guest_of)) = self.registered(worker).await? else { return Ok(()) };
        for shard in record.shards.iter().chain(&guest_of) {
            let mut args = self.link.args(1);
            args.push(id_bytes(worker.as_u128()));
            self.link.call(Step::Deregister, shard, args).await?;
        }
        let key = self.link.keys.workers();
        self.link.driver().command("HDEL", Some(key.clone()), vec![key, worker.to_string().into()]).await?;
        Ok(())
    }

    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError> {
        call.check()?;
        self.link.list_shard(&call.shard).await?;
        let mut answer = self.link.list(Step::Exchange, &call.shard, self.exchange_args(&call)).await?;
        if answer.first().and_then(Reply::text) == Some("unknown") {
            let unknown = || StorageError::unknown_worker(format!("worker {} is not registered", call.worker));
            let (record, guest_of) = self.registered(call.worker).await?.ok_or_else(unknown)?;
            self.introduce(&record, &call.shard).await?;
            if !record.shards.contains(&call.shard) && !guest_of.contains(&call.shard) {
                let guest_of = guest_of.into_iter().chain([call.shard.clone()]).collect();
                self.remember(&(record, guest_of)).await?;
            }
            answer = self.link.list(Step::Exchange, &call.shard, self.exchange_args(&call)).await?;
        }
        let how = answer.first().and_then(Reply::text).unwrap_or_default().to_owned();
        match how.as_str() {
            "ok" => {
                let unreadable = || odd(Step::Exchange, "what can't be read");
                let mut parts = answer.into_iter().skip(1);
                let head = parts.next().and_then(Reply::bytes).and_then(Head::read).ok_or_else(unreadable)?;
                self.link.note_watched(&call.shard, head.is_watched);
                exchanged(&call, &head, parts).unwrap_or_else(|| Err(unreadable()))
            }
            "superseded" => Err(StorageError::superseded(format!(
                "exchange {} of {} was overtaken by {}",
                call.number,
                call.worker,
                answer.get(1).and_then(Reply::int).unwrap_or_default()
            ))),
            "unknown" => Err(StorageError::unknown_worker(format!("worker {} is not registered", call.worker))),
            _ => Err(odd(Step::Exchange, how)),
        }
    }

    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError> {
        call.check()?;
        let mut args = self.link.args(1 + call.leases.len());
        args.push(id_bytes(call.worker.as_u128()));
        let told: HashMap<_, _> = call.progress.iter().map(|(id, progress)| (*id, progress)).collect();
        for (id, fence) in &call.leases {
            let mut lease = Vec::with_capacity(24);
            lease.put_u128(id.as_u128());
            lease.put_u64(fence.0);
            lease.extend(told.get(id).map(|progress| notes::progress_bytes(progress)).unwrap_or_default());
            args.push(lease.into());
        }
        let answer = self.link.call(Step::Renew, &call.shard, args).await?.bytes().unwrap_or_default();
        if answer == "unknown" {
            return Ok(vec![Renewed::Lost; call.leases.len()]);
        }
        let renewed = |held: &u8| match held {
            b'1' => Renewed::Held,
            b's' => Renewed::Stop,
            _ => Renewed::Lost,
        };
        let answers: Vec<_> = answer.iter().map(renewed).collect();
        if answers.len() == call.leases.len() { Ok(answers) } else { Err(odd(Step::Renew, answer)) }
    }
}

impl RedisStorage {
    /// Makes a worker known to one shard.
    async fn introduce(&self, worker: &WorkerRecord, shard: &Shard) -> Result<(), StorageError> {
        self.link.list_shard(shard).await?;
        let mut args = self.link.args(2);
        args.push(id_bytes(worker.id.as_u128()));
        args.push(terms(worker, self.ears.name()));
        self.link.call(Step::Register, shard, args).await.map(drop)
    }

    async fn remember(&self, worker: &Registered) -> Result<(), StorageError> {
        let bytes = rmp_serde::to_vec_named(worker)
            .map_err(|error| StorageError::invalid("the worker's record can't be encoded").because(error))?;
        let args = vec!["HSET".into(), worker.0.id.to_string().into(), bytes.into()];
        self.link.write(self.link.keys.workers(), args).await
    }

    /// What is remembered of a worker.
    async fn registered(&self, worker: WorkerId) -> Result<Option<Registered>, StorageError> {
        let key = self.link.keys.workers();
        let found = self.link.driver().command("HGET", Some(key.clone()), vec![key, worker.to_string().into()]).await?;
        found.bytes().map(|bytes| read_registered(&bytes)).transpose()
    }

    fn exchange_args(&self, call: &Exchange) -> Vec<Bytes> {
        let mut args = self.link.args(5 + call.settlements.len() * 2);
        args.push(id_bytes(call.worker.as_u128()));
        args.extend([number(call.number), number(call.want), number(call.suspects)]);
        args.push(self.ears.of(call.worker, &call.shard));
        for settled in &call.settlements {
            let (head, body) = settlement(settled);
            args.extend([head, body]);
        }
        args
    }
}

pub(crate) fn read_registered(bytes: &[u8]) -> Result<Registered, StorageError> {
    rmp_serde::from_slice(bytes)
        .map_err(|error| StorageError::corrupt("redis: a worker's record can't be read").because(error))
}

/// A worker's terms and tasks, as shards keep them.
fn terms(worker: &WorkerRecord, ear: &str) -> Bytes {
    let mut out = Vec::with_capacity(96 + worker.tasks.len() * 24);
    out.put_u64(micros(worker.lease.length));
    out.put_u64(micros(worker.lease.renew_every));
    out.put_u32(worker.lease.crash_limit.map_or(0, |limit| limit.max(1)));
    out.put_u64(micros(worker.lease.keep_dead));
    out.put_u16(worker.understands);
    out.put_u64(micros(worker.lease.keep_ended));
    out.put_u32(worker.lease.keep_attempts);
    out.put_slice(ear.as_bytes());
    out.put_u8(0);
    for task in &worker.tasks {
        out.put_slice(task.as_str().as_bytes());
        out.put_u8(0);
    }
    out.into()
}

/// A settlement's head and body.
fn settlement(settled: &Settled) -> (Bytes, Bytes) {
    let mut head = Vec::with_capacity(38);
    head.put_u128(settled.job.as_u128());
    head.put_u64(settled.fence.0);
    head.put_u32(settled.attempts);
    let mut kept = |kind: u8, keep: Duration, body: Vec<u8>| {
        head.put_slice(&[kind, b'i']);
        head.put_u64(micros(keep));
        body
    };
    let body = match &settled.settlement {
        Settlement::Complete { result: None, keep } => kept(b'c', *keep, Vec::new()),
        Settlement::Complete { result: Some(result), keep } => {
            kept(b'C', *keep, Vec::new());
            return (head.into(), result.clone());
        }
        Settlement::Die { reason, failure, keep } => kept(b'd', *keep, end(reason, Some(failure))),
        Settlement::Cancel { reason, failure, keep } => kept(b'x', *keep, end(reason, failure.as_ref())),
        Settlement::Retry { when, failure } => {
            head.put_u8(b't');
            record::put_when(&mut head, *when);
            notes::failure_bytes(failure)
        }
        Settlement::Snooze { when, hold } => {
            head.put_u8(b's');
            record::put_when(&mut head, *when);
            hold.map_or_else(Vec::new, |hold| micros(hold).to_be_bytes().to_vec())
        }
        _ => kept(b'l', Duration::ZERO, Vec::new()),
    };
    (head.into(), body.into())
}

/// Why a job ends: its reason behind the length of that, and its failure if it has one.
fn end(reason: &EndReason, failure: Option<&Failure>) -> Vec<u8> {
    let mut body = Vec::new();
    record::put_short(&mut body, reason.as_str());
    body.extend(failure.map(notes::failure_bytes).unwrap_or_default());
    body
}

/// The first part of an answer.
struct Head {
    now: Timestamp,
    fence: Fence,
    until: Timestamp,
    look_again: Option<Duration>,
    suspects_left: bool,
    outbox: bool,
    ticks: bool,
    is_watched: bool,
}

impl Head {
    fn read(mut bytes: Bytes) -> Option<Self> {
        let now = Timestamp::from_micros(bytes.try_get_i64().ok()?);
        let fence = Fence(bytes.try_get_u64().ok()?);
        let until = Timestamp::from_micros(bytes.try_get_i64().ok()?);
        let look = bytes.try_get_u64().ok()?;
        let look_again = (look != u64::MAX).then(|| Duration::from_micros(look));
        let flags = bytes.try_get_u8().ok()?;
        let [suspects_left, outbox, ticks, is_watched] = [1, 2, 4, 8].map(|flag| flags & flag != 0);
        Some(Self { now, fence, until, look_again, suspects_left, outbox, ticks, is_watched })
    }
}

/// What follows the head in the answer of the script; `None` if it can't be read at all.
fn exchanged(
    call: &Exchange,
    head: &Head,
    mut parts: impl Iterator<Item = Reply>,
) -> Option<Result<Exchanged, StorageError>> {
    let settled = parts.next()?.bytes()?;
    let answer = |one: &u8| match one {
        b'1' => SettleAnswer::Applied,
        b'x' => SettleAnswer::Cancelled,
        _ => SettleAnswer::Lost,
    };
    let settled: Vec<_> = settled.iter().map(answer).collect();
    let parked = parked(&parts.next()?.bytes()?)?;
    let upkept = upkept(&parts.next()?.bytes()?)?;
    let mut claimed = Vec::new();
    while let Some(part) = parts.next() {
        match claim(call, head, part, &mut parts)? {
            Ok(run) => claimed.push(run),
            Err(error) => return Some(Err(error)),
        }
    }
    let &Head { look_again, suspects_left, outbox, ticks, .. } = head;
    (settled.len() == call.settlements.len()).then_some(Ok(Exchanged {
        settled,
        claimed,
        look_again,
        suspects_left,
        parked,
        upkept,
        outbox,
        ticks,
    }))
}

fn parked(names: &[u8]) -> Option<BTreeSet<TaskName>> {
    let names = std::str::from_utf8(names).ok()?;
    names.split_terminator('\0').map(|name| TaskName::new(name).ok()).collect()
}

/// What became of jobs: the state's letter and the id of each.
fn upkept(bytes: &[u8]) -> Option<Vec<(JobId, State)>> {
    let (jobs, []) = bytes.as_chunks::<17>() else { return None };
    let job =
        |[letter, id @ ..]: &[u8; 17]| Some((JobId::from_u128(u128::from_be_bytes(*id)), record::state(*letter)?));
    jobs.iter().map(job).collect()
}

/// Ids that stand one after the other.
pub(crate) fn ids(bytes: &[u8]) -> Option<Vec<JobId>> {
    let (ids, []) = bytes.as_chunks::<16>() else { return None };
    Some(ids.iter().map(|id| JobId::from_u128(u128::from_be_bytes(*id))).collect())
}

/// A claimed job that is as it was taken in but for the claim.
fn first_run(call: &Exchange, head: &Head, id: JobId, stored: Bytes) -> Result<Claimed, StorageError> {
    let mut job = record::job(&call.shard, id, stored, b"", Rest::default())?;
    job.lease = Some(Lease { worker: call.worker, fence: head.fence, until: head.until, delivered: false });
    (job.state, job.worker) = (State::Running, Some(call.worker));
    (job.started_at, job.first_started_at) = (Some(head.now), Some(head.now));
    Ok(Claimed::new(job, head.fence, Vec::new()))
}

/// One claimed job, from its parts.
fn claim(
    call: &Exchange,
    head: &Head,
    first: Reply,
    parts: &mut impl Iterator<Item = Reply>,
) -> Option<Result<Claimed, StorageError>> {
    let mut mark = first.bytes()?;
    let id = JobId::from_u128(mark.try_get_u128().ok()?);
    let stored = parts.next()?.bytes()?;
    if mark.is_empty() {
        return Some(first_run(call, head, id, stored));
    }
    let flags = *mark.get(1)?;
    let failure = if flags & record::FAILED == 0 { None } else { Some(parts.next()?.bytes()?) };
    let noted = if flags & record::NOTED == 0 { None } else { Some((parts.next()?, parts.next()?)) };
    let (history, progress) = noted.map(|(history, progress)| (history.bytes(), progress.bytes())).unwrap_or_default();
    let limits = if record::is_limited(&mark) { Some(parts.next()?.bytes()?) } else { None };
    let rest = Rest { lease_until: Some(head.until), failure, history, progress, limits, ..Rest::default() };
    let job = match record::job(&call.shard, id, stored, &mark, rest) {
        Ok(job) => job,
        Err(error) => return Some(Err(error)),
    };
    let inputs = if record::is_tied(&mark) { inputs::take(&job.waits_for, parts)? } else { Vec::new() };
    Some(Ok(Claimed::new(job, head.fence, inputs)))
}
