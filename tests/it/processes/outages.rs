//! A server that dies and comes back, which had on disk what it had answered.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;

use super::drain::{drained, drained_to};
use super::stage::{Durable, Process, Stage, stored, whole};
use super::tasks::{hold, now, work};
use crate::support::{PATIENCE, eventually};

/// Longer than a test may take: whoever waits for a poll fails it.
const NO_POLL: &str = "--poll-ms 3600000";

impl Durable {
    fn restart(&self) {
        self.server.kill();
        self.server.start_again();
    }
}

/// They must have lived through it all.
async fn stop(workers: &mut [Process]) {
    for worker in workers {
        assert!(worker.ended().is_none(), "{} ended: {}", worker.name, worker.stderr());
        worker.signal(Signal::TERM);
        assert!(worker.ends().await.success(), "{}: {}", worker.name, worker.stderr());
    }
}

/// Three times killed and started again amid a drain, it loses no job and no worker, and no job runs twice: its lease
/// outlasts the outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_restarts_amid_a_drain_lose_nothing() {
    const JOBS: u64 = 4_000;
    let stage = Durable::new();
    let client = stage.client().await;
    client.enqueue_all((0..JOBS).map(|job| work::new(job, [0, job % 10_000, 0]))).await.unwrap();
    let mut workers = ["a", "b", "c"].map(|name| stage.worker(name, "--concurrency 16"));
    for restart in 1..=3 {
        let counts = drained_to(&client, &mut workers, restart * JOBS / 4).await;
        assert!(counts.live() > 0, "drained before restart {restart}");
        stage.restart();
    }
    let counts = drained(&client, &mut workers).await;
    stop(&mut workers).await;
    assert_eq!((counts.enqueued, counts.ended.completed, counts.ended.total()), (JOBS, JOBS, JOBS));
    let log = stage.log();
    let of = |what: &str| log.iter().filter(|line| line.what == what).map(|line| line.job).collect::<Vec<_>>();
    let (begun, ended) = (of("begin"), of("end"));
    let every: BTreeSet<u64> = (0..JOBS).collect();
    assert!(
        ended.iter().copied().collect::<BTreeSet<_>>() == every,
        "{} of {JOBS} jobs came to their end",
        ended.len()
    );
    assert_eq!((begun.len() as u64, ended.len() as u64), (JOBS, JOBS), "some ran twice");
    whole(&client).await;
    println!("outages: {JOBS} jobs, 3 restarts of the server amid the drain, 0 lost, none twice, 3 workers went on");
}

/// A job whose run outlives an outage shorter than its lease runs once: its outcome is held until it can be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_held_through_an_outage() {
    let stage = Durable::new();
    let client = stage.client().await;
    let jobs = client.enqueue_all((0..3).map(hold::new)).await.unwrap();
    let mut workers = [stage.worker("steady", "")];
    for job in 0..3 {
        stage.logged("begin", job, "steady").await;
    }
    stage.server.kill();
    // One ends while there is nobody to tell, the others after that.
    stage.open_gate(0);
    stage.logged("end", 0, "steady").await;
    stage.server.start_again();
    stage.open_gate("steady");
    for (number, job) in (0..).zip(&jobs) {
        assert_eq!(job.wait(PATIENCE).await.unwrap(), "steady");
        let stored = stored(&client, job.id()).await;
        assert_eq!((stored.attempts, stored.crashes, stored.lapses), (1, 0, 0));
        assert_eq!(stage.who("begin", number), ["steady"]);
    }
    stop(&mut workers).await;
    whole(&client).await;
}

/// Whoever waits for a job since before an outage, or since it, gets the result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_outlive_a_restart() {
    let stage = Durable::new();
    let client = stage.client().await;
    let job = hold::new(0).enqueue(&client).await.unwrap();
    let mut workers = [stage.worker("steady", "")];
    stage.logged("begin", 0, "steady").await;
    let wait = || {
        let job = job.clone();
        tokio::spawn(async move { (job.wait(PATIENCE).await.unwrap(), now()) })
    };
    let before = wait();
    stage.server.kill();
    let amid = wait();
    // It has seen that there is no server.
    let away = async || job.status().await.err().filter(queue::StorageError::is_unavailable);
    eventually("the client sees the outage", away).await;
    stage.server.start_again();
    eventually("the client sees its end", async || job.status().await.ok()).await;
    stage.open_gate(0);
    let (before, amid) = (before.await.unwrap(), amid.await.unwrap());
    assert_eq!((before.0.as_str(), amid.0.as_str()), ("steady", "steady"));
    let ended = stage.log().iter().find(|line| line.what == "end").unwrap().at;
    stop(&mut workers).await;
    whole(&client).await;
    println!(
        "outages: after a restart, from the run's end to who waited since before it {:.2?}, since amid it {:.2?}",
        before.1.saturating_sub(ended),
        amid.1.saturating_sub(ended)
    );
}

/// An idle worker that has lost its connection looks at once when it is back, and is woken as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_claims_at_once_after_a_restart() {
    let stage = Durable::new();
    let mut workers = [stage.worker("idle", NO_POLL)];
    comes_back(&stage, || stage.restart()).await;
    stop(&mut workers).await;
    whole(&stage.client().await).await;
}

/// A server that comes back with nothing is a new one: its worker makes itself known again, unasked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_empty_is_served() {
    let server = queue_servers::Redis::start();
    let stage = Stage::at(&server.url());
    let mut workers = [stage.worker("idle", NO_POLL)];
    comes_back(&stage, || {
        server.kill();
        server.start_again();
    })
    .await;
    stop(&mut workers).await;
    whole(&stage.client().await).await;
}

/// Runs jobs before and after each of three restarts: the first enqueued when the server has just come back, the others
/// when the worker is idle.
async fn comes_back(stage: &Stage, restart: impl Fn()) {
    let client = stage.client().await;
    let mut longest = Duration::ZERO;
    for round in 0..4 {
        if round > 0 {
            restart();
        }
        for job in 0..3 {
            let asked = now();
            let job = work::new(round * 3 + job, [0; 3]).enqueue(&client).await.unwrap();
            assert_eq!(job.wait(PATIENCE).await.unwrap(), "idle");
            longest = longest.max(now() - asked);
        }
    }
    println!(
        "outages: an idle worker is back after each of 3 restarts, an enqueue has its result within {longest:.2?}"
    );
}
