//! What the parts of one worker share, and what runs a job.

mod backoff;
mod broken;
mod config;
pub(crate) mod courier;
mod deaths;
pub(crate) mod executor;
mod held;
mod inline;
mod inputs;
mod options;
mod registry;
mod report;
mod run;
mod telling;
mod threads;

use std::sync::Arc;
use std::time::Duration;

use queue_storage::clock::Clock;
use queue_storage::model::{LEVEL, Shard, WorkerId};
use queue_storage::storage::{Storage, StorageError, WorkerRecord};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::data::DataMap;

pub(crate) use backoff::Backoff;
use broken::Broken;
pub(crate) use config::WorkerConfig;
use deaths::Deaths;
pub(crate) use deaths::{DeathHook, died};
use held::Held;
pub(crate) use held::{Signals, Word};
pub(crate) use inline::Immediate;
pub(crate) use registry::Registry;
pub(crate) use telling::RunFacts;
pub use threads::Lingering;
pub(crate) use threads::OnThread;

/// One incarnation of a worker, seen from its parts.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) id: WorkerId,
    pub(crate) client: Client,
    pub(crate) config: WorkerConfig,
    pub(crate) registry: Arc<Registry>,
    pub(crate) data: Arc<DataMap>,
    pub(crate) held: Held,
    /// Cancelled when running jobs must end: the grace is over.
    pub(crate) cut: CancellationToken,
    /// Threads whose attempts are over.
    pub(crate) lingering: Lingering,
    /// Whether a part of the worker panicked.
    pub(crate) broken: Broken,
    /// Who is told of deaths.
    pub(crate) deaths: Deaths,
    /// Told when the storage had forgotten this worker.
    pub(crate) forgotten: Notify,
}

impl Engine {
    pub(crate) fn new(
        id: WorkerId,
        client: Client,
        config: WorkerConfig,
        registry: Arc<Registry>,
        data: Arc<DataMap>,
        hook: DeathHook,
    ) -> Self {
        let (held, cut, lingering) = (Held::default(), CancellationToken::new(), Lingering::default());
        Self {
            id,
            client,
            config,
            registry,
            data,
            held,
            cut,
            lingering,
            broken: Broken::default(),
            deaths: Deaths::new(hook),
            forgotten: Notify::new(),
        }
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        self.client.storage()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        self.client.clock()
    }

    /// Makes the worker known to the storage.
    pub(crate) async fn register(&self, shards: Vec<Shard>) -> Result<(), StorageError> {
        let now = self.clock().now();
        let record = WorkerRecord {
            id: self.id,
            host: host(),
            version: self.config.version.as_deref().map(str::to_owned),
            shards,
            tasks: self.registry.names(),
            understands: LEVEL,
            lease: self.config.lease,
            concurrency: self.config.concurrency,
            started_at: now,
            seen_at: now,
        };
        self.storage().register(record).await
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        let clock = self.clock();
        clock.sleep_until(clock.now() + duration).await;
    }
}

/// Host and process, for people.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    format!("{}:{}", name.as_deref().map_or("host", str::trim), std::process::id())
}
