//! What is where now.

use std::collections::BTreeMap;

use queue_storage::model::{QueueName, Shard, State, WorkerId};
use queue_storage::storage::{Controls, Counts, JobQuery, MAX_PAGE, StorageError, WorkerRecord};

use super::listing::Walk;
use crate::client::Client;

/// Every queue and every worker: what [`Client::overview`] returns.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Overview {
    /// The queues that ever took a job in, by name.
    pub queues: Vec<QueueOverview>,
    /// The workers the storage knows.
    pub workers: Vec<WorkerOverview>,
}

/// A queue: what [`Queue::overview`](crate::Queue::overview) returns.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueOverview {
    /// Its name.
    pub name: QueueName,
    /// How many jobs it holds, by state, and how many have ended there.
    pub counts: Counts,
    /// Its pauses and revocations.
    pub controls: Controls,
}

impl QueueOverview {
    pub(super) async fn of(client: &Client, shard: Shard) -> Result<Self, StorageError> {
        let counts = client.storage().counts(&shard).await?;
        let controls = client.storage().controls(&shard).await?;
        Ok(Self { name: shard.queue, counts, controls })
    }
}

/// A worker.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WorkerOverview {
    /// What it said of itself.
    pub record: WorkerRecord,
    /// Whether it has called within the last minute, or within its lease where that is longer.
    pub live: bool,
    /// How many jobs it runs.
    pub running: u64,
    /// The queues in which it is paused.
    pub paused_in: Vec<QueueName>,
}

impl Client {
    /// Every queue with its counts, pauses and revocations, and every worker with how much it runs.
    ///
    /// It looks at each job that runs, so its cost grows with how much the workers do at once; for one queue,
    /// [`Queue::overview`](crate::Queue::overview) costs little.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = queue_core::Client::memory();
    /// for queue in client.overview().await?.queues {
    ///     println!("{}: {} to do, paused: {}", queue.name, queue.counts.pending(), queue.controls.queue.is_some());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn overview(&self) -> Result<Overview, StorageError> {
        let mut queues = Vec::new();
        for shard in self.storage().shards().await? {
            queues.push(QueueOverview::of(self, shard).await?);
        }
        let running = self.running().await?;
        let now = self.clock().now();
        let records = self.workers().await?.into_iter();
        let workers = records.map(|record| {
            let paused = |queue: &&QueueOverview| queue.controls.workers.contains_key(&record.id);
            let paused_in = queues.iter().filter(paused).map(|queue| queue.name.clone()).collect();
            let running = running.get(&record.id).copied().unwrap_or(0);
            WorkerOverview { live: record.is_live(now), running, paused_in, record }
        });
        let workers = workers.collect();
        Ok(Overview { queues, workers })
    }

    async fn running(&self) -> Result<BTreeMap<WorkerId, u64>, StorageError> {
        let mut query = JobQuery::default();
        (query.state, query.limit) = (Some(State::Running), MAX_PAGE);
        let mut walk = Walk::new(self.clone(), vec![query]);
        let mut running = BTreeMap::new();
        while let Some(jobs) = walk.next_page().await? {
            for worker in jobs.iter().filter_map(|job| job.worker) {
                *running.entry(worker).or_default() += 1;
            }
        }
        Ok(running)
    }
}
