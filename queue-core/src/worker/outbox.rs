//! What waits to be settled.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use queue_storage::model::{Settled, Settlement};
use queue_storage::storage::MAX_SETTLEMENTS;
use tokio::sync::Notify;

use crate::engine::{Engine, Signals};

/// An exchange carries no further settlement once the results in it hold this many bytes.
const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;

/// What waits to be settled in one shard.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Never locked across an await.
    settled: Mutex<VecDeque<Settled>>,
    arrived: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Settled>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, settled: Settled) {
        self.lock().push_back(settled);
        self.arrived.notify_one();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// As many as fit one exchange.
    pub(super) fn take(&self) -> Vec<Settled> {
        let mut waiting = self.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < MAX_SETTLEMENTS && bytes < MAX_RESULT_BYTES {
            let Some(next) = waiting.pop_front() else { break };
            if let Settlement::Complete { result: Some(result), .. } = &next.settlement {
                bytes += result.len();
            }
            batch.push(next);
        }
        batch
    }

    /// Waits until something has come.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes what a run came to once the run's last word has come: nothing can be said of a job that has ended.
    pub(super) async fn hand_in(&self, engine: &Engine, settled: Option<Settled>, signals: &Signals) {
        let Some(settled) = settled else { return };
        if signals.told.is_due() {
            engine.held.hurry.notify_one();
            tokio::select! {
                () = signals.told.all_sent() => {}
                () = engine.sleep(engine.config.last_word) => {}
                () = signals.lost.cancelled() => {}
            }
        }
        self.push(settled);
    }
}
