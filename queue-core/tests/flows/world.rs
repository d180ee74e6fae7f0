//! Tasks, and jobs of flows as a client would store them.

use std::sync::Arc;
use std::time::Duration;

use queue_core::{
    BoxError, Client, Context, Failed, Job, JobHandle, JobId, Node, Task, TaskError, Trigger, Worker, WorkerBuilder,
    tasks,
};
use queue_storage::model::{CallerId, Envelope, Form, Intake, NewJob, Shard};
use queue_storage::storage::{Admission, EnqueueCall, Topic};
use serde::{Deserialize, Serialize};

use super::counting::Counting;

pub(crate) const LONG: Duration = Duration::from_secs(120);
pub(crate) const ONE: Intake = Intake { form: Form::One, told: false };
pub(crate) const LIST: Intake = Intake { form: Form::List, told: false };
pub(crate) const CHUNKS: Intake = Intake { form: Form::Chunks, told: false };
pub(crate) const TOLD: Intake = Intake { form: Form::List, told: true };

/// Returns its number; fails without one.
#[derive(Serialize, Deserialize)]
pub(crate) struct Number {
    pub(crate) n: Option<u32>,
}

impl Task for Number {
    type Output = u32;
    const NAME: &'static str = "number";
    async fn run(self, _: Context) -> Result<u32, TaskError> {
        Ok(self.n.ok_or("there is no number")?)
    }
}

/// What a gather of numbers is a job of.
#[derive(Serialize, Deserialize)]
pub(crate) struct Numbers {}

impl Task for Numbers {
    type Output = Vec<u32>;
    const NAME: &'static str = "numbers";
    async fn run(self, _: Context) -> Result<Vec<u32>, TaskError> {
        Err("nobody runs a gather".into())
    }
}

/// Returns what it takes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Take {
    pub(crate) numbers: Vec<u32>,
}

impl Task for Take {
    type Output = Vec<u32>;
    const NAME: &'static str = "take";
    async fn run(self, _: Context) -> Result<Vec<u32>, TaskError> {
        Ok(self.numbers)
    }
}

/// Returns the ends it is told of, as texts.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ends {
    pub(crate) ends: Vec<Result<u32, Failed>>,
}

impl Task for Ends {
    type Output = Vec<String>;
    const NAME: &'static str = "ends";
    async fn run(self, _: Context) -> Result<Vec<String>, TaskError> {
        let told = |end: Result<u32, Failed>| end.map_or_else(|failed| failed.to_string(), |n| n.to_string());
        Ok(self.ends.into_iter().map(told).collect())
    }
}

/// Returns what it is told of a failure.
#[derive(Serialize, Deserialize)]
pub(crate) struct Mourn {
    pub(crate) failed: Failed,
    pub(crate) who: String,
}

impl Task for Mourn {
    type Output = Failed;
    const NAME: &'static str = "mourn";
    async fn run(self, _: Context) -> Result<Failed, TaskError> {
        assert_eq!(self.who, "me");
        Ok(self.failed)
    }
}

/// A client and its storage.
pub(crate) struct World {
    pub(crate) storage: Arc<Counting>,
    pub(crate) client: Client,
}

pub(crate) fn shard(queue: &str) -> Shard {
    Shard::of(queue.parse().unwrap())
}

pub(crate) fn world() -> World {
    let storage = Arc::new(Counting::default());
    World { client: Client::new(storage.clone()), storage }
}

/// A job of a flow in queue `queue`, with arguments as a map by name.
pub(crate) fn job(
    queue: &str,
    task: &str,
    args: &impl Serialize,
    input: Option<(&str, Intake)>,
    waits: &[JobId],
) -> NewJob {
    let args = rmp_serde::to_vec_named(args).unwrap().into();
    let (input, intake) = input.map_or((None, ONE), |(name, intake)| (Some(name.to_owned()), intake));
    let envelope = Envelope { input, intake, args, ..Envelope::default() };
    let mut new = NewJob::new(JobId::new(&shard(queue)), task.parse().unwrap(), envelope.encode().unwrap());
    new.waits_for = waits.to_vec();
    new
}

#[derive(Serialize)]
pub(crate) struct Nothing {}

pub(crate) fn number(queue: &str, n: impl Into<Option<u32>>) -> NewJob {
    job(queue, "number", &Number { n: n.into() }, None, &[])
}

/// A job that returns a list of nine numbers: ten bytes.
pub(crate) fn listed(queue: &str, n: u32) -> NewJob {
    job(queue, "take", &Take { numbers: vec![n; 9] }, None, &[])
}

pub(crate) fn gather(queue: &str, intake: Intake, waits: &[JobId]) -> NewJob {
    let envelope = Envelope { intake, args: vec![0x80].into(), ..Envelope::default() };
    let mut gather = job(queue, "numbers", &Nothing {}, None, waits);
    (gather.node, gather.envelope) = (Node::Gather { keep: LONG * 10 }, envelope.encode().unwrap());
    gather
}

pub(crate) fn take(queue: &str, intake: Intake, waits: &[JobId]) -> NewJob {
    job(queue, "take", &Nothing {}, Some(("numbers", intake)), waits)
}

pub(crate) fn ends(queue: &str, intake: Intake, waits: &[JobId]) -> NewJob {
    let mut ends = job(queue, "ends", &Nothing {}, Some(("ends", intake)), waits);
    ends.trigger = Trigger::Ended;
    ends
}

pub(crate) fn mourn(queue: &str, waits: &[JobId]) -> NewJob {
    #[derive(Serialize)]
    struct Who {
        who: &'static str,
    }
    let mut mourn = job(queue, "mourn", &Who { who: "me" }, Some(("failed", ONE)), waits);
    mourn.trigger = Trigger::Failed;
    mourn
}

/// A hold in one queue, and the relay in another that delivers to it what a job there hands on.
pub(crate) fn bridge(from: &str, to: &str, parent: JobId) -> (NewJob, NewJob) {
    let mut hold = job(to, "numbers", &Nothing {}, None, &[]);
    hold.node = Node::Hold;
    let mut relay = job(from, "numbers", &Nothing {}, None, &[parent]);
    (relay.node, relay.trigger) = (Node::Relay { shard: shard(to), to: hold.id }, Trigger::Ended);
    (hold, relay)
}

impl World {
    /// Stores jobs of one queue, and returns their ids.
    pub(crate) async fn store(&self, queue: &str, jobs: Vec<NewJob>) -> Vec<JobId> {
        store(&self.client, queue, jobs).await
    }

    pub(crate) fn worker(&self, queues: &[&str]) -> WorkerBuilder {
        let list = tasks![Number, Numbers, Take, Ends, Mourn];
        queues.iter().fold(Worker::builder(&self.client).tasks(list), |builder, queue| builder.queue(*queue))
    }

    /// Runs a worker until nothing is left.
    pub(crate) async fn drain(&self, queues: &[&str]) {
        let worker = self.worker(queues).build().unwrap();
        tokio::time::timeout(LONG, worker.run_until_drained()).await.expect("it never drains").unwrap();
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.client.job(id).await.unwrap().found().unwrap()
    }

    pub(crate) async fn returned<T: Task>(&self, id: JobId) -> T::Output {
        let handle: JobHandle<T::Output> = self.client.handle::<T>(id).await.unwrap();
        handle.wait(LONG).await.unwrap()
    }

    /// Waits until a job has ended.
    pub(crate) async fn ended(&self, id: JobId) {
        let listener = self.client.storage().listen(Topic::Job(id));
        let ended = async {
            while !self.job(id).await.state.is_end() {
                listener.changed().await;
            }
        };
        tokio::time::timeout(LONG, ended).await.expect("it never ends");
    }
}

pub(crate) async fn store(client: &Client, queue: &str, jobs: Vec<NewJob>) -> Vec<JobId> {
    let ids = jobs.iter().map(|job| job.id).collect();
    let call = EnqueueCall { caller: CallerId::generate(), shard: shard(queue), number: 1, jobs };
    let admissions = client.storage().enqueue(call).await.map_err(BoxError::from).unwrap();
    assert!(admissions.iter().all(|admission| matches!(admission, Admission::Added(_))), "{admissions:?}");
    ids
}
