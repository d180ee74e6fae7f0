//! A graceful stop burns nothing.

use std::sync::Arc;
use std::time::Duration;

use queue::{Context, Data, State, TaskError, Worker, task, tasks};

use super::Runs;
use super::ends::running;
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    what_ends_within_the_grace_is_settled,
    what_does_not_is_given_back_at_once,
    the_grace_can_be_cut_short,
    a_thread_that_can_not_be_stopped_is_not_given_away,
    a_stop_that_meets_a_claim_leaves_nothing_running,
);

#[task]
async fn takes_its_time(gate: Data<tokio::sync::Semaphore>, runs: Data<Runs>) -> Result<u32, TaskError> {
    let run = runs.count();
    gate.acquire().await?.forget();
    Ok(run)
}

async fn what_ends_within_the_grace_is_settled(place: Place) {
    let (gate, runs) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(Runs::default()));
    let builder = Worker::builder(&place.client).tasks(tasks![takes_its_time]).grace(PATIENCE);
    let worker = builder.data_arc(Arc::clone(&gate)).data_arc(Arc::clone(&runs)).build().unwrap();
    let job = takes_its_time::new().enqueue(&place.client).await.unwrap();
    let begun = async { eventually("the job runs", async || (runs.get() == 1).then_some(())).await };
    let stopping = worker.run_until(begun);
    tokio::pin!(stopping);
    // The job can't end before the stop has begun: while the worker runs, the gate stays shut.
    let stopped = tokio::select! {
        biased;
        stopped = &mut stopping => stopped,
        () = opens(&gate, &runs) => stopping.await,
    };
    stopped.unwrap();
    assert_eq!(job.result().await.unwrap(), Some(1));
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.attempts, facts.crashes), (1, 0));
}

/// Opens the gate once the job runs, which is when the worker is told to stop.
async fn opens(gate: &tokio::sync::Semaphore, runs: &Runs) {
    eventually("the job runs", async || (runs.get() == 1).then_some(())).await;
    gate.add_permits(1);
}

async fn what_does_not_is_given_back_at_once(place: Place) {
    let (gate, runs) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(Runs::default()));
    let build = || {
        let builder = Worker::builder(&place.client).tasks(tasks![takes_its_time]).grace(Duration::ZERO);
        // Nobody can wait this lease out.
        let builder = builder.lease(Duration::from_secs(3_600));
        builder.data_arc(Arc::clone(&gate)).data_arc(Arc::clone(&runs)).build().unwrap()
    };
    let job = takes_its_time::new().enqueue(&place.client).await.unwrap();
    let begun = async { eventually("the job runs", async || (runs.get() == 1).then_some(())).await };
    build().run_until(begun).await.unwrap();
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.state, facts.attempts, facts.crashes), (State::Ready, 0, 0));
    gate.add_permits(1);
    build().run_until(async { assert_eq!(job.wait(PATIENCE).await.unwrap(), 2) }).await.unwrap();
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.attempts, facts.crashes), (1, 0));
    assert!(place.storage.workers().await.unwrap().is_empty(), "both said goodbye");
}

/// Being told to stop at once means something only where a stop has begun.
async fn the_grace_can_be_cut_short(place: Place) {
    let (gate, runs) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(Runs::default()));
    let hour = Duration::from_secs(3_600);
    let builder = Worker::builder(&place.client).tasks(tasks![takes_its_time]).grace(hour).lease(hour);
    let worker = builder.data_arc(Arc::clone(&gate)).data_arc(Arc::clone(&runs)).build().unwrap();
    let readiness = worker.readiness();
    let job = takes_its_time::new().enqueue(&place.client).await.unwrap();
    let begun = async {
        eventually("the job runs", async || (runs.get() == 1).then_some(())).await;
        assert!(readiness.is_ready(), "{readiness:?}");
    };
    let told_early = std::future::ready(());
    tokio::time::timeout(PATIENCE, worker.run_until_or(begun, told_early)).await.expect("no hour").unwrap();
    assert!(readiness.is_stopped(), "{readiness:?}");
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.state, facts.attempts, facts.crashes), (State::Ready, 0, 0));
    assert!(place.storage.workers().await.unwrap().is_empty(), "it said goodbye");
}

#[task]
fn on_a_thread(ctx: Context, runs: Data<Runs>) -> Result<u32, TaskError> {
    let run = runs.count();
    while !ctx.is_cancelled() {
        std::thread::yield_now();
    }
    Ok(run)
}

async fn a_thread_that_can_not_be_stopped_is_not_given_away(place: Place) {
    let runs = Arc::new(Runs::default());
    let builder = Worker::builder(&place.client).tasks(tasks![on_a_thread]).grace(Duration::ZERO);
    let worker = builder.data_arc(Arc::clone(&runs)).build().unwrap();
    let job = on_a_thread::new().enqueue(&place.client).await.unwrap();
    let begun = async { eventually("the job runs", async || (runs.get() == 1).then_some(())).await };
    worker.run_until(begun).await.unwrap();
    // It heard that it should stop, ended, and its answer was taken.
    assert_eq!(job.result().await.unwrap(), Some(1));
    let _ = running(&place, tasks![unrelated], async {}).await;
    assert_eq!(runs.get(), 1);
}

#[task]
async fn unrelated() -> Result<(), TaskError> {
    Ok(())
}

async fn a_stop_that_meets_a_claim_leaves_nothing_running(place: Place) {
    let hour = Duration::from_secs(3_600);
    for turns in 0..60 {
        let jobs = place.client.enqueue_all((0..3).map(|_| unrelated::new())).await.unwrap();
        let worker = Worker::builder(&place.client).tasks(tasks![unrelated]).lease(hour).build().unwrap();
        // Told to stop a little later each time: before the first claim, while it is under way, after it.
        let shutdown = async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        };
        worker.run_until(shutdown).await.unwrap();
        for job in jobs {
            let facts = job.status().await.unwrap().facts().cloned().unwrap();
            assert!(matches!(facts.state, State::Ready | State::Completed), "after {turns} turns: {facts:?}");
            assert_eq!(facts.crashes, 0);
        }
    }
}
