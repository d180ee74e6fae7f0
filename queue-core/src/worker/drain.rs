//! Waits until there is nothing left to do.

use queue_storage::model::{Shard, State};
use queue_storage::storage::StorageError;

use super::courier::Desk;
use super::slots::Slots;
use crate::engine::Engine;

/// Waits until the shards hold nothing that is ready, due or running, nor anything in their outboxes, and no lane thinks
/// otherwise: a lane finds parked jobs that its worker can run, which counts can't tell from those it can't.
pub(super) async fn drained(engine: &Engine, slots: &Slots, desks: &[Desk], shards: &[Shard]) {
    let mut changes = slots.watch();
    let rounds = || desks.iter().map(Desk::rounds).sum::<u64>();
    loop {
        changes.mark_unchanged();
        let idle = engine.client.is_immediate() || slots.are_idle();
        let before = rounds();
        // What is carried while it looks may come to a shard that it has looked at already.
        if idle && are_empty(engine, shards).await && before == rounds() {
            return;
        }
        tokio::select! {
            _ = changes.changed() => {}
            // Other workers may run jobs of these queues, and nobody tells when they have ended.
            () = engine.sleep(engine.config.drain_look_every) => {}
        }
    }
}

async fn are_empty(engine: &Engine, shards: &[Shard]) -> bool {
    for shard in shards {
        match is_empty(engine, shard).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                tracing::debug!(%error, queue = %shard, "can't tell whether it is drained");
                return false;
            }
        }
    }
    true
}

async fn is_empty(engine: &Engine, shard: &Shard) -> Result<bool, StorageError> {
    let counts = engine.storage().counts(shard).await?;
    let ready = counts.of(State::Ready).saturating_sub(counts.parked);
    if ready + counts.due + counts.of(State::Running) > 0 {
        return Ok(false);
    }
    // What stands in an outbox counts as parked.
    if counts.parked == 0 {
        return Ok(true);
    }
    let outbox = engine.storage().outbox(shard, &[]).await?;
    Ok(outbox.parcels.is_empty() && !outbox.more)
}
