//! Rates over ten workers: never faster, and hardly slower.

use std::sync::Arc;
use std::time::Duration;

use queue::{Client, Data, JobQuery, Limit, Rate, State, Timestamp, Worker, task, tasks};
use tokio::task::JoinSet;

use super::Runs;
use crate::support::{PATIENCE, Timed, eventually, on_every_clock};

on_every_clock!(ten_workers_keep_the_pace);

const PER_SECOND: u32 = 100;
const BURST: u32 = 5;
const WORKERS: usize = 10;
/// More than eleven seconds' worth.
const JOBS: usize = 1_150;
/// From one start to the next at the rate.
const STEP: Duration = Duration::from_millis(10);
/// How often it is looked whether those have started that may: a machine that stands still for longer is left behind by
/// the clock.
const LOOKS: usize = 100;
/// Which slows any program down: it may try again.
const TRIES: usize = 3;

#[task]
async fn call(runs: Data<Runs>) {
    runs.count();
}

/// In any span of time there are at most `burst + t × rate` starts, by the storage's clock; and after the first second, ten
/// seconds hold at least 95 of a hundred that there may be.
async fn ten_workers_keep_the_pace(timed: Timed) {
    let mut fewest = 0;
    for _ in 0..TRIES {
        let starts = starts(&timed).await;
        assert_eq!(starts.len(), JOBS);
        never_faster(&starts);
        fewest = in_ten_seconds(&starts);
        println!(
            "a rate of {PER_SECOND}/s over {WORKERS} workers on {}: {fewest} in ten seconds",
            timed.place.client.location()
        );
        if fewest >= 950 {
            return;
        }
    }
    panic!("only {fewest} starts in ten seconds");
}

/// Runs the jobs with ten workers, while the clock goes on by a step as soon as those have started that may, or a while has
/// passed; when each started, in order.
async fn starts(timed: &Timed) -> Vec<Timestamp> {
    let client = &timed.place.client;
    let rate = Rate::per(Duration::from_secs(1), PER_SECOND).burst(BURST);
    let calls = (0..JOBS).map(|_| call::new().limit(Limit::rate(rate)).keep(PATIENCE * 10));
    let jobs = client.enqueue_all(calls).await.unwrap();
    let (runs, mut workers) = (Arc::new(Runs::default()), JoinSet::new());
    for _ in 0..WORKERS {
        let worker = Worker::builder(client).tasks(tasks![call]).data_arc(Arc::clone(&runs)).concurrency(8);
        workers.spawn(worker.build().unwrap().run_until(std::future::pending::<()>()));
    }
    let started = async |many: u32| {
        for _ in 0..LOOKS {
            if runs.get() >= many {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    eventually("the first have started", async || (runs.get() >= BURST).then_some(())).await;
    // Who reckons when to look as the clock is moved looks a step later.
    let mut may = BURST - 1;
    while (runs.get() as usize) < JOBS {
        timed.clock.advance(STEP);
        may += 1;
        assert!((may as usize) < 3 * JOBS, "only {} have started", runs.get());
        started(may).await;
    }
    for job in &jobs {
        job.wait(PATIENCE).await.unwrap();
    }
    workers.shutdown().await;
    let last: std::collections::BTreeSet<_> = jobs.iter().map(queue::JobHandle::id).collect();
    let mut starts: Vec<Timestamp> = completed(client)
        .await
        .into_iter()
        .filter(|job| last.contains(&job.id))
        .filter_map(|job| job.started_at)
        .collect();
    starts.sort();
    starts
}

async fn completed(client: &Client) -> Vec<queue::Job> {
    let mut query = JobQuery::default();
    query.state = Some(State::Completed);
    let mut jobs = Vec::new();
    loop {
        let page = client.jobs(&query).await.unwrap();
        jobs.extend(page.jobs);
        query.after = page.next;
        if query.after.is_none() {
            return jobs;
        }
    }
}

fn never_faster(starts: &[Timestamp]) {
    for (first, from) in starts.iter().enumerate() {
        for (last, to) in starts.iter().enumerate().skip(first) {
            let micros = u64::try_from((*to - *from).as_micros()).unwrap();
            let most = u64::from(BURST) + micros * u64::from(PER_SECOND) / 1_000_000;
            let count = (last - first + 1) as u64;
            assert!(count <= most, "{count} starts within {micros} µs");
        }
    }
}

/// The fewest starts in any ten seconds between the first second and the last start.
fn in_ten_seconds(starts: &[Timestamp]) -> usize {
    let (Some(first), Some(last)) = (starts.first(), starts.last()) else { return 0 };
    let windows = starts.iter().filter(|from| **from >= *first + Duration::from_secs(1));
    let whole = windows.filter(|from| **from + Duration::from_secs(10) <= *last);
    let count = |from: &Timestamp| {
        let until = *from + Duration::from_secs(10);
        starts.iter().filter(|at| (*from..until).contains(at)).count()
    };
    whole.map(count).min().unwrap_or(0)
}
