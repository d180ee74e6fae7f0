//! Waits until there is nothing left to do.

use queue_storage::model::{Shard, State};

use super::slots::Slots;
use crate::engine::Engine;

/// Waits until the shards hold nothing that is ready, due or running, and no lane thinks otherwise: a lane finds parked
/// jobs that its worker can run, which counts can't tell from those it can't.
pub(super) async fn drained(engine: &Engine, slots: &Slots, shards: &[Shard]) {
    let mut changes = slots.watch();
    loop {
        changes.mark_unchanged();
        let idle = engine.client.is_immediate() || slots.are_idle();
        if idle && are_empty(engine, shards).await {
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
        match engine.storage().counts(shard).await {
            Ok(counts) => {
                let ready = counts.of(State::Ready).saturating_sub(counts.parked);
                if ready + counts.due + counts.of(State::Running) > 0 {
                    return false;
                }
            }
            Err(error) => {
                tracing::debug!(%error, queue = %shard, "can't tell whether it is drained");
                return false;
            }
        }
    }
    true
}
