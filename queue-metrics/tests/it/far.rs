//! A storage in memory that is far away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use queue_core::{Client, JobId, Storage, WorkerId};
use queue_storage::memory::MemoryStorage;
use queue_storage::model::{Input, Key, Shard, State};
use queue_storage::storage::{
    Act, Acted, Admission, Claim, Control, Controls, Counts, Enqueue, EnqueueCall, Exchange, Exchanged, Inputs,
    JobPage, JobQuery, Listener, Lookup, Maintain, Notify, Operate, Outbox, Receipt, Renewal, Renewed, Retention,
    ScheduleChange, SchedulePage, ScheduleQuery, Step, StorageError, Ticked, Topic, Usage, Watch, WorkerRecord,
};

/// Each call takes some time, however many are under way.
#[derive(Debug)]
pub(crate) struct Far {
    inner: MemoryStorage,
    millis: AtomicU64,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

impl Far {
    pub(crate) fn new() -> (Arc<Self>, Client) {
        let (under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let far = Arc::new(Self { inner: MemoryStorage::new(), millis: AtomicU64::new(0), under_way, most });
        let storage: Arc<dyn Storage> = Arc::clone(&far) as _;
        (far, Client::new(storage))
    }

    /// From now on a call takes so long.
    pub(crate) fn takes(&self, time: Duration) {
        self.millis.store(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// The most calls that were under way at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    async fn carry<T>(&self, run: impl Future<Output = Result<T, StorageError>> + Send) -> Result<T, StorageError> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(self.millis.load(Ordering::SeqCst))).await;
        let answer = run.await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

#[async_trait]
impl Enqueue for Far {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        self.carry(self.inner.enqueue(call)).await
    }
}

#[async_trait]
impl Claim for Far {
    async fn register(&self, worker: WorkerRecord) -> Result<(), StorageError> {
        self.carry(self.inner.register(worker)).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StorageError> {
        self.carry(self.inner.deregister(worker)).await
    }

    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError> {
        self.carry(self.inner.exchange(call)).await
    }

    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError> {
        self.carry(self.inner.renew(call)).await
    }
}

#[async_trait]
impl Maintain for Far {
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError> {
        self.carry(self.inner.prune(shard, retention)).await
    }

    async fn outbox(&self, shard: &Shard, sent: &[Receipt]) -> Result<Outbox, StorageError> {
        self.carry(self.inner.outbox(shard, sent)).await
    }

    async fn deliver(&self, shard: &Shard, deliveries: &[(JobId, Input)]) -> Result<Vec<Option<State>>, StorageError> {
        self.carry(self.inner.deliver(shard, deliveries)).await
    }

    async fn tick(&self, shard: &Shard, changes: &[ScheduleChange]) -> Result<Ticked, StorageError> {
        self.carry(self.inner.tick(shard, changes)).await
    }
}

#[async_trait]
impl Operate for Far {
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError> {
        self.carry(self.inner.get(id)).await
    }

    async fn inputs(&self, id: JobId) -> Result<Option<Inputs>, StorageError> {
        self.carry(self.inner.inputs(id)).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        self.carry(self.inner.list(query)).await
    }

    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError> {
        self.carry(self.inner.counts(shard)).await
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        self.carry(self.inner.shards()).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        self.carry(self.inner.workers()).await
    }

    async fn act(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError> {
        self.carry(self.inner.act(shard, ids, act)).await
    }

    async fn control(&self, shard: &Shard, change: &Control) -> Result<bool, StorageError> {
        self.carry(self.inner.control(shard, change)).await
    }

    async fn controls(&self, shard: &Shard) -> Result<Controls, StorageError> {
        self.carry(self.inner.controls(shard)).await
    }

    async fn schedules(&self, shard: &Shard, query: &ScheduleQuery) -> Result<SchedulePage, StorageError> {
        self.carry(self.inner.schedules(shard, query)).await
    }

    async fn usage(&self, shard: &Shard, key: &Key) -> Result<Usage, StorageError> {
        self.carry(self.inner.usage(shard, key)).await
    }
}

#[async_trait]
impl Notify for Far {
    fn listen(&self, topic: Topic) -> Listener {
        self.inner.listen(topic)
    }

    async fn watch(&self) -> Result<Watch, StorageError> {
        self.carry(self.inner.watch()).await
    }

    fn is_watched(&self, shard: &Shard) -> bool {
        self.inner.is_watched(shard)
    }

    async fn announce(&self, news: Bytes) -> Result<(), StorageError> {
        self.carry(self.inner.announce(news)).await
    }
}

#[async_trait]
impl Storage for Far {
    fn location(&self) -> String {
        "far://away".to_owned()
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.carry(self.inner.ping()).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
