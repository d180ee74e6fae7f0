//! Immediate mode: `enqueue` runs the job at once, with the same executor a worker uses.
//!
//! Time does not pass in it: a failed job is retried at once, and a job that is scheduled for later stays scheduled.

use std::sync::{Arc, PoisonError, RwLock};

use queue_storage::memory::MemoryStorage;
use queue_storage::model::{Claimed, Settled, Settlement, Shard, TaskName, When, WorkerId};
use queue_storage::storage::{Exchange, StorageError};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::data::DataMap;
use crate::list::TaskList;
use crate::worker::config::WorkerConfig;
use crate::worker::engine::Engine;
use crate::worker::registry::Registry;
use crate::worker::{BuildError, Worker, WorkerBuilder, executor};

/// The tasks an immediate client runs: those of the worker built on it last.
#[derive(Debug, Default)]
pub(crate) struct Immediate {
    kit: RwLock<Option<Kit>>,
    /// The number of the last exchange, and the order of exchanges; held for one call at a time and never over a run, so
    /// that a task can enqueue.
    turn: tokio::sync::Mutex<u64>,
}

/// A worker without its client, which holds this.
#[derive(Clone, Debug)]
struct Kit {
    id: WorkerId,
    config: WorkerConfig,
    registry: Arc<Registry>,
    data: Arc<DataMap>,
}

impl Immediate {
    /// Runs this worker's tasks from now on.
    pub(crate) fn attach(&self, engine: &Engine) {
        let kit = Kit {
            id: engine.id,
            config: engine.config,
            registry: Arc::clone(&engine.registry),
            data: Arc::clone(&engine.data),
        };
        *self.kit.write().unwrap_or_else(PoisonError::into_inner) = Some(kit);
    }

    /// Says no before anything is stored, if no worker here knows the task.
    pub(crate) fn check(&self, task: &TaskName) -> Result<(), String> {
        let kit = self.kit.read().unwrap_or_else(PoisonError::into_inner);
        let Some(kit) = &*kit else {
            return Err("this client is in immediate mode, but no worker has been built on it yet, so nothing knows how to \
                        run a task: build one with `Worker::builder(&client)` first"
                .to_owned());
        };
        match kit.registry.get(task) {
            Some(_) => Ok(()),
            None => Err(format!(
                "this client is in immediate mode, and its worker does not know task `{task}`: add it to the worker's \
                 `.tasks(tasks![…])`"
            )),
        }
    }

    /// Runs what is ready in the shard until nothing is.
    pub(crate) async fn run(&self, client: &Client, shard: &Shard) -> Result<(), StorageError> {
        let kit = self.kit.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(kit) = kit else { return Ok(()) };
        let engine = Engine::new(kit.id, client.clone(), kit.config, kit.registry, kit.data);
        let mut settlements = Vec::new();
        loop {
            let done = settlements.is_empty();
            let claimed = self.exchange(&engine, shard, std::mem::take(&mut settlements)).await?;
            if claimed.is_empty() && done {
                return Ok(());
            }
            for job in claimed {
                // Boxed: a task that enqueues comes back here.
                let run = Box::pin(executor::execute(&engine, job, CancellationToken::new()));
                settlements.extend(run.await.map(at_once));
            }
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
        let call = Exchange {
            worker: engine.id,
            shard: shard.clone(),
            number: *number,
            settlements,
            want: 1,
            suspects: 1,
        };
        match engine.storage().exchange(call.clone()).await {
            Err(error) if error.is_unknown_worker() => {
                engine.register(vec![shard.clone()]).await?;
                Ok(engine.storage().exchange(call).await?.claimed)
            }
            answer => Ok(answer?.claimed),
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

/// Builds a client that runs each job at once, inside `enqueue`: what [`Client::immediate`] returns.
#[derive(Debug)]
#[must_use = "a builder does nothing until `.build()`"]
pub struct ImmediateBuilder {
    client: Client,
    worker: WorkerBuilder,
}

impl ImmediateBuilder {
    pub(crate) fn new(tasks: TaskList) -> Self {
        let client = Client::builder(Arc::new(MemoryStorage::new())).immediate().build();
        let worker = Worker::builder(&client).tasks(tasks);
        Self { client, worker }
    }

    /// Hands a value to every task that takes a `Data<T>`.
    pub fn data<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.worker = self.worker.data(value);
        self
    }

    /// Hands a shared value to every task that takes a `Data<T>`; the way to a `Data<dyn Trait>`.
    pub fn data_arc<T: ?Sized + Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        self.worker = self.worker.data_arc(value);
        self
    }

    /// The client.
    ///
    /// # Errors
    /// As [`WorkerBuilder::build`].
    pub fn build(self) -> Result<Client, BuildError> {
        self.worker.build()?;
        Ok(self.client)
    }
}
