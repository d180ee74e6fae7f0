//! A storage whose answers are timed.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use metrics::{Histogram, Label};
use queue_core::clock::{Clock, SystemClock};
use queue_storage::model::{Input, JobId, Key, Shard, State, WorkerId};
use queue_storage::storage::{
    Act, Acted, Admission, Claim, Control, Controls, Counts, Enqueue, EnqueueCall, Exchange, Exchanged, Inputs,
    JobPage, JobQuery, Listener, Lookup, Maintain, Notify, Operate, Outbox, Receipt, Renewal, Renewed, Retention,
    ScheduleChange, SchedulePage, ScheduleQuery, Step, Storage, StorageError, Ticked, Topic, Usage, Watch,
    WorkerRecord,
};

use crate::names::{ERRORS, OPERATION};
use crate::sink::Sink;

/// The calls that are timed, by the name of their label.
macro_rules! ops {
    ($($op:ident = $name:literal,)+) => {
        #[derive(Clone, Copy, Debug)]
        enum Op { $($op,)+ }

        const OPS: &[&str] = &[$($name),+];
    };
}

ops! {
    Enqueue = "enqueue",
    Register = "register",
    Deregister = "deregister",
    Exchange = "exchange",
    Renew = "renew",
    Prune = "prune",
    Outbox = "outbox",
    Deliver = "deliver",
    Tick = "tick",
    Get = "get",
    Inputs = "inputs",
    List = "list",
    Counts = "counts",
    Shards = "shards",
    Workers = "workers",
    Act = "act",
    Control = "control",
    Controls = "controls",
    Schedules = "schedules",
    Usage = "usage",
    Watch = "watch",
    Announce = "announce",
    Ping = "ping",
}

/// Passes every call on to another storage, and times what it answers: for clients that are made of it.
///
/// It measures once it was given to [`MetricsBuilder::backend`](crate::MetricsBuilder::backend). A call whose caller was
/// dropped before the answer came is not counted.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
/// use queue_core::Client;
/// use queue_metrics::{Metrics, Observed};
///
/// # let opened = Client::memory();
/// let observed = Observed::new(opened.storage().clone());
/// let client = Client::new(observed.clone());
/// let metrics = Metrics::builder(&client).backend(&observed).build();
/// client.ping().await?;
/// assert!(metrics.render().await.contains(r#"queue_backend_operation_seconds_count{op="ping"} 1"#));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Observed {
    inner: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    ears: OnceLock<Ears>,
}

struct Ears {
    sink: Arc<Sink>,
    took: Vec<Histogram>,
}

impl std::fmt::Debug for Ears {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ears")
    }
}

impl Observed {
    /// Times the answers of this storage by the machine's clock.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Arc<Self> {
        Self::with_clock(storage, Arc::new(SystemClock))
    }

    /// The same, by a clock of your own.
    #[must_use]
    pub fn with_clock(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { inner: storage, clock, ears: OnceLock::new() })
    }

    /// Measures from now on. Who was given first stays.
    pub(crate) fn tell(&self, sink: &Arc<Sink>) {
        self.ears.get_or_init(|| {
            let took = |&op| sink.histogram(&OPERATION, vec![Label::from_static_parts("op", op)]);
            Ears { sink: Arc::clone(sink), took: OPS.iter().map(took).collect() }
        });
    }

    async fn time<T>(
        &self,
        op: Op,
        call: impl Future<Output = Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        let Some(ears) = self.ears.get() else { return call.await };
        let begun = self.clock.now();
        let answer = call.await;
        ears.sink.sample(&ears.took[op as usize], self.clock.now().since(begun).as_secs_f64());
        if let Err(error) = &answer {
            let labels = [("op", OPS[op as usize]), ("kind", kind_of(error))];
            let labels = labels.map(|(label, text)| Label::from_static_parts(label, text));
            ears.sink.counter(&ERRORS, labels.to_vec()).increment(1);
        }
        answer
    }
}

fn kind_of(error: &StorageError) -> &'static str {
    match error {
        error if error.is_unavailable() => "unavailable",
        error if error.is_superseded() => "superseded",
        error if error.is_unknown_worker() => "unknown_worker",
        error if error.is_invalid() => "invalid",
        error if error.is_incompatible() => "incompatible",
        error if error.is_corrupt() => "corrupt",
        _ => "other",
    }
}

#[async_trait]
impl Enqueue for Observed {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        self.time(Op::Enqueue, self.inner.enqueue(call)).await
    }
}

#[async_trait]
impl Claim for Observed {
    async fn register(&self, worker: WorkerRecord) -> Result<(), StorageError> {
        self.time(Op::Register, self.inner.register(worker)).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StorageError> {
        self.time(Op::Deregister, self.inner.deregister(worker)).await
    }

    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError> {
        self.time(Op::Exchange, self.inner.exchange(call)).await
    }

    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError> {
        self.time(Op::Renew, self.inner.renew(call)).await
    }
}

#[async_trait]
impl Maintain for Observed {
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError> {
        self.time(Op::Prune, self.inner.prune(shard, retention)).await
    }

    async fn outbox(&self, shard: &Shard, sent: &[Receipt]) -> Result<Outbox, StorageError> {
        self.time(Op::Outbox, self.inner.outbox(shard, sent)).await
    }

    async fn deliver(&self, shard: &Shard, deliveries: &[(JobId, Input)]) -> Result<Vec<Option<State>>, StorageError> {
        self.time(Op::Deliver, self.inner.deliver(shard, deliveries)).await
    }

    async fn tick(&self, shard: &Shard, changes: &[ScheduleChange]) -> Result<Ticked, StorageError> {
        self.time(Op::Tick, self.inner.tick(shard, changes)).await
    }
}

#[async_trait]
impl Operate for Observed {
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError> {
        self.time(Op::Get, self.inner.get(id)).await
    }

    async fn inputs(&self, id: JobId) -> Result<Option<Inputs>, StorageError> {
        self.time(Op::Inputs, self.inner.inputs(id)).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        self.time(Op::List, self.inner.list(query)).await
    }

    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError> {
        self.time(Op::Counts, self.inner.counts(shard)).await
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        self.time(Op::Shards, self.inner.shards()).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        self.time(Op::Workers, self.inner.workers()).await
    }

    async fn act(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError> {
        self.time(Op::Act, self.inner.act(shard, ids, act)).await
    }

    async fn control(&self, shard: &Shard, change: &Control) -> Result<bool, StorageError> {
        self.time(Op::Control, self.inner.control(shard, change)).await
    }

    async fn controls(&self, shard: &Shard) -> Result<Controls, StorageError> {
        self.time(Op::Controls, self.inner.controls(shard)).await
    }

    async fn schedules(&self, shard: &Shard, query: &ScheduleQuery) -> Result<SchedulePage, StorageError> {
        self.time(Op::Schedules, self.inner.schedules(shard, query)).await
    }

    async fn usage(&self, shard: &Shard, key: &Key) -> Result<Usage, StorageError> {
        self.time(Op::Usage, self.inner.usage(shard, key)).await
    }
}

#[async_trait]
impl Notify for Observed {
    fn listen(&self, topic: Topic) -> Listener {
        self.inner.listen(topic)
    }

    async fn watch(&self) -> Result<Watch, StorageError> {
        self.time(Op::Watch, self.inner.watch()).await
    }

    fn is_watched(&self, shard: &Shard) -> bool {
        self.inner.is_watched(shard)
    }

    async fn announce(&self, news: Bytes) -> Result<(), StorageError> {
        self.time(Op::Announce, self.inner.announce(news)).await
    }
}

#[async_trait]
impl Storage for Observed {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.time(Op::Ping, self.inner.ping()).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
