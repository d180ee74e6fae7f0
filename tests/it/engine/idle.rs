//! An idle worker hears of work, whatever it did last: nobody here could wait for a poll.

use std::sync::Arc;
use std::time::Duration;

use queue::clock::ManualClock;
use queue::{Client, Context, TaskError, Worker, task, tasks};

use crate::support::saboteur::{Call, Lose, Saboteur};
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(each_job_wakes_it, what_its_own_settlements_bring_wakes_it, it_is_woken_beside_a_job_that_runs);

#[task]
async fn double(n: u32) -> Result<u32, TaskError> {
    Ok(n * 2)
}

#[task(retries = 2, backoff = fixed("5ms"))]
async fn third_time(n: u32, ctx: Context) -> Result<u32, TaskError> {
    if ctx.attempt() < 3 { Err("not yet".into()) } else { Ok(n) }
}

#[task]
async fn until_told(gate: queue::Data<tokio::sync::Semaphore>) -> Result<(), TaskError> {
    gate.acquire().await?.forget();
    Ok(())
}

/// Runs a worker that never looks by itself while `body` runs.
async fn idle(place: &Place, body: impl AsyncFnOnce(&tokio::sync::Semaphore)) {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let builder = Worker::builder(&place.client).tasks(tasks![double, third_time, until_told]).concurrency(4);
    let builder = builder.data_arc(Arc::clone(&gate)).poll_every(Duration::from_secs(3_600));
    builder.build().unwrap().run_until(body(&gate)).await.unwrap();
}

async fn one_by_one(place: &Place) {
    for n in 0..20 {
        let job = double::new(n).enqueue(&place.client).await.unwrap();
        assert_eq!(job.wait(PATIENCE).await.unwrap(), n * 2);
    }
}

async fn each_job_wakes_it(place: Place) {
    idle(&place, async |_| one_by_one(&place).await).await;
}

async fn what_its_own_settlements_bring_wakes_it(place: Place) {
    idle(&place, async |_| {
        for n in 0..5 {
            let pipeline = third_time::new(n).then(double::after()).then(double::after());
            let last = pipeline.enqueue(&place.client).await.unwrap();
            assert_eq!(last.wait(PATIENCE).await.unwrap(), n * 4);
        }
    })
    .await;
}

async fn it_is_woken_beside_a_job_that_runs(place: Place) {
    idle(&place, async |gate| {
        let long = until_told::new().enqueue(&place.client).await.unwrap();
        one_by_one(&place).await;
        gate.add_permits(1);
        long.wait(PATIENCE).await.unwrap();
        one_by_one(&place).await;
    })
    .await;
}

/// A worker that met an outage pauses before it asks again; a hint that the storage is back ends the pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_ends_the_pause_after_an_outage() {
    let place = crate::support::memory();
    let line = Saboteur::new(Arc::clone(&place.storage), [(Call::Exchange, 1, Lose::Request)]);
    // By a clock that stands still no pause ever ends.
    let storage = Arc::clone(&line) as Arc<dyn queue::Storage>;
    let client = Client::builder(storage).clock(Arc::new(ManualClock::new())).build();
    let worker = Worker::builder(&client).tasks(tasks![double]).build().unwrap();
    let story = async {
        let lost = async || (line.lost.load(std::sync::atomic::Ordering::Relaxed) == 1).then_some(());
        eventually("an exchange is lost", lost).await;
        one_by_one(&place).await;
    };
    worker.run_until(story).await.unwrap();
}
