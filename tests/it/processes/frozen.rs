//! Workers that are stopped past their lease, and go on.

use std::time::Duration;

use queue::{Client, JobHandle, JobId, State};
use rustix::process::Signal;

use super::stage::{Process, Stage, on_every_shared_storage, stored, whole};
use super::tasks::{cling, hold};
use crate::support::{PATIENCE, eventually};

on_every_shared_storage!(a_frozen_worker_drops_the_run_it_lost, a_frozen_worker_cannot_settle_what_it_lost);

const FROZEN: &str = "--lease-ms 400";

/// A worker stopped past its lease, while another runs its job, drops its own run when it goes on.
async fn a_frozen_worker_drops_the_run_it_lost(stage: Stage) {
    let client = stage.client().await;
    let job = hold::new(0).enqueue(&client).await.unwrap();
    let mut frozen = frozen_amid_run(&stage, &client, job.id()).await;
    let mut other = stage.worker("other", "");
    stage.logged("begin", 0, "other").await;

    frozen.signal(Signal::CONT);
    stage.logged("drop", 0, "frozen").await;
    assert_eq!(stored(&client, job.id()).await.state, State::Running, "the other's run goes on");
    stage.open_gate("other");
    belongs_to_the_other(&client, &job).await;

    stop([&mut frozen, &mut other]).await;
    assert!(frozen.stderr().contains("lease lost"), "{}", frozen.stderr());
    assert_eq!((stage.who("begin", 0), stage.who("end", 0)), (names(&["frozen", "other"]), names(&["other"])));
    whole(&client).await;
    println!("frozen on {}: begun by frozen and other, dropped by frozen, ended by other", stage.kind());
}

/// A worker stopped past its lease that comes to the end of its run all the same, while another runs its job, cannot
/// settle it.
async fn a_frozen_worker_cannot_settle_what_it_lost(stage: Stage) {
    let client = stage.client().await;
    let job = cling::new(0).enqueue(&client).await.unwrap();
    let mut frozen = frozen_amid_run(&stage, &client, job.id()).await;
    let mut other = stage.worker("other", "");
    stage.logged("begin", 0, "other").await;
    let fence = async || stored(&client, job.id()).await.lease.map(|lease| lease.fence);
    let taken = fence().await;

    frozen.signal(Signal::CONT);
    stage.open_gate("frozen");
    stage.logged("end", 0, "frozen").await;
    let discarded = "outcomes discarded: their leases were lost meanwhile";
    eventually(discarded, async || frozen.stderr().contains(discarded).then_some(())).await;
    assert!(taken.is_some() && fence().await == taken, "the other's run goes on");
    stage.open_gate("other");
    belongs_to_the_other(&client, &job).await;

    stop([&mut frozen, &mut other]).await;
    assert_eq!(
        (stage.who("begin", 0), stage.who("end", 0)),
        (names(&["frozen", "other"]), names(&["frozen", "other"]))
    );
    whole(&client).await;
    println!("frozen on {}: begun and ended by frozen and other, settled by other", stage.kind());
}

/// A worker called `frozen`, stopped once it runs the job and has renewed its lease.
async fn frozen_amid_run(stage: &Stage, client: &Client, job: JobId) -> Process {
    let frozen = stage.worker("frozen", FROZEN);
    stage.logged("begin", 0, "frozen").await;
    let delivered = async || stored(client, job).await.lease.filter(|lease| lease.delivered);
    eventually("the lease is renewed", delivered).await;
    // Stopped within a transaction it would keep a file locked and nobody could take over: then it goes on and is stopped
    // again.
    eventually("stopped outside a transaction", async || {
        frozen.signal(Signal::STOP);
        match tokio::time::timeout(Duration::from_secs(2), client.ping()).await {
            Ok(Ok(())) => Some(()),
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => {
                frozen.signal(Signal::CONT);
                None
            }
        }
    })
    .await;
    frozen
}

/// Waits for the end of the job, which is the other worker's: its result, one attempt, one crash of the frozen one.
async fn belongs_to_the_other(client: &Client, job: &JobHandle<String>) {
    assert_eq!(job.wait(PATIENCE).await.unwrap(), "other");
    let stored = stored(client, job.id()).await;
    assert_eq!((stored.state, stored.attempts, stored.crashes), (State::Completed, 1, 1));
}

/// Both go on being good workers: they stop when asked.
async fn stop(workers: [&mut Process; 2]) {
    for worker in workers {
        worker.signal(Signal::TERM);
        assert!(worker.ends().await.success(), "{}: {}", worker.name, worker.stderr());
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
