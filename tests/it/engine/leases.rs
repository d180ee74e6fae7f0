//! Leases are renewed from outside the runtime that runs user code.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use queue::{Client, Context, Data, TaskError, Worker, WorkerId, task, tasks};
use queue_storage::model::{LEVEL, Shard};
use queue_storage::storage::{Exchange, LeaseTerms, WorkerRecord};

use super::Runs;
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    a_blocked_runtime_keeps_its_lease,
    a_worker_whose_lease_is_lost_is_cancelled_and_settles_nothing,
    a_long_job_keeps_its_lease,
    suspects_run_one_at_a_time_and_without_waiting,
);

const LEASE: Duration = Duration::from_millis(300);

#[task]
async fn spins(runs: Data<Runs>) -> Result<u32, TaskError> {
    let run = runs.count();
    // Blocks the only thread of the runtime, on purpose.
    std::thread::sleep(2 * LEASE);
    Ok(run)
}

/// Runs a worker on a thread and a runtime of its own, with one thread for everything, until `stop` is dropped.
fn worker_on_its_own(
    client: &Client,
    runs: &Arc<Runs>,
) -> (tokio::sync::oneshot::Sender<()>, std::thread::JoinHandle<()>) {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let worker = Worker::builder(client).tasks(tasks![spins]).data_arc(Arc::clone(runs)).lease(LEASE);
    let worker = worker.build().unwrap();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(worker.run_until(async { drop(stopped.await) })).unwrap();
    });
    (stop, thread)
}

async fn a_blocked_runtime_keeps_its_lease(place: Place) {
    let runs = Arc::new(Runs::default());
    let job = spins::new().enqueue(&place.client).await.unwrap();
    let first = worker_on_its_own(&place.client, &runs);
    eventually("the job runs", async || (runs.get() == 1).then_some(())).await;
    let second = worker_on_its_own(&place.client, &runs);
    assert_eq!(job.wait(PATIENCE).await.unwrap(), 1);
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((runs.get(), facts.attempts, facts.crashes), (1, 1, 0));
    for (stop, thread) in [first, second] {
        drop(stop);
        thread.join().unwrap();
    }
}

#[task]
async fn naps(runs: Data<Runs>) -> Result<u32, TaskError> {
    let run = runs.count();
    tokio::time::sleep(3 * LEASE).await;
    Ok(run)
}

async fn a_long_job_keeps_its_lease(place: Place) {
    let runs = Arc::new(Runs::default());
    let job = naps::new().enqueue(&place.client).await.unwrap();
    let build = || Worker::builder(&place.client).tasks(tasks![naps]).data_arc(Arc::clone(&runs)).lease(LEASE).build();
    let (a, b) = (build().unwrap(), build().unwrap());
    let done = || async { assert_eq!(job.wait(PATIENCE).await.unwrap(), 1) };
    let (a, b) = tokio::join!(a.run_until(done()), b.run_until(done()));
    a.and(b).unwrap();
    assert_eq!(runs.get(), 1);
}

/// Where the first run says what becomes of it.
type Said = std::sync::Mutex<mpsc::Sender<&'static str>>;

/// Says on its channel what becomes of the first run.
struct Witness(mpsc::Sender<&'static str>);

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[task]
async fn holds(ctx: Context, runs: Data<Runs>, said: Data<Said>) -> Result<u32, TaskError> {
    let run = runs.count();
    if run == 1 {
        let witness = Witness(said.lock().unwrap().clone());
        ctx.cancelled().await;
        let _ = witness.0.send("cancelled");
        std::future::pending::<()>().await;
    }
    Ok(run)
}

async fn a_worker_whose_lease_is_lost_is_cancelled_and_settles_nothing(place: Place) {
    let runs = Arc::new(Runs::default());
    let (said, heard) = mpsc::channel();
    let said = Arc::new(Said::new(said));
    let build = || {
        let builder = Worker::builder(&place.client).tasks(tasks![holds]).lease(LEASE);
        builder.data_arc(Arc::clone(&runs)).data_arc(Arc::clone(&said)).build().unwrap()
    };
    let first = build();
    let id = first.id();
    let job = holds::new().enqueue(&place.client).await.unwrap();
    let first = tokio::spawn(first.run_until(std::future::pending()));
    eventually("the job runs", async || (runs.get() == 1).then_some(())).await;

    // The storage forgets the worker, as after a day of silence: its renewals are refused, its lease runs out.
    place.storage.deregister(id).await.unwrap();
    let second = build();
    second.run_until(async { assert_eq!(job.wait(PATIENCE).await.unwrap(), 2) }).await.unwrap();
    let first_words: Vec<_> = heard.iter().take(1).collect();
    assert!(matches!(first_words[..], ["cancelled" | "dropped"]));
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.attempts, facts.crashes), (1, 0), "a worker that said goodbye has not crashed");
    first.abort();
}

/// How many run at once now, and at most.
#[derive(Default)]
struct AtOnce(std::sync::Mutex<(u32, u32)>);

#[task]
async fn watched(at_once: Data<AtOnce>) -> Result<(), TaskError> {
    {
        let mut at_once = at_once.0.lock().unwrap();
        at_once.0 += 1;
        at_once.1 = at_once.1.max(at_once.0);
    }
    tokio::task::yield_now().await;
    at_once.0.lock().unwrap().0 -= 1;
    Ok(())
}

async fn suspects_run_one_at_a_time_and_without_waiting(place: Place) {
    let jobs = place.client.enqueue_all((0..20).map(|_| watched::new())).await.unwrap();
    vanish_with(&place, 20).await;
    // Nobody could wait for a poll, or for a lease of this worker.
    let at_once = Arc::new(AtOnce::default());
    let builder = Worker::builder(&place.client).tasks(tasks![watched]).data_arc(Arc::clone(&at_once)).concurrency(8);
    let hour = Duration::from_secs(3_600);
    let worker = builder.lease(hour).poll_every(hour).build().unwrap();
    worker
        .run_until(async {
            for job in &jobs {
                job.wait(PATIENCE).await.unwrap();
                assert_eq!(job.status().await.unwrap().facts().unwrap().crashes, 1);
            }
        })
        .await
        .unwrap();
    assert_eq!(at_once.0.lock().unwrap().1, 1);
}

/// A worker claims that many jobs, says that it has them, and is never heard of again.
async fn vanish_with(place: &Place, jobs: u32) {
    let shard = Shard::of("default".parse().unwrap());
    let worker = WorkerId::generate();
    let record = WorkerRecord {
        id: worker,
        host: "nowhere".into(),
        version: None,
        shards: vec![shard.clone()],
        tasks: ["watched".parse().unwrap()].into(),
        understands: LEVEL,
        lease: LeaseTerms::of(Duration::from_millis(100)),
        concurrency: jobs,
        started_at: queue::Timestamp::EPOCH,
        seen_at: queue::Timestamp::EPOCH,
    };
    place.storage.register(record).await.unwrap();
    let ask = |number, want| Exchange { worker, shard: shard.clone(), number, settlements: vec![], want, suspects: 0 };
    let claimed = place.storage.exchange(ask(1, jobs)).await.unwrap().claimed;
    assert_eq!(claimed.len(), jobs as usize);
    place.storage.exchange(ask(2, 0)).await.unwrap();
}
