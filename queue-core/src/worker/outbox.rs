//! What waits to be settled.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use queue_storage::model::{Settled, Settlement};
use queue_storage::storage::MAX_SETTLEMENTS;
use tokio::sync::Notify;

use crate::engine::{Engine, RunFacts, Signals};

/// An exchange carries no further settlement once the results in it hold this many bytes.
const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;

/// What waits to be settled in one shard.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Never locked across an await.
    settled: Mutex<VecDeque<(Settled, RunFacts)>>,
    arrived: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Settled, RunFacts)>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, settled: Settled, run: RunFacts) {
        self.lock().push_back((settled, run));
        self.arrived.notify_one();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// As many as fit one exchange, with what there is to tell of each.
    pub(super) fn take(&self) -> (Vec<Settled>, Vec<RunFacts>) {
        let mut waiting = self.lock();
        let (mut batch, mut runs, mut bytes) = (Vec::new(), Vec::new(), 0);
        while batch.len() < MAX_SETTLEMENTS && bytes < MAX_RESULT_BYTES {
            let Some((next, run)) = waiting.pop_front() else { break };
            if let Settlement::Complete { result: Some(result), .. } = &next.settlement {
                bytes += result.len();
            }
            batch.push(next);
            runs.push(run);
        }
        (batch, runs)
    }

    /// Waits until something has come.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes what a run came to once the run's last word has come: nothing can be said of a job that has ended.
    pub(super) async fn hand_in(&self, engine: &Engine, settled: Settled, run: RunFacts, signals: &Signals) {
        if signals.told.is_due() {
            engine.held.hurry.notify_one();
            tokio::select! {
                () = signals.told.all_sent() => {}
                () = engine.sleep(engine.config.last_word) => {}
                () = signals.lost.cancelled() => {}
            }
        }
        self.push(settled, run);
    }
}
