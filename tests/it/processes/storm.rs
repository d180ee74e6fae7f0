//! `kill -9` of one of three workers every 200 ms, until all work is done.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use fastrand::Rng;
use queue::{Client, JobId, State};
use rustix::process::Signal;

use super::measure::Spread;
use super::stage::{Line, Stage, all, on_every_shared_storage, seeded, whole};
use super::tasks::{hold, now, work};

on_every_shared_storage!(
    ten_thousand_jobs_outlive_a_kill_every_200_ms,
    jobs_of_a_killed_worker_run_again_when_their_lease_is_over,
);

const JOBS: u64 = 10_000;
/// How often a worker is killed and another started.
const EVERY: Duration = Duration::from_millis(200);
/// Longer than any machine takes.
const LONGEST: Duration = Duration::from_secs(600);
const LEASE: Duration = Duration::from_secs(2);
const WORKER: &str = "--concurrency 16 --lease-ms 2000 --crash-limit off";

/// A worker's death, and the jobs that were running in it, as the storage says.
struct Death {
    name: String,
    at: Duration,
    in_flight: BTreeSet<u64>,
}

/// Of 10,000 jobs none is lost, and none runs again that was not in flight when its worker was killed.
async fn ten_thousand_jobs_outlive_a_kill_every_200_ms(stage: Stage) {
    let mut rng = seeded("storm");
    let client = stage.client().await;
    let jobs = enqueue(&client, &mut rng).await;
    let deaths = tokio::time::timeout(LONGEST, storm(&stage, &client, &jobs, &mut rng)).await.expect("drained");
    let log = stage.log();
    none_is_lost(&client, &log).await;
    let extra = only_those_in_flight_ran_again(&log, &deaths);
    counted(&client, &jobs, &deaths).await;
    whole(&client).await;
    let recovery = Spread::of(recoveries(&log, &deaths));
    println!(
        "storm on {}: {JOBS} jobs, {} kills, 0 lost, {extra} extra runs; run again after the kill (lease {LEASE:?}): {recovery}",
        stage.kind(),
        deaths.len()
    );
}

/// Jobs of random lengths; their numbers by id.
async fn enqueue(client: &Client, rng: &mut Rng) -> BTreeMap<JobId, u64> {
    let calls: Vec<_> =
        (0..JOBS).map(|job| work::new(job, [rng.u64(0..1_000), rng.u64(0..15_000), rng.u64(0..1_000)])).collect();
    let handles = client.enqueue_all(calls).await.unwrap();
    (0..JOBS).zip(handles).map(|(job, handle)| (handle.id(), job)).collect()
}

/// Three workers until no job is live; every 200 ms one of them is killed, and another takes its place.
async fn storm(stage: &Stage, client: &Client, jobs: &BTreeMap<JobId, u64>, rng: &mut Rng) -> Vec<Death> {
    let mut names = (0..).map(|n| format!("life-{n}"));
    let mut next = || stage.worker(&names.next().unwrap(), WORKER);
    let mut workers = [next(), next(), next()];
    let mut deaths = Vec::new();
    let mut every = tokio::time::interval(EVERY);
    every.tick().await;
    loop {
        every.tick().await;
        if client.counts("default").await.unwrap().live() == 0 {
            break;
        }
        let victim = mem::replace(&mut workers[rng.usize(0..3)], next());
        let name = victim.name.clone();
        let said = victim.kill();
        let at = now();
        deaths.push(Death { name, at, in_flight: in_flight(client, jobs, &said).await });
    }
    for worker in &mut workers {
        worker.signal(Signal::TERM);
    }
    for worker in &mut workers {
        worker.ends_well().await;
    }
    deaths
}

/// The jobs that run in this worker, which said its id if it came as far as that.
async fn in_flight(client: &Client, jobs: &BTreeMap<JobId, u64>, said: &str) -> BTreeSet<u64> {
    let Ok(worker) = said.trim().parse() else { return BTreeSet::new() };
    let running = all(client, Some(State::Running)).await;
    let own = running.iter().filter(|(_, job)| job.lease.as_ref().is_some_and(|lease| lease.worker == worker));
    own.map(|(id, _)| jobs[id]).collect()
}

/// Every job came to its end, by the log and by the storage.
async fn none_is_lost(client: &Client, log: &[Line]) {
    let ended: BTreeSet<u64> = log.iter().filter(|line| line.what == "end").map(|line| line.job).collect();
    assert!(ended == (0..JOBS).collect(), "{} of {JOBS} jobs came to their end", ended.len());
    let counts = client.counts("default").await.unwrap();
    assert_eq!((counts.enqueued, counts.ended.completed, counts.ended.total(), counts.live()), (JOBS, JOBS, JOBS, 0));
}

/// Each further run of a job follows the death of the worker that ran it; how many there were.
fn only_those_in_flight_ran_again(log: &[Line], deaths: &[Death]) -> usize {
    let deaths: BTreeMap<_, _> = deaths.iter().map(|death| (death.name.as_str(), &death.in_flight)).collect();
    let mut runs: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for line in log.iter().filter(|line| line.what == "begin") {
        runs.entry(line.job).or_default().push(&line.by);
    }
    for (job, runs) in &runs {
        for pair in runs.windows(2) {
            let lost = deaths.get(pair[0]).is_some_and(|in_flight| in_flight.contains(job));
            assert!(lost, "job {job} ran in {} and again in {}, though it was not in flight", pair[0], pair[1]);
            assert_ne!(pair[0], pair[1], "job {job} ran twice in one life");
        }
    }
    runs.values().map(|runs| runs.len() - 1).sum()
}

/// No attempt is counted twice, and no lost lease that was not lost.
async fn counted(client: &Client, jobs: &BTreeMap<JobId, u64>, deaths: &[Death]) {
    for (id, job) in all(client, None).await {
        let lost = deaths.iter().filter(|death| death.in_flight.contains(&jobs[&id])).count();
        assert_eq!((job.state, job.attempts), (State::Completed, 1), "{job:?}");
        assert!((job.crashes + job.lapses) as usize <= lost, "in flight at {lost} kills: {job:?}");
    }
}

/// How long after its worker's death each lost job began to run again.
fn recoveries(log: &[Line], deaths: &[Death]) -> Vec<Duration> {
    let mut took = Vec::new();
    for (nth, death) in deaths.iter().enumerate() {
        for job in &death.in_flight {
            // Nothing: its outcome was on its way, and arrived.
            let again = log.iter().find(|line| line.what == "begin" && line.job == *job && line.at > death.at);
            let Some(again) = again else { continue };
            // Whoever took it over may have been killed before it began.
            let lost_again = |later: &Death| later.at < again.at && later.in_flight.contains(job);
            if !deaths[nth + 1..].iter().any(lost_again) {
                took.push(again.at - death.at);
            }
        }
    }
    took
}

/// A worker that does nothing else takes over what a killed one ran, not before the lease is over.
async fn jobs_of_a_killed_worker_run_again_when_their_lease_is_over(stage: Stage) {
    const HELD: u64 = 8;
    let client = stage.client().await;
    let jobs = client.enqueue_all((0..HELD).map(hold::new)).await.unwrap();
    let victim = stage.worker("victim", WORKER);
    for job in 0..HELD {
        stage.logged("begin", job, "victim").await;
    }
    let mut heir = stage.worker("heir", WORKER);
    let both = async || (client.workers().await.unwrap().len() == 2).then_some(());
    crate::support::eventually("the heir is registered", both).await;
    victim.kill();
    let killed = now();
    for job in 0..HELD {
        stage.logged("begin", job, "heir").await;
        stage.open_gate(job);
    }
    for job in &jobs {
        assert_eq!(job.wait(LONGEST).await.unwrap(), "heir");
    }
    whole(&client).await;
    heir.signal(Signal::TERM);
    heir.ends_well().await;
    let log = stage.log();
    let begun = log.iter().filter(|line| line.what == "begin" && line.by == "heir").map(|line| line.at - killed);
    println!("recovery on {}, lease {LEASE:?}, from the kill to the next run: {}", stage.kind(), Spread::of(begun));
}
