//! Immediate mode: `enqueue` runs the job at once, with the same executor a worker uses.
//!
//! Time does not pass in it: a failed job is retried at once, and a job that is scheduled for later stays scheduled.

use std::sync::Arc;

use async_trait::async_trait;
use queue_storage::model::{Claimed, Settled, Settlement, Shard, TaskName, When, WorkerId};
use queue_storage::storage::{Exchange, StorageError};
use tokio_util::sync::CancellationToken;

use super::{Engine, Registry, WorkerConfig, executor};
use crate::client::{Client, Inline};
use crate::data::DataMap;

/// Runs jobs inside `enqueue`, as the worker it was made of would. It is a worker without the client, which holds it.
#[derive(Debug)]
pub(crate) struct Immediate {
    id: WorkerId,
    config: WorkerConfig,
    registry: Arc<Registry>,
    data: Arc<DataMap>,
    /// The number of the last exchange, and the order of exchanges; held for one call at a time and never over a run, so
    /// that a task can enqueue.
    turn: tokio::sync::Mutex<u64>,
}

impl Immediate {
    pub(crate) fn of(engine: &Engine) -> Self {
        Self {
            id: engine.id,
            config: engine.config,
            registry: Arc::clone(&engine.registry),
            data: Arc::clone(&engine.data),
            turn: tokio::sync::Mutex::default(),
        }
    }

    async fn exchange(
        &self,
        engine: &Engine,
        shard: &Shard,
        settlements: Vec<Settled>,
    ) -> Result<Vec<Claimed>, StorageError> {
        let mut number = self.turn.lock().await;
        if *number == 0 {
            engine.register(vec![shard.clone()]).await?;
        }
        *number += 1;
        let call =
            Exchange { worker: engine.id, shard: shard.clone(), number: *number, settlements, want: 1, suspects: 1 };
        match engine.storage().exchange(call.clone()).await {
            Err(error) if error.is_unknown_worker() => {
                engine.register(vec![shard.clone()]).await?;
                Ok(engine.storage().exchange(call).await?.claimed)
            }
            answer => Ok(answer?.claimed),
        }
    }
}

#[async_trait]
impl Inline for Immediate {
    fn check(&self, task: &TaskName) -> Result<(), String> {
        match self.registry.get(task) {
            Some(_) => Ok(()),
            None => Err(format!(
                "this client is in immediate mode, and its worker does not know task `{task}`: add it to the worker's \
                 `.tasks(tasks![…])`"
            )),
        }
    }

    async fn run(self: Arc<Self>, client: Client, shard: Shard) -> Result<(), StorageError> {
        let (registry, data) = (Arc::clone(&self.registry), Arc::clone(&self.data));
        let engine = Engine::new(self.id, client, self.config, registry, data);
        let mut settlements = Vec::new();
        loop {
            let settled = settlements.is_empty();
            let claimed = self.exchange(&engine, &shard, std::mem::take(&mut settlements)).await?;
            if claimed.is_empty() && settled {
                return Ok(());
            }
            for job in claimed {
                // A task that enqueues comes back here.
                settlements.extend(executor::execute(&engine, job, CancellationToken::new()).await.map(at_once));
            }
        }
    }
}

/// Time does not pass: what would be retried later is retried at once.
fn at_once(mut settled: Settled) -> Settled {
    if let Settlement::Retry { when, .. } = &mut settled.settlement {
        *when = When::Now;
    }
    settled
}
