//! A courier for each shard that a worker serves: what jobs there handed on to jobs of other shards is carried as soon as
//! an exchange tells that there is some.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use queue_storage::model::Shard;
use tokio::sync::Notify;

use crate::engine::courier::carry;
use crate::engine::{Backoff, Engine};

/// What a lane and the courier of its shard know of the outbox.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Something stands in it, as an exchange told.
    noted: AtomicBool,
    /// How often something was carried.
    rounds: AtomicU64,
    wake: Notify,
}

impl Desk {
    /// Something stands in the outbox.
    pub(super) fn note(&self) {
        self.noted.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// How often something was carried.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Acquire)
    }

    async fn noted(&self) {
        while !self.noted.load(Ordering::Acquire) {
            self.wake.notified().await;
        }
    }
}

/// Carries what stands in the outbox of a shard whenever there is some, for ever.
pub(super) async fn carry_for_ever(engine: Arc<Engine>, shard: Shard, desks: Arc<[Desk]>, index: usize) {
    let desk = &desks[index];
    loop {
        desk.noted().await;
        carry_all(&engine, &shard, desk).await;
    }
}

/// Carries until nothing is left.
async fn carry_all(engine: &Engine, shard: &Shard, desk: &Desk) {
    let (mut sent, mut backoff) = (Vec::new(), Backoff::new());
    loop {
        // What is noted from here on may have come after this look.
        desk.noted.store(false, Ordering::Release);
        match carry(engine, shard, &mut sent).await {
            Ok(targets) if targets.is_empty() => return,
            Ok(_) => {
                desk.rounds.fetch_add(1, Ordering::AcqRel);
                backoff = Backoff::new();
            }
            Err(error) => {
                let pause = backoff.pause();
                tracing::warn!(%error, queue = %shard, ?pause, "can't carry what others wait for: trying again");
                engine.sleep(pause).await;
            }
        }
    }
}
