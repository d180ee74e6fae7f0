//! Upkeep.

use async_trait::async_trait;
use bytes::Bytes;
use queue_storage::model::{Failure, FailureKind, Shard, WorkerId};
use queue_storage::storage::{Maintain, Retention, Step as Done, StorageError};

use crate::RedisStorage;
use crate::claim::ids;
use crate::driver::Reply;
use crate::link::{number, odd};
use crate::notes;
use crate::record::micros;
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
