//! A storage behind a bad line: chosen calls fail, before they reach it or on the way back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use queue::Storage;
use queue_storage::model::{Input, JobId, Key, Shard, State, WorkerId};
use queue_storage::storage::{
    Act, Acted, Admission, Claim, Control, Controls, Counts, Enqueue, EnqueueCall, Exchange, Exchanged, Inputs,
    JobPage, JobQuery, Listener, Lookup, Maintain, Notify, Operate, Outbox, Receipt, Renewal, Renewed, Retention,
    ScheduleChange, SchedulePage, ScheduleQuery, Step, StorageError, Ticked, Topic, Usage, Watch, WorkerRecord,
};

/// Which way a call is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lose {
    /// It never reaches the storage.
    Request,
    /// The storage carries it out, and the answer is lost.
    Reply,
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Enqueue,
    Register,
    Exchange,
    Renew,
    Act,
    Tick,
    Outbox,
    Deliver,
    Announce,
}

/// A call that is kept on the line until it is let through.
#[derive(Debug, Default)]
pub struct Stall {
    reached: tokio::sync::Notify,
    go: tokio::sync::Notify,
}

impl Stall {
    /// Waits until the call is made.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets it through.
    pub fn release(&self) {
        self.go.notify_one();
    }
}

#[derive(Debug)]
pub struct Saboteur {
    inner: Arc<dyn Storage>,
    /// The n-th call (from 1) of a kind that is kept on the line.
    stalls: Mutex<Vec<(Call, u64, Arc<Stall>)>>,
    /// What is to be lost: the n-th call (from 1) of a kind.
    plan: Mutex<VecDeque<(Call, u64, Lose)>>,
    /// The shard whose exchanges are all refused.
    broken: Mutex<Option<Shard>>,
    /// Whether hints are lost.
    deaf: AtomicBool,
    counts: [AtomicU64; 9],
    pub lost: AtomicU64,
}

impl Saboteur {
    pub fn new(inner: Arc<dyn Storage>, plan: impl IntoIterator<Item = (Call, u64, Lose)>) -> Arc<Self> {
        let plan = Mutex::new(plan.into_iter().collect());
        Arc::new(Self {
            inner,
            stalls: Mutex::default(),
            plan,
            broken: Mutex::default(),
            deaf: AtomicBool::default(),
            counts: Default::default(),
            lost: AtomicU64::new(0),
        })
    }

    /// Refuses every exchange of the shard from now on, as a storage with a damaged shard would.
    pub fn damage(&self, shard: Shard) {
        *self.broken.lock().unwrap() = Some(shard);
    }

    /// Loses every hint from now on.
    pub fn deafen(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// Keeps the n-th call of a kind on the line.
    pub fn stall(&self, call: Call, nth: u64) -> Arc<Stall> {
        let stall = Arc::new(Stall::default());
        self.stalls.lock().unwrap().push((call, nth, Arc::clone(&stall)));
        stall
    }

    pub fn calls(&self, call: Call) -> u64 {
        self.counts[call as usize].load(Ordering::Relaxed)
    }

    async fn fate(&self, call: Call) -> Option<Lose> {
        let nth = self.counts[call as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let stalled = |stalls: &[(Call, u64, Arc<Stall>)]| {
            stalls.iter().find(|&&(planned, n, _)| planned == call && n == nth).map(|(.., stall)| Arc::clone(stall))
        };
        let stall = stalled(&self.stalls.lock().unwrap());
        if let Some(stall) = stall {
            stall.reached.notify_one();
            stall.go.notified().await;
        }
        let mut plan = self.plan.lock().unwrap();
        let at = plan.iter().position(|&(planned, n, _)| planned == call && n == nth)?;
        self.lost.fetch_add(1, Ordering::Relaxed);
        plan.remove(at).map(|(.., lose)| lose)
    }

    async fn carry<T>(
        &self,
        call: Call,
        run: impl Future<Output = Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        let lost = || StorageError::unavailable("lost on the line");
        match self.fate(call).await {
            None => run.await,
            Some(Lose::Request) => Err(lost()),
            Some(Lose::Reply) => run.await.and_then(|_| Err(lost())),
        }
    }
}

#[async_trait]
impl Enqueue for Saboteur {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        self.carry(Call::Enqueue, self.inner.enqueue(call)).await
    }
}

#[async_trait]
impl Claim for Saboteur {
    async fn register(&self, worker: WorkerRecord) -> Result<(), StorageError> {
        self.carry(Call::Register, self.inner.register(worker)).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StorageError> {
        self.inner.deregister(worker).await
    }

    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError> {
        if self.broken.lock().unwrap().as_ref() == Some(&call.shard) {
            return Err(StorageError::corrupt("the shard is damaged"));
        }
        self.carry(Call::Exchange, self.inner.exchange(call)).await
    }

    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError> {
        self.carry(Call::Renew, self.inner.renew(call)).await
    }
}

#[async_trait]
impl Maintain for Saboteur {
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError> {
        self.inner.prune(shard, retention).await
    }

    async fn outbox(&self, shard: &Shard, sent: &[Receipt]) -> Result<Outbox, StorageError> {
        self.carry(Call::Outbox, self.inner.outbox(shard, sent)).await
    }

    async fn deliver(&self, shard: &Shard, deliveries: &[(JobId, Input)]) -> Result<Vec<Option<State>>, StorageError> {
        self.carry(Call::Deliver, self.inner.deliver(shard, deliveries)).await
    }

    async fn tick(&self, shard: &Shard, changes: &[ScheduleChange]) -> Result<Ticked, StorageError> {
        self.carry(Call::Tick, self.inner.tick(shard, changes)).await
    }
}

#[async_trait]
impl Operate for Saboteur {
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError> {
        self.inner.get(id).await
    }

    async fn inputs(&self, id: JobId) -> Result<Option<Inputs>, StorageError> {
        self.inner.inputs(id).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        self.inner.list(query).await
    }

    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError> {
        self.inner.counts(shard).await
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        self.inner.shards().await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        self.inner.workers().await
    }

    async fn act(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError> {
        self.carry(Call::Act, self.inner.act(shard, ids, act)).await
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
impl Notify for Saboteur {
    fn listen(&self, topic: Topic) -> Listener {
        if self.deaf.load(Ordering::Relaxed) {
            // One that nobody signals.
            return queue_storage::storage::Hub::default().listen(topic);
        }
        self.inner.listen(topic)
    }

    async fn watch(&self) -> Result<Watch, StorageError> {
        self.inner.watch().await
    }

    fn is_watched(&self, shard: &Shard) -> bool {
        self.inner.is_watched(shard)
    }

    async fn announce(&self, news: Bytes) -> Result<(), StorageError> {
        self.carry(Call::Announce, self.inner.announce(news)).await
    }
}

#[async_trait]
impl Storage for Saboteur {
    fn location(&self) -> String {
        format!("{} behind a bad line", self.inner.location())
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
