//! Many processes on one file.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use queue::{Client, Counts, JobId};
use rustix::process::Signal;

use super::stage::{Process, Stage, all};
use super::tasks::{mixed_priority, work};

/// Two workers and four enqueuers share a file and 20,000 jobs: none meets an error, and no job runs twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_and_four_enqueuers_share_20_000_jobs() {
    const EACH: u64 = 5_000;
    let stage = Stage::new();
    let mut workers = ["worker-a", "worker-b"].map(|name| stage.worker(name, "--concurrency 64"));
    let mut enqueuers = enqueuers(&stage, EACH, "");
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
}

/// Four enqueuers, each with its own range of numbers, alone or in batches.
fn enqueuers(stage: &Stage, each: u64, flags: &str) -> Vec<Process> {
    let start = |(n, batch): (u64, u64)| {
        let flags = format!("--from {} --to {} --batch {batch} {flags}", n * each, (n + 1) * each);
        stage.enqueuer(&format!("enqueuer-{n}"), &flags)
    };
    (0..4).zip([1, 1, 7, 50]).map(start).collect()
}

/// Waits until no job is live, however long that takes, as long as jobs go on ending.
async fn drained(client: &Client, workers: &mut [Process]) -> Counts {
    let mut before = 0;
    loop {
        let progress = async || {
            let counts = client.counts("default").await.unwrap();
            (counts.live() == 0 || counts.ended.total() > before).then_some(counts)
        };
        let counts = crate::support::eventually("jobs go on ending", progress).await;
        if counts.live() == 0 {
            return counts;
        }
        for worker in &mut *workers {
            assert!(worker.ended().is_none(), "{} ended: {}", worker.name, worker.stderr());
        }
        before = counts.ended.total();
    }
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
    println!("crowd: {} begun, {} ended, none twice; shares {shares:?}", begun.len(), ended.len());
    assert!(begun == (0..jobs).collect() && ended == begun);
    assert_eq!(shares.len(), 2, "one worker did it all");
}

/// A worker with one slot runs what four enqueuers stored by priority, and equals in the order they were enqueued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_slot_worker_sees_priority_then_fifo() {
    const EACH: u64 = 400;
    let stage = Stage::new();
    for enqueuer in &mut enqueuers(&stage, EACH, "--mixed-priorities") {
        enqueuer.ends_well().await;
    }
    stage.worker("single", "--concurrency 1 --until-idle").ends_well().await;
    let ran: Vec<u64> = stage.log().iter().filter(|line| line.what == "begin").map(|line| line.job).collect();
    assert_eq!(ran.iter().collect::<BTreeSet<_>>().len() as u64, 4 * EACH);
    assert_eq!(ran.len() as u64, 4 * EACH);
    assert!(ran.is_sorted_by_key(|job| Reverse(mixed_priority(*job))), "a lower priority ran first");
    // Stable: equal priorities of one enqueuer keep the order of its numbers.
    for n in 0..4 {
        let own: Vec<u64> = ran.iter().copied().filter(|job| job / EACH == n).collect();
        assert!(own.is_sorted_by_key(|job| (Reverse(mixed_priority(*job)), *job)), "enqueuer {n} was overtaken");
    }
    assert_eq!(ran, in_order_of_sequence(&stage.client().await).await);
    println!("order: {} jobs of 4 enqueuers, 6 priorities, by priority then sequence", ran.len());
}

/// All stored jobs by priority, then by the sequence that the storage gave them when they became ready.
async fn in_order_of_sequence(client: &Client) -> Vec<u64> {
    let mut jobs: Vec<_> = all(client, None).await.into_iter().collect();
    jobs.sort_by_key(|(_, job)| (Reverse(job.priority), job.sequence));
    jobs.iter().map(|(id, job)| number(client, *id, job)).collect()
}

fn number(client: &Client, id: JobId, job: &queue::Job) -> u64 {
    client.args_of::<work>(job).unwrap_or_else(|error| panic!("{id}: {error}")).job
}
