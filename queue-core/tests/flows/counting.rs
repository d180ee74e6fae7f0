//! A storage in memory that counts calls, and refuses some.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use queue_storage::memory::MemoryStorage;
use queue_storage::model::{Input, JobId, Key, Shard, State, WorkerId};
use queue_storage::storage::*;
use tokio::sync::{Notify, Semaphore, watch};

#[derive(Debug, Default)]
pub(crate) struct Counting {
    inner: MemoryStorage,
    calls: watch::Sender<HashMap<String, u32>>,
    /// What keeps calls waiting.
    gates: Mutex<HashMap<&'static str, Arc<Semaphore>>>,
    /// How many calls of a method are still refused.
    refusals: Mutex<HashMap<&'static str, u32>>,
    refused: Notify,
}

impl Counting {
    pub(crate) fn calls(&self, method: &str) -> u32 {
        self.calls.borrow().get(method).copied().unwrap_or(0)
    }

    /// Waits until such a call has come.
    pub(crate) async fn called(&self, method: &str) {
        self.calls.subscribe().wait_for(|calls| calls.contains_key(method)).await.unwrap();
    }

    /// Keeps such calls waiting.
    pub(crate) fn close_gate(&self, method: &'static str) {
        self.gates.lock().unwrap().insert(method, Arc::new(Semaphore::new(0)));
    }

    /// Lets them go on.
    pub(crate) fn open_gate(&self, method: &'static str) {
        self.gates.lock().unwrap().remove(method).unwrap().close();
    }

    pub(crate) fn refuse(&self, method: &'static str, times: u32) {
        self.refusals.lock().unwrap().insert(method, times);
    }

    /// Waits until a call was refused.
    pub(crate) async fn refused(&self) {
        self.refused.notified().await;
    }

    async fn count(&self, method: &str) -> Result<(), StorageError> {
        self.calls.send_modify(|calls| *calls.entry(method.to_owned()).or_default() += 1);
        let gate = self.gates.lock().unwrap().get(method).cloned();
        if let Some(gate) = gate {
            // A gate that is opened is closed as a semaphore.
            drop(gate.acquire().await);
        }
        match self.refusals.lock().unwrap().get_mut(method) {
            Some(left @ 1..) => {
                *left -= 1;
                self.refused.notify_one();
                Err(StorageError::unavailable(format!("{method} is refused")))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Enqueue for Counting {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        self.inner.enqueue(call).await
    }
}

#[async_trait]
impl Claim for Counting {
    async fn register(&self, worker: WorkerRecord) -> Result<(), StorageError> {
        self.inner.register(worker).await
    }
    async fn deregister(&self, worker: WorkerId) -> Result<(), StorageError> {
        self.inner.deregister(worker).await
    }
    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError> {
        self.count(&format!("exchange {}", call.shard.queue)).await?;
        self.inner.exchange(call).await
    }
    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError> {
        self.inner.renew(call).await
    }
}

#[async_trait]
impl Maintain for Counting {
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError> {
        self.inner.prune(shard, retention).await
    }
    async fn outbox(&self, shard: &Shard, sent: &[Receipt]) -> Result<Outbox, StorageError> {
        self.count("outbox").await?;
        self.inner.outbox(shard, sent).await
    }
    async fn deliver(&self, shard: &Shard, deliveries: &[(JobId, Input)]) -> Result<Vec<Option<State>>, StorageError> {
        self.count("deliver").await?;
        self.inner.deliver(shard, deliveries).await
    }
    async fn tick(&self, shard: &Shard, changes: &[ScheduleChange]) -> Result<Ticked, StorageError> {
        self.count("tick").await?;
        self.inner.tick(shard, changes).await
    }
}

#[async_trait]
impl Operate for Counting {
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError> {
        self.count("get").await?;
        self.inner.get(id).await
    }
    async fn inputs(&self, id: JobId) -> Result<Option<Inputs>, StorageError> {
        self.count("inputs").await?;
        self.inner.inputs(id).await
    }
    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        self.inner.list(query).await
    }
    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError> {
        self.count(&format!("counts {}", shard.queue)).await?;
        self.inner.counts(shard).await
    }
    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        self.inner.shards().await
    }
    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        self.inner.workers().await
    }
    async fn act(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError> {
        self.inner.act(shard, ids, act).await
    }
    async fn control(&self, shard: &Shard, change: &Control) -> Result<bool, StorageError> {
        self.inner.control(shard, change).await
    }
    async fn controls(&self, shard: &Shard) -> Result<Controls, StorageError> {
        self.inner.controls(shard).await
    }

    async fn schedules(&self, shard: &Shard, query: &ScheduleQuery) -> Result<SchedulePage, StorageError> {
        self.inner.schedules(shard, query).await
    }

    async fn usage(&self, shard: &Shard, key: &Key) -> Result<Usage, StorageError> {
        self.inner.usage(shard, key).await
    }
}

#[async_trait]
impl queue_storage::storage::Notify for Counting {
    fn listen(&self, topic: Topic) -> Listener {
        self.inner.listen(topic)
    }

    async fn watch(&self) -> Result<Watch, StorageError> {
        self.inner.watch().await
    }

    fn is_watched(&self, shard: &Shard) -> bool {
        self.inner.is_watched(shard)
    }

    async fn announce(&self, news: Bytes) -> Result<(), StorageError> {
        self.inner.announce(news).await
    }
}

#[async_trait]
impl Storage for Counting {
    fn location(&self) -> String {
        self.inner.location()
    }
    async fn ping(&self) -> Result<(), StorageError> {
        self.inner.ping().await
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}
