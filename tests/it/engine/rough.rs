//! Rough treatment: what users and storages do to an engine that they should not.

use std::sync::Arc;
use std::time::Duration;

use queue::{Client, Data, State, TaskError, Worker, task, tasks};
use queue_storage::model::Shard;

use super::Runs;
use crate::support::saboteur::{Call, Lose, Saboteur};
use crate::support::{PATIENCE, Place, on_every_storage};

on_every_storage!(
    a_finished_job_keeps_its_lease_until_its_outcome_is_written,
    an_enqueue_that_nobody_polls_holds_up_nobody,
    a_panic_in_drop_costs_the_attempt_and_no_slot,
    a_damaged_queue_does_not_starve_the_others,
    a_worker_that_is_dropped_is_taken_over,
);

const HOUR: Duration = Duration::from_secs(3_600);

#[task(at_most_once)]
async fn once(runs: Data<Runs>) -> Result<u32, TaskError> {
    Ok(runs.count())
}

async fn a_finished_job_keeps_its_lease_until_its_outcome_is_written(place: Place) {
    // The exchange that settles is lost again and again, for longer than the lease; renewals go through.
    let line = Saboteur::new(Arc::clone(&place.storage), (2..=6).map(|nth| (Call::Exchange, nth, Lose::Request)));
    let client = Client::new(Arc::clone(&line) as Arc<dyn queue::Storage>);
    let runs = Arc::new(Runs::default());
    let build = |client: &Client| {
        let builder = Worker::builder(client).tasks(tasks![once]).data_arc(Arc::clone(&runs)).concurrency(1);
        builder.lease(Duration::from_millis(300)).poll_every(Duration::from_millis(20)).build().unwrap()
    };
    let job = once::new().enqueue(&place.client).await.unwrap();
    let first = build(&client);
    let second = build(&place.client);
    let settled = || async { assert_eq!(job.wait(PATIENCE).await.unwrap(), 1) };
    let begun = async {
        crate::support::eventually("the job runs", async || (runs.get() == 1).then_some(())).await;
        second.run_until(settled()).await
    };
    let (first, second) = tokio::join!(first.run_until(settled()), begun);
    first.and(second).unwrap();
    assert_eq!(runs.get(), 1);
}

#[task]
async fn quick(n: u32) -> Result<u32, TaskError> {
    Ok(n)
}

async fn an_enqueue_that_nobody_polls_holds_up_nobody(place: Place) {
    let mut forgotten = Box::pin(quick::new(1).enqueue(&place.client));
    // Polled once, so that it has taken the turn if that is how it is done, and then kept without being polled.
    let polled = tokio::select! {
        biased;
        stored = &mut forgotten => Some(stored),
        () = std::future::ready(()) => None,
    };
    for n in 0..10 {
        quick::new(n).enqueue(&place.client).await.unwrap();
    }
    if polled.is_none() {
        forgotten.await.unwrap();
    }
    assert_eq!(place.client.counts("default").await.unwrap().enqueued, 11);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the bomb went off");
    }
}

#[task(timeout = "20ms")]
async fn holds_a_bomb() -> Result<(), TaskError> {
    let _bomb = Bomb;
    std::future::pending().await
}

#[task]
async fn throws_a_bomb() -> Result<(), TaskError> {
    std::panic::panic_any(Bomb)
}

async fn a_panic_in_drop_costs_the_attempt_and_no_slot(place: Place) {
    let held = holds_a_bomb::new().enqueue(&place.client).await.unwrap();
    let thrown = throws_a_bomb::new().enqueue(&place.client).await.unwrap();
    let after = quick::new(7).enqueue(&place.client).await.unwrap();
    let builder = Worker::builder(&place.client).tasks(tasks![holds_a_bomb, throws_a_bomb, quick]);
    let worker = builder.concurrency(1).lease(HOUR).build().unwrap();
    worker
        .run_until(async {
            assert_eq!(after.wait(PATIENCE).await.unwrap(), 7);
            assert!(held.wait(PATIENCE).await.unwrap_err().to_string().contains("timeout of 20ms"));
            assert!(thrown.wait(PATIENCE).await.unwrap_err().is_dead());
        })
        .await
        .unwrap();
}

async fn a_damaged_queue_does_not_starve_the_others(place: Place) {
    let line = Saboteur::new(Arc::clone(&place.storage), []);
    line.damage(Shard::of("damaged".parse().unwrap()));
    let client = Client::new(Arc::clone(&line) as Arc<dyn queue::Storage>);
    let jobs = client.enqueue_all((0..20).map(|n| quick::new(n).queue("sound"))).await.unwrap();
    quick::new(99).queue("damaged").enqueue(&client).await.unwrap();
    for weighted in [false, true] {
        let builder =
            Worker::builder(&client).tasks(tasks![quick]).concurrency(2).poll_every(HOUR).grace(Duration::ZERO);
        let builder = match weighted {
            false => builder.queue("damaged").queue("sound"),
            true => builder.queue_weighted("damaged", 5).queue_weighted("sound", 1),
        };
        let all = async {
            for job in &jobs {
                job.wait(PATIENCE).await.unwrap();
            }
        };
        builder.build().unwrap().run_until(all).await.unwrap();
    }
}

#[task]
async fn hangs_at_first(runs: Data<Runs>) -> Result<u32, TaskError> {
    match runs.count() {
        1 => std::future::pending().await,
        run => Ok(run),
    }
}

async fn a_worker_that_is_dropped_is_taken_over(place: Place) {
    let runs = Arc::new(Runs::default());
    let build = || {
        let builder = Worker::builder(&place.client).tasks(tasks![hangs_at_first]).data_arc(Arc::clone(&runs));
        builder.lease(Duration::from_millis(200)).build().unwrap()
    };
    let job = hangs_at_first::new().enqueue(&place.client).await.unwrap();
    let first = tokio::spawn(build().run_until(std::future::pending()));
    crate::support::eventually("the job runs", async || (runs.get() == 1).then_some(())).await;
    first.abort();
    build().run_until(async { assert_eq!(job.wait(PATIENCE).await.unwrap(), 2) }).await.unwrap();
    assert_eq!(job.status().await.unwrap().state(), Some(State::Completed));
}

/// A log that is gone once a run has completed, as standard error is when nobody reads its pipe any more.
struct Gone;

impl std::io::Write for Gone {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        assert!(!String::from_utf8_lossy(line).contains("task_completed"), "the log is gone");
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_beside_a_task_ends_the_worker_and_holds_no_job() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::memory();
    let lease = Duration::from_millis(300);
    let worker = || Worker::builder(&client).tasks(tasks![quick]).lease(lease).build().unwrap();
    let log = tracing_subscriber::fmt().with_writer(|| Gone).finish();
    let job = tracing::subscriber::with_default(log, || {
        runtime.block_on(async {
            let job = quick::new(7).enqueue(&client).await.unwrap();
            let first = worker();
            let readiness = first.readiness();
            let run = tokio::spawn(first.run_until(std::future::pending()));
            let ended = tokio::time::timeout(PATIENCE, run).await.expect("the worker ends");
            assert!(ended.unwrap_err().is_panic() && readiness.is_stopped());
            job
        })
    });
    let taken_over = async {
        let another = worker();
        another.run_until(async { assert_eq!(job.wait(PATIENCE).await.unwrap(), 7) }).await.unwrap();
    };
    runtime.block_on(taken_over);
}
