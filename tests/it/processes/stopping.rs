//! SIGTERM.

use queue::State;
use rustix::process::Signal;

use super::stage::{Stage, on_every_shared_storage, stored, whole};
use super::tasks::hold;
use crate::support::{PATIENCE, eventually};

on_every_shared_storage!(a_graceful_stop_finishes_or_releases_and_counts_nothing, an_idle_worker_stops_at_once);

/// Longer than this whole test may take: whoever waits for a lease to end fails it.
const LONG_LEASE: &str = "--lease-ms 600000";

/// A worker asked to stop lets jobs finish within its grace and gives back the others, at once claimable and uncounted.
async fn a_graceful_stop_finishes_or_releases_and_counts_nothing(stage: Stage) {
    let client = stage.client().await;
    let jobs = client.enqueue_all((0..6).map(hold::new)).await.unwrap();
    let mut first = stage.worker("first", &format!("{LONG_LEASE} --grace-ms 2000"));
    for job in 0..6 {
        stage.logged("begin", job, "first").await;
    }

    first.signal(Signal::TERM);
    (0..3).for_each(|job| stage.open_gate(job));
    first.ends_well().await;
    for (job, handle) in (0..).zip(&jobs[..3]) {
        let stored = stored(&client, handle.id()).await;
        assert_eq!((stored.state, stored.attempts, stored.crashes, stored.lapses), (State::Completed, 1, 0, 0));
        assert_eq!(stage.who("end", job), ["first"]);
    }
    for (job, handle) in (3..).zip(&jobs[3..]) {
        let stored = stored(&client, handle.id()).await;
        assert_eq!((stored.state, stored.lease, stored.suspect), (State::Ready, None, false));
        assert_eq!((stored.attempts, stored.crashes, stored.lapses), (0, 0, 0));
        assert_eq!(stage.who("drop", job), ["first"], "its future is dropped");
    }
    assert!(client.workers().await.unwrap().is_empty(), "it said goodbye");

    let mut second = stage.worker("second", LONG_LEASE);
    stage.open_gate("second");
    for handle in &jobs[3..] {
        assert_eq!(handle.wait(PATIENCE).await.unwrap(), "second");
        let stored = stored(&client, handle.id()).await;
        assert_eq!((stored.attempts, stored.crashes, stored.lapses), (1, 0, 0));
    }
    second.signal(Signal::TERM);
    second.ends_well().await;
    whole(&client).await;
    println!(
        "stopping on {}: 3 finished within the grace, 3 released and run by the next worker, nothing counted",
        stage.kind()
    );
}

/// A worker that waits in vain for work stops as soon as it is asked.
async fn an_idle_worker_stops_at_once(stage: Stage) {
    let client = stage.client().await;
    // With a grace longer than anyone would wait here.
    let mut worker = stage.worker("idle", "--grace-ms 600000");
    let known = async || client.workers().await.unwrap().first().map(|worker| worker.id);
    eventually("the worker is registered", known).await;
    worker.signal(Signal::TERM);
    worker.ends_well().await;
    assert!(client.workers().await.unwrap().is_empty(), "it said goodbye");
}
