//! Short words for these tests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use queue_redis::{RedisOptions, RedisStorage};
use queue_servers::Redis;
use queue_storage::model::{
    CallerId, Claimed, Fence, JobId, Namespace, NewJob, Settled, Settlement, Shard, TaskName, Timestamp, WorkerId,
};
use queue_storage::storage::{
    Claim, Enqueue, EnqueueCall, Exchange, Exchanged, LeaseTerms, Listener, Notify, SettleAnswer, StorageError, Topic,
    WorkerRecord,
};
use tokio::time::{sleep, timeout};

/// Longer than anything here takes on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// How long ended jobs are kept here.
pub(crate) const KEEP: Duration = Duration::from_secs(3_600);

/// A storage that notices soon that nobody answers, and is back soon.
pub(crate) fn options(url: &str) -> RedisOptions {
    let quick = RedisOptions::from_url(url).unwrap().timeout(Duration::from_secs(5));
    quick.reconnect_backoff(Duration::from_millis(2), Duration::from_millis(50))
}

pub(crate) async fn open(url: &str) -> Arc<RedisStorage> {
    Arc::new(options(url).connect().await.unwrap())
}

/// A namespace that nobody else has, on a server that others use too.
pub(crate) fn namespace() -> Namespace {
    CallerId::generate().to_string().parse().unwrap()
}

/// Repeats a call that may be made again until it is answered, as the engine does.
pub(crate) async fn insist<T, F: Future<Output = Result<T, StorageError>>>(call: impl Fn() -> F) -> T {
    let answered = async {
        loop {
            match call().await {
                Ok(answer) => return answer,
                Err(error) => assert!(error.is_unavailable(), "{error}"),
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, answered).await.expect("never answered")
}

/// The answer of a call that must not hang, whatever happened to the server.
pub(crate) async fn in_time<T>(call: impl Future<Output = T>) -> T {
    timeout(PATIENCE, call).await.expect("the call hangs")
}

/// Looks again and again until there is what it looks for.
pub(crate) async fn until(what: &str, look: impl AsyncFn() -> bool) {
    let seen = async {
        while !look().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub(crate) async fn hears(listener: &Listener) {
    timeout(PATIENCE, listener.changed()).await.expect("no hint came");
}

/// Lets go of the hints that have come so far.
pub(crate) async fn forget_hints(listener: &Listener) {
    while timeout(Duration::ZERO, listener.changed()).await.is_ok() {}
}

pub(crate) fn mail() -> Shard {
    shard("mail")
}

pub(crate) fn shard(queue: &str) -> Shard {
    Shard::of(queue.parse().unwrap())
}

pub(crate) fn job() -> NewJob {
    job_in(&mail())
}

pub(crate) fn job_in(shard: &Shard) -> NewJob {
    NewJob::new(JobId::new(shard), "t".parse().unwrap(), Bytes::from_static(b"\x01\x00\x80"))
}

pub(crate) fn jobs(count: usize) -> Vec<NewJob> {
    (0..count).map(|_| job()).collect()
}

/// A client that numbers its calls.
#[derive(Debug)]
pub(crate) struct Caller {
    id: CallerId,
    number: u64,
    shard: Shard,
}

impl Caller {
    pub(crate) fn new() -> Self {
        Self::of(mail())
    }

    pub(crate) fn of(shard: Shard) -> Self {
        Self { id: CallerId::generate(), number: 0, shard }
    }

    pub(crate) fn call(&mut self, jobs: Vec<NewJob>) -> EnqueueCall {
        self.number += 1;
        EnqueueCall { caller: self.id, shard: self.shard.clone(), number: self.number, jobs }
    }

    /// Takes jobs in, however often it must be tried, and gives their ids.
    pub(crate) async fn enqueue(&mut self, storage: &RedisStorage, jobs: Vec<NewJob>) -> Vec<JobId> {
        let ids = jobs.iter().map(|job| job.id).collect();
        let call = self.call(jobs);
        insist(|| storage.enqueue(call.clone())).await;
        ids
    }
}

/// A worker that numbers its exchanges and completes all it gets.
#[derive(Debug)]
pub(crate) struct Hand {
    pub(crate) id: WorkerId,
    pub(crate) lease: LeaseTerms,
    pub(crate) suspects: u32,
    pub(crate) tasks: BTreeSet<TaskName>,
    shard: Shard,
    number: u64,
    /// What it holds, as it is going to be settled.
    pub(crate) settlements: Vec<Settled>,
    /// What was settled, by the answers.
    pub(crate) settled: Vec<(JobId, Fence)>,
}

impl Hand {
    /// One that nobody knows yet.
    pub(crate) fn stranger(shard: Shard) -> Self {
        let lease = LeaseTerms { crash_limit: None, ..LeaseTerms::default() };
        let tasks = ["t".parse().unwrap()].into();
        let (settlements, settled) = (Vec::new(), Vec::new());
        Self { id: WorkerId::generate(), lease, suspects: 256, tasks, shard, number: 0, settlements, settled }
    }

    pub(crate) async fn new(storage: &RedisStorage) -> Self {
        let hand = Self::stranger(mail());
        hand.register(storage).await;
        hand
    }

    pub(crate) async fn register(&self, storage: &RedisStorage) {
        insist(|| storage.register(self.record())).await;
    }

    pub(crate) fn record(&self) -> WorkerRecord {
        WorkerRecord {
            id: self.id,
            host: "here".into(),
            version: None,
            shards: vec![self.shard.clone()],
            tasks: self.tasks.clone(),
            understands: 1,
            lease: self.lease,
            concurrency: 64,
            started_at: Timestamp::EPOCH,
            seen_at: Timestamp::EPOCH,
        }
    }

    pub(crate) fn call(&mut self, want: u32) -> Exchange {
        self.number += 1;
        let settlements = std::mem::take(&mut self.settlements);
        let (worker, shard) = (self.id, self.shard.clone());
        Exchange { worker, shard, number: self.number, settlements, want, suspects: self.suspects }
    }

    /// Takes an answer to heart.
    pub(crate) fn note(&mut self, call: &Exchange, answer: &Exchanged) {
        let applied = call.settlements.iter().zip(&answer.settled).filter(|(_, how)| **how == SettleAnswer::Applied);
        self.settled.extend(applied.map(|(settled, _)| (settled.job, settled.fence)));
        self.settlements.extend(answer.claimed.iter().map(completed));
    }

    /// Settles what it holds as completed and claims anew, however often it must be tried.
    pub(crate) async fn exchange(&mut self, storage: &RedisStorage, want: u32) -> Exchanged {
        let call = self.call(want);
        let answer = insist(|| self.ask(storage, &call)).await;
        self.note(&call, &answer);
        answer
    }

    /// Makes itself known again where it was forgotten.
    async fn ask(&self, storage: &RedisStorage, call: &Exchange) -> Result<Exchanged, StorageError> {
        match storage.exchange(call.clone()).await {
            Err(error) if error.is_unknown_worker() => {
                storage.register(self.record()).await?;
                storage.exchange(call.clone()).await
            }
            answer => answer,
        }
    }

    /// Completes all that is ready.
    pub(crate) async fn finish(&mut self, storage: &RedisStorage) {
        loop {
            let answer = self.exchange(storage, 256).await;
            if answer.claimed.is_empty() && answer.look_again != Some(Duration::ZERO) {
                return;
            }
        }
    }

    /// What it holds, for a renewal.
    pub(crate) fn leases(&self) -> Vec<(JobId, Fence)> {
        self.settlements.iter().map(|settled| (settled.job, settled.fence)).collect()
    }
}

/// A worker that has found nothing is woken by the next job, which another storage takes in.
pub(crate) async fn sleeps_and_is_woken(here: &RedisStorage, there: &RedisStorage, server: &Redis, name: &Namespace) {
    let mut hand = Hand::new(here).await;
    let listener = here.listen(Topic::Worker(hand.id, mail()));
    let sleepers = format!("{name}:{{mail}}:sleepers");
    // It is asleep once the subscription stands.
    while server.cli(&["ZCARD", &sleepers]) == "0" {
        assert!(hand.exchange(here, 1).await.claimed.is_empty());
    }
    forget_hints(&listener).await;
    Caller::new().enqueue(there, jobs(1)).await;
    hears(&listener).await;
    assert_eq!(hand.exchange(here, 1).await.claimed.len(), 1);
    hand.exchange(here, 0).await;
}

pub(crate) fn completed(claimed: &Claimed) -> Settled {
    let settlement = Settlement::Complete { result: None, keep: KEEP };
    Settled { job: claimed.job.id, fence: claimed.fence, attempts: claimed.job.attempts + 1, settlement }
}
