//! From a call of `cancel` in one process to the run in another.

use queue::Cancelled;
use rustix::process::Signal;

use super::measure::Spread;
use super::stage::{Stage, on_every_shared_storage, stored, whole};
use super::tasks::{heed, now};
use crate::support::PATIENCE;

on_every_shared_storage!(a_run_elsewhere_is_told);

const JOBS: u64 = 50;
/// Renewals are seconds apart, and no poll falls into this test: only a push comes in time.
const WORKER: &str = "--lease-ms 30000 --poll-ms 3600000";

/// A running job in another process learns at once that it is to stop.
async fn a_run_elsewhere_is_told(stage: Stage) {
    let client = stage.client().await;
    let mut worker = stage.worker("afar", WORKER);
    let mut asked = Vec::new();
    for job in 0..JOBS {
        let handle = heed::new(job).enqueue(&client).await.unwrap();
        stage.logged("begin", job, "afar").await;
        asked.push(now());
        assert_eq!(handle.cancel().await.unwrap(), Cancelled::Asked);
        let error = handle.wait(PATIENCE).await.unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        assert_eq!(stored(&client, handle.id()).await.attempts, 1);
    }
    let log = stage.log();
    let told = log.iter().filter(|line| line.what == "told").map(|line| line.at);
    let reached = Spread::of(told.zip(asked).map(|(told, asked)| told.saturating_sub(asked)));
    println!("cancel on {}, from the call to the run in another process: {reached}", stage.kind());
    // A run that is not told learns of it with a renewal, which is seconds later.
    assert!(reached.median().as_secs() < 1, "{reached}");
    whole(&client).await;
    worker.signal(Signal::TERM);
    assert!(worker.ends().await.success(), "{}", worker.stderr());
}
