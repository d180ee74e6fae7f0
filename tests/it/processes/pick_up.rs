//! From one idle process to another and back.

use queue::Client;
use rustix::process::Signal;

use super::measure::Spread;
use super::stage::{Process, Stage, on_every_shared_storage, whole};
use super::tasks::{now, work};
use crate::support::PATIENCE;

on_every_shared_storage!(an_idle_worker_is_woken_and_its_waiter_is_told);

const JOBS: u64 = 100;
/// Longer than this whole test may take: whoever waits for a poll fails it.
const WORKER: &str = "--poll-ms 3600000";

/// An idle worker in another process hears of each job at once, and whoever waits for the result of its end.
async fn an_idle_worker_is_woken_and_its_waiter_is_told(stage: Stage) {
    let client = stage.client().await;
    let mut worker = stage.worker("idle", WORKER);
    // The first finds the worker on its way up, and is not measured.
    let (mut asked, mut told) = (Vec::new(), Vec::new());
    for job in 0..=JOBS {
        asked.push(now());
        run(&client, job).await;
        told.push(now());
    }
    let log = stage.log();
    let moments = |what: &'static str| log.iter().filter(move |line| line.what == what).map(|line| line.at);
    let since = |(late, early): (_, _)| std::time::Duration::saturating_sub(late, early);
    let picked_up = Spread::of(moments("begin").zip(asked).skip(1).map(since));
    let pushed = Spread::of(told.into_iter().zip(moments("end")).skip(1).map(since));
    // A waiter that is not told looks after five seconds.
    assert!(pushed.median().as_secs() < 3, "results are not pushed: {pushed}");
    whole(&client).await;
    stop(&mut worker).await;
    println!("pick-up on {}, from enqueue to run: {picked_up}", stage.kind());
    println!("results on {}, from the run's end to the waiter: {pushed}", stage.kind());
}

/// Long enough that the wait begins before the run ends.
async fn run(client: &Client, job: u64) {
    let job = work::new(job, [0, 20_000, 0]).enqueue(client).await.unwrap();
    assert_eq!(job.wait(PATIENCE).await.unwrap(), "idle");
}

async fn stop(worker: &mut Process) {
    worker.signal(Signal::TERM);
    worker.ends_well().await;
}
