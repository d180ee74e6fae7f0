//! Tasks that are not async: their attempts end in time, their threads when they please.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{Context, Data, Lingering, State, TaskError, Worker, task, tasks};
use queue_storage::clock::ManualClock;

use super::Runs;
use crate::support::{PATIENCE, Place, Timed, eventually, on_every_clock, on_every_storage};

// The clock stands still until a thread has begun: a timeout that comes before that keeps it from beginning.
on_every_clock!(
    an_attempt_fails_in_time_and_its_thread_keeps_the_slot,
    a_retry_may_start_beside_the_old_thread,
    a_thread_learns_that_its_attempt_is_over,
    a_stop_waits_for_lingering_threads_no_longer_than_its_grace,
);

on_every_storage!(a_body_that_has_no_thread_by_its_timeout_never_begins);

/// Holds threads until the test lets them go, one for each word.
struct Gate {
    words: Mutex<Receiver<()>>,
    /// How many have come to it.
    came: Runs,
}

fn gate() -> (Sender<()>, Arc<Gate>) {
    let (opens, words) = channel();
    (opens, Arc::new(Gate { words: Mutex::new(words), came: Runs::default() }))
}

impl Gate {
    fn pass(&self) {
        self.came.count();
        self.words.lock().unwrap().recv_timeout(PATIENCE).expect("let go");
    }

    /// Waits until a thread stands at it.
    async fn is_reached(&self) {
        eventually("a thread has begun", async || (self.came.get() == 1).then_some(())).await;
    }
}

/// Moves the clock on by the timeout of an attempt, again and again, until that is over and its thread lingers.
async fn times_out(clock: &ManualClock, threads: &Lingering) {
    let over = async || {
        clock.advance(TIMEOUT);
        (threads.count() == 1).then_some(())
    };
    eventually("the attempt is over", over).await;
}

/// Waits until so many threads linger.
async fn lingering(lingering: &Lingering, threads: usize) {
    eventually("so many threads linger", async || (lingering.count() == threads).then_some(())).await;
}

/// The timeout of the tasks below.
const TIMEOUT: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_millis(10);

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

async fn an_attempt_fails_in_time_and_its_thread_keeps_the_slot(timed: Timed) {
    let Timed { place, clock } = timed;
    let (opens, gate) = gate();
    let builder = Worker::builder(&place.client).tasks(tasks![stuck, quick]).data_arc(Arc::clone(&gate));
    let builder = builder.data(Runs::default());
    let worker = builder.concurrency(1).build().unwrap();
    let threads = worker.lingering();
    let job = stuck::new().enqueue(&place.client).await.unwrap();
    let next = quick::new().enqueue(&place.client).await.unwrap();
    worker
        .run_until(async {
            gate.is_reached().await;
            times_out(&clock, &threads).await;
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

/// Tried again as often as the clock leaps past a try.
#[task(timeout = "20ms", retries = 99, backoff = fixed("0ms"))]
fn stuck_at_first(ctx: Context, gate: Data<Gate>) -> Result<u32, TaskError> {
    if ctx.attempt() == 1 {
        gate.pass();
    }
    Ok(ctx.attempt())
}

async fn a_retry_may_start_beside_the_old_thread(timed: Timed) {
    let Timed { place, clock } = timed;
    let (opens, gate) = gate();
    let worker =
        Worker::builder(&place.client).tasks(tasks![stuck_at_first]).data_arc(Arc::clone(&gate)).concurrency(2);
    let worker = worker.build().unwrap();
    let threads = worker.lingering();
    let job = stuck_at_first::new().enqueue(&place.client).await.unwrap();
    worker
        .run_until(async {
            gate.is_reached().await;
            times_out(&clock, &threads).await;
            let ended = job.wait(PATIENCE).await.unwrap();
            assert!(ended > 1);
            lingering(&threads, 1).await;
            opens.send(()).unwrap();
            lingering(&threads, 0).await;
            assert_eq!(job.result().await.unwrap(), Some(ended), "what the first thread returned counts for nothing");
        })
        .await
        .unwrap();
}

#[task(timeout = "20ms")]
fn looks_at_its_context(ctx: Context, begun: Data<Runs>) -> Result<(), TaskError> {
    begun.count();
    while !ctx.is_cancelled() {
        std::thread::yield_now();
    }
    Ok(())
}

async fn a_thread_learns_that_its_attempt_is_over(timed: Timed) {
    let Timed { place, clock } = timed;
    let begun = Arc::new(Runs::default());
    let builder = Worker::builder(&place.client).tasks(tasks![looks_at_its_context]);
    let worker = builder.data_arc(Arc::clone(&begun)).build().unwrap();
    let threads = worker.lingering();
    let job = looks_at_its_context::new().enqueue(&place.client).await.unwrap();
    worker
        .run_until(async {
            eventually("it has begun", async || (begun.get() == 1).then_some(())).await;
            let over = async || {
                clock.advance(TIMEOUT);
                job.status().await.unwrap().state().filter(|state| *state == State::Dead)
            };
            eventually("the attempt is over", over).await;
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

async fn a_stop_waits_for_lingering_threads_no_longer_than_its_grace(timed: Timed) {
    let Timed { place, clock } = timed;
    let (opens, gate) = gate();
    let passed = Arc::new(Runs::default());
    let builder = Worker::builder(&place.client).tasks(tasks![stuck]).data_arc(Arc::clone(&gate));
    let builder = builder.data_arc(Arc::clone(&passed));
    let worker = builder.grace(GRACE).build().unwrap();
    let threads = worker.lingering();
    let job = stuck::new().enqueue(&place.client).await.unwrap();
    let (told, stops) = tokio::sync::oneshot::channel();
    let story = async {
        gate.is_reached().await;
        times_out(&clock, &threads).await;
        assert!(job.wait(PATIENCE).await.unwrap_err().is_dead());
        assert_eq!(threads.count(), 1);
        told.send(()).unwrap();
    };
    let passes = async {
        stops.await.unwrap();
        let given_up = async || {
            clock.advance(GRACE);
            (threads.count() == 0).then_some(())
        };
        eventually("the worker waits no longer", given_up).await;
    };
    let (stopped, ()) = tokio::join!(worker.run_until(story), passes);
    stopped.unwrap();
    assert_eq!((passed.get(), threads.count()), (0, 0), "the worker has stopped, the thread is where it was");
    opens.send(()).unwrap();
}
