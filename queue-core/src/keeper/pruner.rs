//! Removes ended jobs whose time has passed.

use std::sync::Arc;

use queue_storage::model::Shard;

use crate::engine::Engine;

/// Prunes the shards now and then, for ever.
pub(crate) async fn prune_for_ever(engine: Arc<Engine>, shards: Arc<[Shard]>) {
    loop {
        // Spread, so that many workers do not prune at once.
        engine.sleep(engine.config.prune_every.mul_f64(0.5 + fastrand::f64())).await;
        for shard in shards.iter() {
            prune(&engine, shard).await;
        }
    }
}

/// Prunes one shard until there is nothing left to remove; what fails is made up for the next time.
async fn prune(engine: &Engine, shard: &Shard) {
    loop {
        match engine.storage().prune(shard, engine.config.retention).await {
            Ok(step) => {
                let more = step.more && step.done > 0;
                engine.deaths.tell(engine, step.died);
                if !more {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, queue = %shard, "not pruned");
                return;
            }
        }
    }
}
