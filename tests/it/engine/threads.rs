//! Tasks that are not async: their attempts end in time, their threads when they please.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{Context, Data, Lingering, State, TaskError, Worker, task, tasks};

use super::Runs;
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    an_attempt_fails_in_time_and_its_thread_keeps_the_slot,
    a_retry_may_start_beside_the_old_thread,
    a_thread_learns_that_its_attempt_is_over,
    a_body_that_has_no_thread_by_its_timeout_never_begins,
    a_stop_waits_for_lingering_threads_no_longer_than_its_grace,
);

/// Holds threads until the test lets them go, one for each word.
struct Gate(Mutex<Receiver<()>>);

fn gate() -> (Sender<()>, Gate) {
    let (opens, gate) = channel();
    (opens, Gate(Mutex::new(gate)))
}

impl Gate {
    fn pass(&self) {
        self.0.lock().unwrap().recv_timeout(PATIENCE).expect("let go");
    }
}

async fn lingering(lingering: &Lingering, threads: usize) {
    eventually("so many threads linger", async || (lingering.count() == threads).then_some(())).await;
}

#[task(timeout = "20ms")]
fn stuck(gate: Data<Gate>, passed: Data<Runs>) -> Result<(), TaskError> {
    gate.pass();
    passed.count();
    Ok(())
}

#[task]
async fn quick() -> Result<u32, TaskError> {
    Ok(1)
}

async fn an_attempt_fails_in_time_and_its_thread_keeps_the_slot(place: Place) {
    let (opens, gate) = gate();
    let builder = Worker::builder(&place.client).tasks(tasks![stuck, quick]).data(gate).data(Runs::default());
    let worker = builder.concurrency(1).build().unwrap();
    let threads = worker.lingering();
    let job = stuck::new().enqueue(&place.client).await.unwrap();
    let next = quick::new().enqueue(&place.client).await.unwrap();
    worker
        .run_until(async {
            let error = job.wait(PATIENCE).await.unwrap_err();
            assert!(
                error.to_string().ends_with("timeout: the attempt took longer than its timeout of 20ms"),
                "{error}"
            );
            assert_eq!(threads.count(), 1, "the thread goes on");
            assert_eq!(next.status().await.unwrap().state(), Some(State::Ready), "the one slot is taken");
            opens.send(()).unwrap();
            assert_eq!(next.wait(PATIENCE).await.unwrap(), 1);
            assert_eq!(threads.count(), 0);
        })
        .await
        .unwrap();
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.state, facts.attempts), (State::Dead, 1), "what the thread said in the end counts for nothing");
}

#[task(timeout = "20ms", retries = 1, backoff = fixed("1ms"))]
fn stuck_at_first(ctx: Context, gate: Data<Gate>) -> Result<u32, TaskError> {
    if ctx.attempt() == 1 {
        gate.pass();
    }
    Ok(ctx.attempt())
}

async fn a_retry_may_start_beside_the_old_thread(place: Place) {
    let (opens, gate) = gate();
    let worker = Worker::builder(&place.client).tasks(tasks![stuck_at_first]).data(gate).concurrency(2);
    let worker = worker.build().unwrap();
    let threads = worker.lingering();
    let job = stuck_at_first::new().timeout(Duration::from_millis(300)).enqueue(&place.client).await.unwrap();
    worker
        .run_until(async {
            assert_eq!(job.wait(PATIENCE).await.unwrap(), 2);
            assert_eq!(threads.count(), 1);
            opens.send(()).unwrap();
            lingering(&threads, 0).await;
        })
        .await
        .unwrap();
    assert_eq!(job.result().await.unwrap(), Some(2));
}

#[task(timeout = "20ms")]
fn looks_at_its_context(ctx: Context, runs: Data<Runs>) -> Result<(), TaskError> {
    while !ctx.is_cancelled() {
        std::thread::yield_now();
    }
    runs.count();
    Ok(())
}

async fn a_thread_learns_that_its_attempt_is_over(place: Place) {
    let heard = Arc::new(Runs::default());
    let builder = Worker::builder(&place.client).tasks(tasks![looks_at_its_context]);
    let worker = builder.data_arc(Arc::clone(&heard)).build().unwrap();
    let threads = worker.lingering();
    let job = looks_at_its_context::new().enqueue(&place.client).await.unwrap();
    worker
        .run_until(async {
            assert!(job.wait(PATIENCE).await.unwrap_err().is_dead());
            eventually("it heard", async || (heard.get() == 1).then_some(())).await;
            lingering(&threads, 0).await;
        })
        .await
        .unwrap();
}

#[task(timeout = "20ms")]
fn begins(runs: Data<Runs>) -> Result<(), TaskError> {
    runs.count();
    Ok(())
}

/// Runs on a runtime of its own, whose one blocking thread is taken.
async fn a_body_that_has_no_thread_by_its_timeout_never_begins(place: Place) {
    let begun = Arc::new(Runs::default());
    let (opens, gate) = gate();
    let job = begins::new().enqueue(&place.client).await.unwrap();
    let builder = Worker::builder(&place.client).tasks(tasks![begins]).data_arc(Arc::clone(&begun));
    let worker = builder.build().unwrap();
    let threads = worker.lingering();
    let on_its_own = std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).max_blocking_threads(1).enable_all().build().unwrap();
        runtime.block_on(async move {
            let taken = tokio::task::spawn_blocking(move || gate.pass());
            let timed_out = async {
                assert!(job.wait(PATIENCE).await.unwrap_err().is_dead());
                opens.send(()).unwrap();
                taken.await.unwrap();
                lingering(&threads, 0).await;
            };
            worker.run_until(timed_out).await.unwrap();
        });
    });
    tokio::task::spawn_blocking(move || on_its_own.join().unwrap()).await.unwrap();
    assert_eq!(begun.get(), 0);
}

async fn a_stop_waits_for_lingering_threads_no_longer_than_its_grace(place: Place) {
    let (opens, gate) = gate();
    let passed = Arc::new(Runs::default());
    let builder = Worker::builder(&place.client).tasks(tasks![stuck]).data(gate).data_arc(Arc::clone(&passed));
    let worker = builder.grace(Duration::from_millis(10)).build().unwrap();
    let threads = worker.lingering();
    let job = stuck::new().enqueue(&place.client).await.unwrap();
    worker
        .run_until(async {
            assert!(job.wait(PATIENCE).await.unwrap_err().is_dead());
            assert_eq!(threads.count(), 1);
        })
        .await
        .unwrap();
    assert_eq!((passed.get(), threads.count()), (0, 0), "the worker has stopped, the thread is where it was");
    opens.send(()).unwrap();
}
