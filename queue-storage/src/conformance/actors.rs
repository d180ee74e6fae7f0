//! A worker and a client, as the engine would be: they number their calls and can repeat them.

use std::sync::Arc;
use std::time::Duration;

use super::stage::{completed, task, terms};
use crate::model::{CallerId, Claimed, Fence, JobId, LEVEL, NewJob, Progress, Settled, Settlement, Shard};
use crate::model::{Timestamp, WorkerId};
use crate::storage::{
    Admission, EnqueueCall, Exchange, Exchanged, Renewal, Renewed, SettleAnswer, Storage, StorageError, WorkerRecord,
};

/// A worker that serves one shard.
#[derive(Clone, Debug)]
pub(super) struct TestWorker {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) shard: Shard,
    pub(super) record: WorkerRecord,
    /// Its last exchange.
    pub(super) last: Exchange,
}

impl TestWorker {
    /// A worker that is not registered yet.
    pub(super) fn new(storage: Arc<dyn Storage>, shard: Shard, tasks: &[&str]) -> Self {
        let id = WorkerId::generate();
        let record = WorkerRecord {
            id,
            host: "stage:1".into(),
            version: None,
            shards: vec![shard.clone()],
            tasks: tasks.iter().map(|name| task(name)).collect(),
            understands: LEVEL,
            lease: terms(),
            concurrency: 64,
            started_at: Timestamp::EPOCH,
            seen_at: Timestamp::EPOCH,
        };
        let last =
            Exchange { worker: id, shard: shard.clone(), number: 0, settlements: Vec::new(), want: 0, suspects: 0 };
        Self { storage, shard, record, last }
    }

    pub(super) fn id(&self) -> WorkerId {
        self.record.id
    }

    pub(super) async fn register(&self) {
        self.storage.register(self.record.clone()).await.unwrap();
    }

    pub(super) async fn deregister(&self) {
        self.storage.deregister(self.id()).await.unwrap();
    }

    /// The same worker at another shard.
    pub(super) fn at(&self, shard: &Shard) -> Self {
        let mut other = self.clone();
        other.shard = shard.clone();
        other.last.shard = shard.clone();
        other.last.number = 0;
        other
    }

    /// The next exchange, not made yet.
    pub(super) fn next(&self, settlements: Vec<Settled>, want: u32, suspects: u32) -> Exchange {
        Exchange { number: self.last.number + 1, settlements, want, suspects, ..self.last.clone() }
    }

    /// Makes an exchange; it is the last one unless it was refused.
    pub(super) async fn make(&mut self, call: Exchange) -> Result<Exchanged, StorageError> {
        let answer = self.storage.exchange(call.clone()).await?;
        self.last = call;
        Ok(answer)
    }

    pub(super) async fn exchange(&mut self, settlements: Vec<Settled>, want: u32, suspects: u32) -> Exchanged {
        let call = self.next(settlements, want, suspects);
        self.make(call).await.unwrap()
    }

    /// Repeats the last exchange, as after a lost answer.
    pub(super) async fn repeat(&self) -> Exchanged {
        self.storage.exchange(self.last.clone()).await.unwrap()
    }

    /// Settles nothing and takes nothing.
    pub(super) async fn upkeep(&mut self) -> Exchanged {
        self.exchange(Vec::new(), 0, 0).await
    }

    /// Asks for jobs, suspects or not.
    pub(super) async fn look(&mut self, want: u32) -> Exchanged {
        self.exchange(Vec::new(), want, want).await
    }

    /// Claims up to `want` jobs, suspects or not.
    pub(super) async fn claim(&mut self, want: u32) -> Vec<Claimed> {
        self.look(want).await.claimed
    }

    /// The ids of the jobs that it claims.
    pub(super) async fn claim_ids(&mut self, want: u32) -> Vec<JobId> {
        ids(&self.claim(want).await)
    }

    /// Claims the one job that there must be.
    pub(super) async fn claim_one(&mut self) -> Claimed {
        let mut claimed = self.claim(1).await;
        claimed.pop().expect("a job is ready for this worker")
    }

    /// Claims a job and confirms that it was received.
    pub(super) async fn receive_one(&mut self) -> Claimed {
        let run = self.claim_one().await;
        assert_eq!(self.renew(&[&run]).await, [Renewed::Held]);
        run
    }

    /// Settles a run and takes nothing.
    pub(super) async fn settle(&mut self, run: &Claimed, settlement: Settlement) -> SettleAnswer {
        self.exchange(vec![settled(run, settlement)], 0, 0).await.settled[0]
    }

    /// Settles a run, which must still be its own.
    pub(super) async fn finish(&mut self, run: &Claimed, settlement: Settlement) {
        assert!(self.settle(run, settlement).await.is_written());
    }

    /// Completes runs, which must still be its own.
    pub(super) async fn complete_all(&mut self, runs: &[Claimed]) {
        let settlements = runs.iter().map(|run| settled(run, completed())).collect();
        let answer = self.exchange(settlements, 0, 0).await;
        assert!(answer.settled.iter().all(|one| *one == SettleAnswer::Applied));
    }

    /// Claims the one job that there must be and settles it.
    pub(super) async fn run_one(&mut self, settlement: Settlement) -> JobId {
        let run = self.claim_one().await;
        self.finish(&run, settlement).await;
        run.job.id
    }

    pub(super) async fn renew(&self, runs: &[&Claimed]) -> Vec<Renewed> {
        let leases = runs.iter().map(|run| (run.job.id, run.fence)).collect();
        self.storage.renew(self.renewal(leases)).await.unwrap()
    }

    pub(super) fn renewal(&self, leases: Vec<(JobId, Fence)>) -> Renewal {
        Renewal { worker: self.id(), shard: self.shard.clone(), leases, progress: Vec::new() }
    }

    /// Renews a run and tells how far it got.
    pub(super) async fn tell(&self, run: &Claimed, progress: Progress) -> Renewed {
        let renewal = self.renewal(vec![(run.job.id, run.fence)]);
        let renewal = Renewal { progress: vec![(run.job.id, progress)], ..renewal };
        self.storage.renew(renewal).await.unwrap()[0]
    }

    /// Looks in until no call says that there is more to do.
    pub(super) async fn work_off(&mut self) {
        for _ in 0..20 {
            if self.upkeep().await.look_again != Some(Duration::ZERO) {
                return;
            }
        }
        panic!("a call that does nothing says for ever that there is more");
    }
}

/// What a run is settled with, its attempts counted as the engine does.
pub(super) fn settled(run: &Claimed, settlement: Settlement) -> Settled {
    let answered = !matches!(settlement, Settlement::Release | Settlement::Snooze { .. });
    Settled { job: run.job.id, fence: run.fence, attempts: run.job.attempts + u32::from(answered), settlement }
}

pub(super) fn ids(runs: &[Claimed]) -> Vec<JobId> {
    runs.iter().map(|run| run.job.id).collect()
}

/// A client of one shard.
#[derive(Clone, Debug)]
pub(super) struct TestCaller {
    pub(super) storage: Arc<dyn Storage>,
    /// Its last call.
    pub(super) last: EnqueueCall,
}

impl TestCaller {
    pub(super) fn new(storage: Arc<dyn Storage>, shard: Shard) -> Self {
        let last = EnqueueCall { caller: CallerId::generate(), shard, number: 0, jobs: Vec::new() };
        Self { storage, last }
    }

    /// The next call, not made yet.
    pub(super) fn next(&self, jobs: Vec<NewJob>) -> EnqueueCall {
        EnqueueCall { number: self.last.number + 1, jobs, ..self.last.clone() }
    }

    /// Makes a call; it is the last one unless it was refused.
    pub(super) async fn make(&mut self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        let answer = self.storage.enqueue(call.clone()).await?;
        self.last = call;
        Ok(answer)
    }

    pub(super) async fn enqueue(&mut self, jobs: Vec<NewJob>) -> Vec<Admission> {
        let call = self.next(jobs);
        self.make(call).await.unwrap()
    }

    /// Enqueues one job.
    pub(super) async fn enqueue_one(&mut self, job: NewJob) -> Admission {
        self.enqueue(vec![job]).await[0]
    }

    /// Enqueues jobs, which must all be taken in.
    pub(super) async fn add(&mut self, jobs: Vec<NewJob>) {
        for admission in self.enqueue(jobs).await {
            assert!(matches!(admission, Admission::Added(_)), "{admission:?}");
        }
    }

    /// Repeats the last call, as after a lost answer.
    pub(super) async fn repeat(&self) -> Vec<Admission> {
        self.storage.enqueue(self.last.clone()).await.unwrap()
    }
}
