//! Where a case plays: one storage, one shard, and short words for what every story needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::actors::{TestCaller, TestWorker};
use super::check;
use super::world::World;
use crate::model::{Conflict, Key, Limit, Parked, Rate, Unique, WhenFull, Window};
use crate::model::{EndReason, Timestamp, When};
use crate::model::{Failure, FailureKind, Job, JobId, NewJob, Settlement, Shard, State, Tag, TaskName};
use crate::storage::{
    Act, Acted, Control, Controls, Counts, LeaseTerms, Listener, Lookup, Retention, Scope, Step, Storage, Usage,
    WorkerRecord,
};

/// The length of a lease on stage.
pub(super) const LENGTH: Duration = secs(100);
/// Half of it: short enough that nobody takes it for an outage.
pub(super) const HALF: Duration = secs(50);
/// Two renewal intervals.
pub(super) const SILENCE: Duration = secs(60);
/// A renewal interval and a second.
pub(super) const GRACE: Duration = secs(31);
/// One and a half renewal intervals.
pub(super) const WATCH: Duration = secs(45);
pub(super) const MINUTE: Duration = secs(60);
pub(super) const HOUR: Duration = secs(3_600);
pub(super) const DAY: Duration = secs(86_400);

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One shard of a storage under test; others are [`beside`](Stage::beside) it.
pub(super) struct Stage {
    world: Arc<dyn World>,
    storage: Arc<dyn Storage>,
    shard: Shard,
    caller: Mutex<TestCaller>,
    closed: Arc<AtomicBool>,
}

impl Stage {
    pub(super) fn new(world: Arc<dyn World>) -> Self {
        Self::set(world.storage(), world, shard("stage"), Arc::default())
    }

    fn set(storage: Arc<dyn Storage>, world: Arc<dyn World>, shard: Shard, closed: Arc<AtomicBool>) -> Self {
        let caller = Mutex::new(TestCaller::new(storage.clone(), shard.clone()));
        Self { world, storage, shard, caller, closed }
    }

    /// The shard of another queue in the same storage.
    pub(super) fn beside(&self, queue: &str) -> Self {
        Self::set(self.storage.clone(), self.world.clone(), shard(queue), self.closed.clone())
    }

    /// The same shard, seen through another storage.
    pub(super) fn through(&self, storage: Arc<dyn Storage>) -> Self {
        let closed = Arc::default();
        Self::set(storage, self.world.clone(), self.shard.clone(), closed)
    }

    pub(super) fn world(&self) -> &dyn World {
        &*self.world
    }

    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    pub(super) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Ends the case: whatever happened, the storage must make sense.
    pub(super) async fn end(&self) {
        if !self.closed.load(Ordering::Relaxed) {
            check::invariants(&*self.storage).await;
        }
    }

    /// Closes the storage before the case ends.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.storage.close().await;
    }

    /// The same shard after the storage was closed and opened anew; `None` for a storage that keeps nothing.
    pub(super) async fn reopen(&self) -> Option<Self> {
        let storage = self.world.reopen().await?;
        self.closed.store(true, Ordering::Relaxed);
        Some(self.through(storage))
    }

    // Time.

    pub(super) async fn advance(&self, by: Duration) {
        self.world.advance(by).await;
    }

    pub(super) async fn rewind(&self, by: Duration) {
        self.world.rewind(by).await;
    }

    pub(super) fn tick(&self) -> Duration {
        self.world.tick()
    }

    /// Moves on until a tick is missing to `by`.
    pub(super) async fn advance_until_just_before(&self, by: Duration) {
        self.advance(by - self.tick()).await;
    }

    /// The storage's time, learnt from a job that it takes in.
    pub(super) async fn now(&self) -> Timestamp {
        let clock = self.beside("what-time-is-it");
        let [id] = clock.enqueue([clock.job()]).await;
        clock.get(id).await.enqueued_at
    }

    /// Asserts that two moments are the same, as far as this clock can tell.
    #[track_caller]
    pub(super) fn assert_same_time(&self, left: Timestamp, right: Timestamp) {
        let apart = left.since(right) + right.since(left);
        assert!(apart < self.tick(), "{left:?} is not {right:?}");
    }

    // Jobs.

    /// A job of the task `t`, to run at once.
    pub(super) fn job(&self) -> NewJob {
        self.job_of("t")
    }

    /// A job of this task, to run at once.
    pub(super) fn job_of(&self, task_name: &str) -> NewJob {
        let envelope = Bytes::from_static(b"\x01\x00\x81\xa1a\xc4\x01\x80");
        NewJob::new(JobId::new(&self.shard), task(task_name), envelope)
    }

    /// A job of the task `t` that waits for others.
    pub(super) fn job_after(&self, waits_for: impl Into<Vec<JobId>>) -> NewJob {
        NewJob { waits_for: waits_for.into(), ..self.job() }
    }

    /// A job of the task `t` with a time.
    pub(super) fn job_at(&self, when: When) -> NewJob {
        NewJob { when, ..self.job() }
    }

    /// A job of the task `t` with a priority.
    pub(super) fn job_with(&self, priority: i32) -> NewJob {
        NewJob { priority, ..self.job() }
    }

    /// Enqueues jobs, which must all be taken in, in one call.
    pub(super) async fn enqueue<const N: usize>(&self, jobs: [NewJob; N]) -> [JobId; N] {
        let ids = jobs.each_ref().map(|job| job.id);
        self.caller.lock().await.add(jobs.into()).await;
        ids
    }

    /// Enqueues that many jobs of the task `t` in one call.
    pub(super) async fn enqueue_many(&self, count: usize) -> Vec<JobId> {
        self.enqueue_all((0..count).map(|_| self.job()).collect()).await
    }

    /// Enqueues jobs, which must all be taken in, in one call.
    pub(super) async fn enqueue_all(&self, jobs: Vec<NewJob>) -> Vec<JobId> {
        let ids = jobs.iter().map(|job| job.id).collect();
        self.caller.lock().await.add(jobs).await;
        ids
    }

    pub(super) async fn get(&self, id: JobId) -> Job {
        self.storage.get(id).await.unwrap().found().expect("the job is stored")
    }

    pub(super) async fn state(&self, id: JobId) -> State {
        self.get(id).await.state
    }

    pub(super) async fn counts(&self) -> Counts {
        self.storage.counts(&self.shard).await.unwrap()
    }

    /// Whether the job is stored still.
    pub(super) async fn is_kept(&self, id: JobId) -> bool {
        matches!(self.storage.get(id).await.unwrap(), Lookup::Found(_))
    }

    // People.

    /// Does something to a job.
    pub(super) async fn act(&self, id: JobId, act: &Act) -> Acted {
        self.act_on(&[id], act).await[0]
    }

    /// Does something to jobs.
    pub(super) async fn act_on(&self, ids: &[JobId], act: &Act) -> Vec<Acted> {
        self.storage.act(&self.shard, ids, act).await.unwrap()
    }

    /// Calls a job off; it is kept for an hour.
    pub(super) async fn cancel(&self, id: JobId) -> Acted {
        self.act(id, &cancel()).await
    }

    /// Changes what is said of the shard; whether that changed anything.
    pub(super) async fn control(&self, change: Control) -> bool {
        self.storage.control(&self.shard, &change).await.unwrap()
    }

    /// Pauses something until it is resumed.
    pub(super) async fn pause(&self, scope: Scope) {
        assert!(self.control(Control::Pause(scope, None)).await);
    }

    pub(super) async fn resume(&self, scope: Scope) {
        assert!(self.control(Control::Resume(scope)).await);
    }

    pub(super) async fn controls(&self) -> Controls {
        self.storage.controls(&self.shard).await.unwrap()
    }

    /// Prunes once.
    pub(super) async fn prune(&self, retention: Retention) -> Step {
        self.storage.prune(&self.shard, retention).await.unwrap()
    }

    // Actors.

    /// A new client.
    pub(super) fn caller(&self) -> TestCaller {
        TestCaller::new(self.storage.clone(), self.shard.clone())
    }

    /// A registered worker that knows the task `t`.
    pub(super) async fn worker(&self) -> TestWorker {
        self.worker_of(&["t"]).await
    }

    /// A registered worker that knows these tasks.
    pub(super) async fn worker_of(&self, tasks: &[&str]) -> TestWorker {
        self.worker_with(tasks, |_| ()).await
    }

    /// A registered worker that knows the task `t` and has these terms.
    pub(super) async fn worker_on(&self, terms: LeaseTerms) -> TestWorker {
        self.worker_with(&["t"], |record| record.lease = terms).await
    }

    /// A registered worker, its record changed before it registers.
    pub(super) async fn worker_with(&self, tasks: &[&str], change: impl FnOnce(&mut WorkerRecord)) -> TestWorker {
        let mut worker = TestWorker::new(self.storage.clone(), self.shard.clone(), tasks);
        change(&mut worker.record);
        worker.register().await;
        worker
    }

    /// Lets every lease run out that is not renewed, while `witness` looks in, so that nobody takes it for an outage.
    pub(super) async fn run_out(&self, witness: &mut TestWorker) {
        for _ in 0..2 {
            self.advance(HALF).await;
            witness.upkeep().await;
        }
    }
}

/// The terms of workers on stage.
pub(super) fn terms() -> LeaseTerms {
    LeaseTerms::of(LENGTH)
}

pub(super) fn shard(queue: &str) -> Shard {
    Shard::of(queue.parse().expect("a queue's name"))
}

pub(super) fn task(name: &str) -> TaskName {
    name.parse().expect("a task's name")
}

pub(super) fn tag(name: &str) -> Tag {
    name.parse().expect("a tag")
}

/// To call jobs off, which are kept for an hour.
pub(super) fn cancel() -> Act {
    Act::Cancel { keep: HOUR }
}

/// As usual, but with at most that many traces and dead letters.
pub(super) fn at_most(traces: u64, dead: u64) -> Retention {
    Retention { traces, dead, ..Retention::default() }
}

/// Completed, returning nothing, kept for an hour.
pub(super) fn completed() -> Settlement {
    Settlement::Complete { result: None, keep: HOUR }
}

/// Completed, returning these bytes, kept that long.
pub(super) fn returned(result: &'static [u8], keep: Duration) -> Settlement {
    Settlement::Complete { result: Some(Bytes::from_static(result)), keep }
}

/// Failed, to run again after this delay.
pub(super) fn retry_in(delay: Duration) -> Settlement {
    Settlement::Retry { when: When::In(delay), failure: boom() }
}

/// To run again after this delay, unharmed.
pub(super) fn snooze_in(delay: Duration) -> Settlement {
    Settlement::Snooze { when: When::In(delay), hold: None }
}

/// Failed for good, kept for an hour.
pub(super) fn died() -> Settlement {
    Settlement::Die { reason: EndReason::Fatal, failure: boom(), keep: HOUR }
}

pub(super) fn boom() -> Failure {
    Failure::new(FailureKind::Error, "boom")
}

/// Waits for a hint that must come. The limit is for a storage that never gives it.
pub(super) async fn hear(listener: &Listener, what: &str) {
    let heard = tokio::time::timeout(secs(120), listener.changed()).await;
    assert!(heard.is_ok(), "no hint that {what}");
}

// Limits.

impl Stage {
    /// A job of the task `t` under these limits, to run at once.
    pub(super) fn job_under(&self, limits: impl Into<Vec<Limit>>) -> NewJob {
        NewJob { limits: limits.into(), ..self.job() }
    }

    /// Enqueues that many jobs under these limits in one call.
    pub(super) async fn enqueue_under(&self, limits: &[Limit], count: usize) -> Vec<JobId> {
        self.enqueue_all((0..count).map(|_| self.job_under(limits)).collect()).await
    }

    /// A job of the task `t` that is the only one of the key `u`, to run at once.
    pub(super) fn job_unique(&self, window: Window, conflict: Conflict) -> NewJob {
        NewJob { unique: Some(Unique::new(key("u"), window, conflict)), ..self.job() }
    }

    /// How a key is used.
    pub(super) async fn usage(&self, name: &str) -> Usage {
        self.storage.usage(&self.shard, &key(name)).await.unwrap()
    }

    /// Whether the job is ready and not set aside.
    pub(super) async fn is_in_line(&self, id: JobId) -> bool {
        let job = self.get(id).await;
        job.state == State::Ready && job.parked.is_none()
    }

    /// Why the job is set aside, and for which key.
    pub(super) async fn parked(&self, id: JobId) -> Option<(Parked, Option<Key>)> {
        let job = self.get(id).await;
        Some((job.parked?, job.parked_for))
    }
}

pub(super) fn key(name: &str) -> Key {
    name.parse().expect("a key")
}

/// So many slots, for which jobs wait.
pub(super) fn slots(name: &str, most: u32) -> Limit {
    Limit::Slots { key: key(name), most, full: WhenFull::Wait }
}

/// So many slots, for which jobs do not wait.
pub(super) fn slots_now_or_never(name: &str, most: u32) -> Limit {
    Limit::Slots { key: key(name), most, full: WhenFull::Cancel }
}

/// A rate: a start pays for so long, and as many may start at one moment.
pub(super) fn rate(name: &str, every: Duration, burst: u32) -> Limit {
    Limit::Rate { key: key(name), rate: pace(every, burst), cost: 1 }
}

/// The same, for a job that counts for so many starts.
pub(super) fn rate_at_cost(name: &str, every: Duration, burst: u32, cost: u32) -> Limit {
    Limit::Rate { key: key(name), rate: pace(every, burst), cost }
}

pub(super) fn pace(every: Duration, burst: u32) -> Rate {
    Rate::per(every, 1).burst(burst)
}
