//! Upkeep.

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes};
use queue_storage::model::{Failure, FailureKind, Input, JobId, Shard, State, WorkerId};
use queue_storage::storage::{
    MAX_UPKEEP, Maintain, Outbox, Parcel, Receipt, Retention, ScheduleChange, Step as Done, StorageError, Ticked,
    check_delivery, check_ticks,
};

use crate::RedisStorage;
use crate::claim::ids;
use crate::driver::Reply;
use crate::inputs;
use crate::keys;
use crate::link::{number, odd};
use crate::notes;
use crate::record::{self, micros};
use crate::scripts::Step;

#[async_trait]
impl Maintain for RedisStorage {
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Done, StorageError> {
        let mut args = self.link.args(5);
        args.extend([number(retention.traces), number(retention.dead)]);
        args.extend(unknown(&retention));
        let answer = self.link.list(Step::Prune, shard, args).await?;
        let [done, more, died, forgotten @ ..] = answer.as_slice() else { return Err(odd(Step::Prune, answer)) };
        self.forget_workers(forgotten).await?;
        let done = done.int().and_then(|done| u32::try_from(done).ok());
        let done = done.ok_or_else(|| odd(Step::Prune, &answer))?;
        let died = died.clone().bytes().and_then(|died| ids(&died)).ok_or_else(|| odd(Step::Prune, &answer))?;
        Ok(Done { done, more: more.int() == Some(1), died })
    }

    async fn outbox(&self, shard: &Shard, sent: &[Receipt]) -> Result<Outbox, StorageError> {
        if sent.len() > MAX_UPKEEP as usize {
            let count = sent.len();
            return Err(StorageError::invalid(format!("{count} receipts in one call; the most is {MAX_UPKEEP}")));
        }
        let mut args = self.link.args(sent.len());
        args.extend(sent.iter().map(member));
        let mut answer = self.link.list(Step::Outbox, shard, args).await?.into_iter();
        let more = answer.next().as_ref().and_then(Reply::int) == Some(1);
        let mut parcels = Vec::new();
        while let Some(head) = answer.next() {
            let parcel = parcel(head, &mut answer).ok_or_else(|| odd(Step::Outbox, "a parcel that can't be read"))?;
            parcels.push(parcel);
        }
        Ok(Outbox { parcels, more })
    }

    async fn deliver(&self, shard: &Shard, deliveries: &[(JobId, Input)]) -> Result<Vec<Option<State>>, StorageError> {
        check_delivery(deliveries)?;
        let mut args = self.link.args(deliveries.len() * 2);
        args.extend(deliveries.iter().flat_map(|(hold, input)| delivery(*hold, input)));
        let answer = self.link.call(Step::Deliver, shard, args).await?.bytes().unwrap_or_default();
        let states: Vec<_> = answer.iter().map(|&letter| record::state(letter)).collect();
        let fits = states.len() == deliveries.len();
        let fits = fits && answer.iter().zip(&states).all(|(letter, state)| state.is_some() || *letter == b'-');
        if fits { Ok(states) } else { Err(odd(Step::Deliver, answer)) }
    }

    async fn tick(&self, shard: &Shard, changes: &[ScheduleChange]) -> Result<Ticked, StorageError> {
        check_ticks(shard, changes)?;
        self.change_schedules(shard, changes).await
    }
}

/// A relay as a member of the outbox.
fn member(Receipt { relay, sequence }: &Receipt) -> Bytes {
    [&sequence.to_be_bytes()[2..], &relay.as_u128().to_be_bytes()].concat().into()
}

/// A parcel from its head (relay as a member of the outbox, job before it, hold, shard of that) and what was handed on.
fn parcel(head: Reply, parts: &mut impl Iterator<Item = Reply>) -> Option<Parcel> {
    let mut head = head.bytes()?;
    let sequence = head.try_get_uint(6).ok()?;
    let mut id = || head.try_get_u128().ok().map(JobId::from_u128);
    let (relay, of, to) = (id()?, id()?, id()?);
    let shard = keys::shard(std::str::from_utf8(&head).ok()?)?;
    Some(Parcel::new((relay, sequence), shard, to, inputs::take(&[of], parts)?.pop()?))
}

/// The head and the body of a delivery.
fn delivery(hold: JobId, input: &Input) -> [Bytes; 2] {
    let mut head = Vec::with_capacity(41);
    head.put_u128(hold.as_u128());
    let body = match input {
        Input::Returned(result) => {
            head.put_u8(b'r');
            result.clone()
        }
        Input::Failed(ending) => {
            head.put_u8(b'f');
            head.put_u64(ending.keep_until.map_or(0, |until| until.as_micros().unsigned_abs()));
            head.put_u128(ending.origin().as_u128());
            ending.failure.as_ref().map(notes::failure_bytes).unwrap_or_default().into()
        }
        _ => {
            head.put_u8(b'n');
            Bytes::new()
        }
    };
    [head.into(), body]
}

/// For how long a task may be unknown, and how its jobs die then: how long they are kept, and of what.
fn unknown(retention: &Retention) -> [Bytes; 3] {
    let Some(limit) = retention.unknown else { return [const { Bytes::new() }; 3] };
    let failure =
        Failure::new(FailureKind::Unknown, format!("no worker that looked at it knew its task within {limit:?}"));
    [number(micros(limit)), number(micros(retention.keep_dead)), notes::failure_bytes(&failure).into()]
}

impl RedisStorage {
    /// Strikes workers off the list that one shard has forgotten and no other has heard of lately.
    async fn forget_workers(&self, forgotten: &[Reply]) -> Result<(), StorageError> {
        let ids = forgotten.iter().filter_map(|one| <[u8; 16]>::try_from(&one.clone().bytes()?[..]).ok());
        let ids: Vec<_> = ids.map(|bytes| WorkerId::from_u128(u128::from_be_bytes(bytes))).collect();
        let names: Vec<Bytes> = ids.iter().map(|id| name(*id)).collect();
        let seen = self.link.last_calls(&names).await?;
        for (id, name) in ids.iter().zip(&names) {
            if !seen.contains_key(name) {
                let key = self.link.keys.workers();
                self.link.driver().command("HDEL", Some(key.clone()), vec![key, id.to_string().into()]).await?;
            }
        }
        Ok(())
    }
}

/// A worker among those whose last call a shard keeps.
pub(crate) fn name(worker: WorkerId) -> Bytes {
    [b"w:".as_slice(), &worker.as_u128().to_be_bytes()].concat().into()
}
