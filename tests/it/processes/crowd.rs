//! Many processes on one storage.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;

use super::drain::drained;
use super::stage::{Process, Stage, on_every_shared_storage, whole};

on_every_shared_storage!(two_workers_and_four_enqueuers_share_20_000_jobs);

/// Two workers and four enqueuers share a storage and 20,000 jobs: none meets an error, and no job runs twice.
async fn two_workers_and_four_enqueuers_share_20_000_jobs(stage: Stage) {
    const EACH: u64 = 5_000;
    let mut workers = ["worker-a", "worker-b"].map(|name| stage.worker(name, "--concurrency 64"));
    let mut enqueuers = enqueuers(&stage, EACH);
    for enqueuer in &mut enqueuers {
        enqueuer.ends_well().await;
    }
    let client = stage.client().await;
    let counts = drained(&client, &mut workers).await;
    for worker in &mut workers {
        worker.signal(Signal::TERM);
        worker.ends_well().await;
    }
    assert_eq!((counts.enqueued, counts.ended.completed, counts.ended.total()), (4 * EACH, 4 * EACH, 4 * EACH));
    each_ran_once(&stage, 4 * EACH);
    whole(&client).await;
}

/// Four enqueuers, each with its own range of numbers, alone or in batches.
fn enqueuers(stage: &Stage, each: u64) -> Vec<Process> {
    let start = |(n, batch): (u64, u64)| {
        let flags = format!("--from {} --to {} --batch {batch}", n * each, (n + 1) * each);
        stage.enqueuer(&format!("enqueuer-{n}"), &flags)
    };
    (0..4).zip([1, 1, 7, 50]).map(start).collect()
}

fn each_ran_once(stage: &Stage, jobs: u64) {
    let (mut begun, mut ended, mut shares) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::<_, u64>::new());
    for line in stage.log() {
        match line.what.as_str() {
            "begin" => assert!(begun.insert(line.job), "job {} ran twice", line.job),
            "end" => assert!(ended.insert(line.job), "job {} ended twice", line.job),
            other => panic!("job {}: {other}", line.job),
        }
        *shares.entry(line.by).or_default() += u64::from(line.what == "end");
    }
    println!("crowd on {}: {} begun, {} ended, none twice; shares {shares:?}", stage.kind(), begun.len(), ended.len());
    assert!(begun == (0..jobs).collect() && ended == begun);
    assert_eq!(shares.len(), 2, "one worker did it all");
}
