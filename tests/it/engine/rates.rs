//! Rates over ten workers: never faster, and hardly slower.

use std::time::Duration;

use queue::{Client, JobQuery, Limit, Rate, State, Timestamp, Worker, task, tasks};
use tokio::task::JoinSet;

use crate::support::{PATIENCE, Place, on_every_storage};

on_every_storage!(ten_workers_keep_the_pace);

const PER_SECOND: u32 = 100;
const BURST: u32 = 5;
const WORKERS: usize = 10;
/// More than eleven seconds' worth.
const JOBS: usize = 1_150;
/// A machine that stands still for longer than the burst makes up for slows any program down: it may try again.
const TRIES: usize = 3;

#[task]
async fn call() {}

/// In any span of time there are at most `burst + t × rate` starts, by the storage's clock; and after the first second, ten
/// seconds hold at least 95 of a hundred that there may be.
async fn ten_workers_keep_the_pace(place: Place) {
    let mut fewest = 0;
    for _ in 0..TRIES {
        let starts = starts(&place).await;
        assert_eq!(starts.len(), JOBS);
        never_faster(&starts);
        fewest = in_ten_seconds(&starts);
        println!(
            "a rate of {PER_SECOND}/s over {WORKERS} workers on {}: {fewest} in ten seconds",
            place.client.location()
        );
        if fewest >= 950 {
            return;
        }
    }
    panic!("only {fewest} starts in ten seconds");
}

/// Runs the jobs with ten workers; when each started, in order.
async fn starts(place: &Place) -> Vec<Timestamp> {
    let rate = Rate::per(Duration::from_secs(1), PER_SECOND).burst(BURST);
    let calls = (0..JOBS).map(|_| call::new().limit(Limit::rate(rate)).keep(PATIENCE * 10));
    let jobs = place.client.enqueue_all(calls).await.unwrap();
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let worker = Worker::builder(&place.client).tasks(tasks![call]).concurrency(8).build().unwrap();
        workers.spawn(worker.run_until(std::future::pending::<()>()));
    }
    for job in &jobs {
        job.wait(PATIENCE * 2).await.unwrap();
    }
    workers.shutdown().await;
    let last: std::collections::BTreeSet<_> = jobs.iter().map(queue::JobHandle::id).collect();
    let mut starts: Vec<Timestamp> = completed(&place.client)
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
