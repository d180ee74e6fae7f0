//! Tasks, a worker that runs them, a storage that can be cut off, and requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use queue_core::{Call, Client, Context, JobId, Storage, Task, TaskError, Worker, WorkerError, tasks};
use queue_storage::memory::MemoryStorage;
use queue_storage::model::{Input, Key, Shard, State, WorkerId};
use queue_storage::storage::{
    Act, Acted, Admission, Claim, Control, Controls, Counts, Enqueue, EnqueueCall, Exchange, Exchanged, Inputs,
    JobPage, JobQuery, Listener, Lookup, Maintain, Notify, Operate, Outbox, Receipt, Renewal, Renewed, Retention,
    ScheduleChange, SchedulePage, ScheduleQuery, Step, StorageError, Ticked, Topic, Usage, Watch, WorkerRecord,
};
use queue_web::{Access, Web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Long enough for anything that is going to happen; never waited out by a test that passes.
pub const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Serialize, Deserialize)]
pub struct Add {
    pub a: u64,
    pub b: u64,
}

impl Task for Add {
    type Output = u64;
    const NAME: &'static str = "add";
    async fn run(self, _: Context) -> Result<u64, TaskError> {
        Ok(self.a + self.b)
    }
}

#[derive(Serialize, Deserialize)]
pub struct Fail {
    pub secret: String,
}

impl Task for Fail {
    type Output = ();
    const NAME: &'static str = "fail";
    async fn run(self, _: Context) -> Result<(), TaskError> {
        Err(TaskError::fatal("no such address"))
    }
}

/// Runs until it is cancelled.
#[derive(Serialize, Deserialize)]
pub struct Hold {}

impl Task for Hold {
    type Output = ();
    const NAME: &'static str = "hold";
    async fn run(self, ctx: Context) -> Result<(), TaskError> {
        ctx.progress(1, 3, "holding");
        ctx.cancelled().await;
        Err("called off".into())
    }
}

/// A worker at work.
pub struct Working {
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<(), WorkerError>>,
}

/// Starts a worker on the queue `default`.
pub fn work(client: &Client) -> Working {
    let worker = Worker::builder(client).tasks(tasks![Add, Fail, Hold]).build().unwrap();
    let (stop, stopped) = oneshot::channel();
    let run = tokio::spawn(worker.run_until(async move {
        let _ = stopped.await;
    }));
    Working { stop, run }
}

impl Working {
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.run.await.unwrap().unwrap();
    }
}

/// Runs what is to be done now.
pub async fn drain(client: &Client) {
    let worker = Worker::builder(client).tasks(tasks![Add, Fail, Hold]).build().unwrap();
    worker.run_until_drained().await.unwrap();
}

pub async fn added(client: &Client) -> JobId {
    Call::new(Add { a: 1, b: 2 }).enqueue(client).await.unwrap().id()
}

/// Waits until a job is in this state: looks again and again.
pub async fn until(client: &Client, id: JobId, state: State) {
    let looking = async {
        while client.job(id).await.unwrap().found().map(|job| job.state) != Some(state) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("job {id} never was {state}"));
}

/// One that lets everyone do everything.
pub fn open(client: &Client) -> Web {
    Web::new(client).access(|_| Access::All)
}

pub async fn ask(web: &Web, method: &str, path: &str) -> (StatusCode, Value) {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let request = Request::builder().method(method).uri(path).body(Default::default()).unwrap();
    let response = web.handle(request).await;
    assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
    assert_eq!(response.headers()["content-type"], "application/json", "{path}");
    (response.status(), serde_json::from_slice(response.body()).unwrap())
}

pub async fn get(web: &Web, path: &str) -> (StatusCode, Value) {
    ask(web, "GET", path).await
}

pub async fn post(web: &Web, path: &str) -> (StatusCode, Value) {
    ask(web, "POST", path).await
}

/// Asserts that an answer is an error as all are, and returns its code.
pub fn code(answer: &(StatusCode, Value)) -> (u16, &str) {
    let (status, body) = answer;
    let error = body["error"].as_object().unwrap_or_else(|| panic!("{body}"));
    let filled = |key: &str| error[key].as_str().is_some_and(|text| !text.is_empty());
    assert!(error.len() == 3 && filled("message") && filled("help"), "{body}");
    (status.as_u16(), error["code"].as_str().unwrap())
}

/// Where the storage behind the line is.
pub const LOCATION: &str = "redis://user:***@far.example/0";

/// A storage in memory behind a line that can be cut.
#[derive(Debug)]
pub struct Line {
    inner: MemoryStorage,
    state: AtomicU8,
}

const UP: u8 = 0;
const DOWN: u8 = 1;
const SILENT: u8 = 2;
const SLOW: u8 = 3;

impl Line {
    pub fn new() -> (Arc<Self>, Client) {
        let line = Arc::new(Self { inner: MemoryStorage::new(), state: AtomicU8::new(UP) });
        let storage: Arc<dyn Storage> = Arc::clone(&line) as _;
        (line, Client::new(storage))
    }

    /// From now on every question is refused.
    pub fn cut(&self) {
        self.state.store(DOWN, Ordering::SeqCst);
    }

    /// From now on no question is answered.
    pub fn silence(&self) {
        self.state.store(SILENT, Ordering::SeqCst);
    }

    /// From now on every answer takes a tenth of a second.
    pub fn slow(&self) {
        self.state.store(SLOW, Ordering::SeqCst);
    }

    async fn carry<T>(&self, run: impl Future<Output = Result<T, StorageError>> + Send) -> Result<T, StorageError> {
        match self.state.load(Ordering::SeqCst) {
            UP => run.await,
            SLOW => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                run.await
            }
            DOWN => Err(StorageError::unavailable(format!("{LOCATION} can't be reached: Connection refused"))),
            _ => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Enqueue for Line {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        self.carry(self.inner.enqueue(call)).await
    }
}

#[async_trait]
impl Claim for Line {
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
impl Maintain for Line {
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
impl Operate for Line {
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
impl Notify for Line {
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
impl Storage for Line {
    fn location(&self) -> String {
        LOCATION.into()
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.carry(self.inner.ping()).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
