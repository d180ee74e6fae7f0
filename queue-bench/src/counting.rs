//! A storage that counts what is asked of another.

use std::array;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use queue::storage::model::{Input, JobId, Key, Shard, State, WorkerId};
use queue::storage::storage::{
    Act, Acted, Admission, Claim, Control, Controls, Counts, Enqueue, EnqueueCall, Exchange, Exchanged, Inputs,
    JobPage, JobQuery, Listener, Lookup, Maintain, Notify, Operate, Outbox, Receipt, Renewal, Renewed, Retention,
    ScheduleChange, SchedulePage, ScheduleQuery, Step, Storage, StorageError, Ticked, Topic, Usage, Watch,
    WorkerRecord,
};
use tokio::sync::watch;

/// The methods that are calls; `listen` is none, as it answers at once and by itself.
#[derive(Clone, Copy, Debug)]
enum Method {
    Enqueue,
    Register,
    Deregister,
    Exchange,
    Renew,
    Prune,
    Outbox,
    Deliver,
    Tick,
    Get,
    Inputs,
    List,
    Counts,
    Shards,
    Workers,
    Act,
    Control,
    Controls,
    Schedules,
    Usage,
    Ping,
    Announce,
}

/// The methods' names, in their order.
const NAMES: [&str; 22] = [
    "enqueue",
    "register",
    "deregister",
    "exchange",
    "renew",
    "prune",
    "outbox",
    "deliver",
    "tick",
    "get",
    "inputs",
    "list",
    "counts",
    "shards",
    "workers",
    "act",
    "control",
    "controls",
    "schedules",
    "usage",
    "ping",
    "announce",
];

/// Passes every call on, and counts it.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: Arc<dyn Storage>,
    begun: [AtomicU64; NAMES.len()],
    ended: AtomicU64,
    /// Settlements that were written.
    settled: watch::Sender<u64>,
}

/// Calls so far, by method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls([u64; NAMES.len()]);

impl Counting {
    pub(crate) fn new(inner: Arc<dyn Storage>) -> Self {
        let begun = array::from_fn(|_| AtomicU64::new(0));
        Self { inner, begun, ended: AtomicU64::new(0), settled: watch::Sender::new(0) }
    }

    pub(crate) fn calls(&self) -> Calls {
        Calls(array::from_fn(|at| self.begun[at].load(Ordering::Relaxed)))
    }

    /// Whether a call is under way.
    pub(crate) fn is_busy(&self) -> bool {
        let ended = self.ended.load(Ordering::Acquire);
        self.calls().total() > ended
    }

    pub(crate) fn settled(&self) -> u64 {
        *self.settled.borrow()
    }

    /// Waits until so many settlements were written.
    pub(crate) async fn settles(&self, jobs: u64) {
        // The sender lives as long as this.
        let _ = self.settled.subscribe().wait_for(|settled| *settled >= jobs).await;
    }

    async fn pass<T>(&self, method: Method, call: impl Future<Output = T>) -> T {
        self.begun[method as usize].fetch_add(1, Ordering::Relaxed);
        let answer = call.await;
        self.ended.fetch_add(1, Ordering::Release);
        answer
    }
}

impl Calls {
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self(array::from_fn(|at| self.0[at] - before.0[at]))
    }

    /// The methods that were called, and how often.
    pub(crate) fn by_method(&self) -> BTreeMap<String, u64> {
        let called = NAMES.into_iter().zip(self.0).filter(|(_, calls)| *calls > 0);
        called.map(|(name, calls)| (name.to_owned(), calls)).collect()
    }
}

#[async_trait]
impl Enqueue for Counting {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        self.pass(Method::Enqueue, self.inner.enqueue(call)).await
    }
}

#[async_trait]
impl Claim for Counting {
    async fn register(&self, worker: WorkerRecord) -> Result<(), StorageError> {
        self.pass(Method::Register, self.inner.register(worker)).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StorageError> {
        self.pass(Method::Deregister, self.inner.deregister(worker)).await
    }

    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError> {
        let answer = self.pass(Method::Exchange, self.inner.exchange(call)).await?;
        let written = answer.settled.iter().filter(|answer| answer.is_written()).count() as u64;
        if written > 0 {
            self.settled.send_modify(|settled| *settled += written);
        }
        Ok(answer)
    }

    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError> {
        self.pass(Method::Renew, self.inner.renew(call)).await
    }
}

#[async_trait]
impl Maintain for Counting {
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError> {
        self.pass(Method::Prune, self.inner.prune(shard, retention)).await
    }

    async fn outbox(&self, shard: &Shard, sent: &[Receipt]) -> Result<Outbox, StorageError> {
        self.pass(Method::Outbox, self.inner.outbox(shard, sent)).await
    }

    async fn deliver(&self, shard: &Shard, deliveries: &[(JobId, Input)]) -> Result<Vec<Option<State>>, StorageError> {
        self.pass(Method::Deliver, self.inner.deliver(shard, deliveries)).await
    }

    async fn tick(&self, shard: &Shard, changes: &[ScheduleChange]) -> Result<Ticked, StorageError> {
        self.pass(Method::Tick, self.inner.tick(shard, changes)).await
    }
}

#[async_trait]
impl Operate for Counting {
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError> {
        self.pass(Method::Get, self.inner.get(id)).await
    }

    async fn inputs(&self, id: JobId) -> Result<Option<Inputs>, StorageError> {
        self.pass(Method::Inputs, self.inner.inputs(id)).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        self.pass(Method::List, self.inner.list(query)).await
    }

    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError> {
        self.pass(Method::Counts, self.inner.counts(shard)).await
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        self.pass(Method::Shards, self.inner.shards()).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        self.pass(Method::Workers, self.inner.workers()).await
    }

    async fn act(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError> {
        self.pass(Method::Act, self.inner.act(shard, ids, act)).await
    }

    async fn control(&self, shard: &Shard, change: &Control) -> Result<bool, StorageError> {
        self.pass(Method::Control, self.inner.control(shard, change)).await
    }

    async fn controls(&self, shard: &Shard) -> Result<Controls, StorageError> {
        self.pass(Method::Controls, self.inner.controls(shard)).await
    }

    async fn schedules(&self, shard: &Shard, query: &ScheduleQuery) -> Result<SchedulePage, StorageError> {
        self.pass(Method::Schedules, self.inner.schedules(shard, query)).await
    }

    async fn usage(&self, shard: &Shard, key: &Key) -> Result<Usage, StorageError> {
        self.pass(Method::Usage, self.inner.usage(shard, key)).await
    }
}

#[async_trait]
impl Notify for Counting {
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
        self.pass(Method::Announce, self.inner.announce(news)).await
    }
}

#[async_trait]
impl Storage for Counting {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.pass(Method::Ping, self.inner.ping()).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
