//! `kill -9` of the worker, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use queue::{JobId, State};

use super::stage::{Process, Stage, all, on_every_shared_storage, seeded, whole};
use super::tasks::work;
use crate::support::eventually;

on_every_shared_storage!(no_job_is_lost_and_only_those_in_flight_run_again);

const JOBS: u64 = 1_000;
const KILLS: usize = 25;
const WORKER: &str = "--concurrency 16 --lease-ms 400 --crash-limit off --until-idle";

/// A lease as it was found after a kill: its number, and whether the job had been delivered.
type Lost = (u64, bool);

/// A worker's life, and the jobs that were running, as the storage says, when it was over.
struct Life {
    name: String,
    in_flight: BTreeMap<u64, Lost>,
}

/// Killed 25 times amid 1,000 jobs, every job completes, and only jobs in flight at a kill run again.
async fn no_job_is_lost_and_only_those_in_flight_run_again(stage: Stage) {
    let mut rng = seeded("kills");
    let jobs = enqueue(&stage, &mut rng).await;
    let mut lives = Vec::new();
    while lives.len() < KILLS {
        let name = format!("life-{}", lives.len());
        live_and_die(&stage, &mut rng, &name).await;
        lives.push(Life { in_flight: in_flight(&stage, &jobs).await, name });
    }
    stage.worker("last-life", WORKER).ends_well().await;
    integrity(&stage);
    only_those_in_flight_ran_again(&stage, &lives);
    all_were_hit(&stage, &lives);
    all_completed(&stage, &jobs, &lives).await;
}

/// 1,000 jobs of random lengths; their numbers by id.
async fn enqueue(stage: &Stage, rng: &mut Rng) -> BTreeMap<JobId, u64> {
    let client = stage.client().await;
    let calls: Vec<_> =
        (0..JOBS).map(|job| work::new(job, [rng.u64(0..1_000), rng.u64(0..15_000), rng.u64(0..1_000)])).collect();
    let handles = client.enqueue_all(calls).await.unwrap();
    client.storage().close().await;
    (0..JOBS).zip(handles).map(|(job, handle)| (handle.id(), job)).collect()
}

/// Starts a worker and kills it at a random point: on its way up, or so many effects and microseconds later.
async fn live_and_die(stage: &Stage, rng: &mut Rng, name: &str) {
    let before = stage.log().len();
    let mut life = stage.worker(name, WORKER);
    let effects = rng.usize(0..40);
    eventually("effects of a new life", async || {
        (alive(&mut life) && stage.log().len() >= before + effects).then_some(())
    })
    .await;
    let longest = if effects == 0 { 60_000 } else { 5_000 };
    std::thread::sleep(Duration::from_micros(rng.u64(0..longest)));
    life.kill();
}

fn alive(life: &mut Process) -> bool {
    let ended = life.ended();
    assert!(ended.is_none(), "{} ended with work left: {ended:?}: {}", life.name, life.stderr());
    true
}

/// What the storage says after a kill: opened anew, so that a file is recovered as after any crash.
async fn in_flight(stage: &Stage, jobs: &BTreeMap<JobId, u64>) -> BTreeMap<u64, Lost> {
    let client = stage.client().await;
    let counts = client.counts("default").await.unwrap();
    assert_eq!(counts.enqueued, JOBS);
    assert_eq!(counts.enqueued, counts.ended.total() + counts.live(), "{counts:?}");
    let running = all(&client, Some(State::Running)).await;
    assert_eq!(running.len() as u64, counts.of(State::Running));
    client.storage().close().await;
    let lease = |id: &JobId| running[id].lease.unwrap();
    running.keys().map(|id| (jobs[id], (lease(id).fence.0, lease(id).delivered))).collect()
}

fn integrity(stage: &Stage) {
    let Some(file) = stage.file() else { return };
    let file = queue_sqlite::rusqlite::Connection::open(file).unwrap();
    let verdict: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

/// Each further run of a job follows a life at whose end the job was in flight.
fn only_those_in_flight_ran_again(stage: &Stage, lives: &[Life]) {
    let ends: BTreeMap<_, _> = lives.iter().map(|life| (life.name.as_str(), &life.in_flight)).collect();
    let mut runs: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for line in stage.log().into_iter().filter(|line| line.what == "begin") {
        runs.entry(line.job).or_default().push(line.by);
    }
    assert_eq!(runs.len() as u64, JOBS, "some never ran");
    for (job, runs) in &runs {
        for pair in runs.windows(2) {
            let lost = ends.get(pair[0].as_str()).is_some_and(|in_flight| in_flight.contains_key(job));
            assert!(lost, "job {job} ran in {} and again in {}, though it was not in flight", pair[0], pair[1]);
            assert_ne!(pair[0], pair[1], "job {job} ran twice in one life");
        }
    }
    let extra: usize = runs.values().map(|runs| runs.len() - 1).sum();
    let most = runs.values().map(Vec::len).max().unwrap();
    println!(
        "kills on {}: {JOBS} jobs, {} kills, {extra} extra runs, at most {most} runs of one job",
        stage.kind(),
        lives.len()
    );
}

/// The kills fell between claim and run, amid runs, and between run and settlement.
fn all_were_hit(stage: &Stage, lives: &[Life]) {
    let log: BTreeSet<_> = stage.log().into_iter().map(|line| (line.what, line.job, line.by)).collect();
    let (mut claimed, mut ran, mut ended) = (0, 0, 0);
    let mut leftover = BTreeMap::new();
    for life in lives {
        let said = |what: &str, job| log.contains(&(what.to_owned(), job, life.name.clone()));
        let lost_now = life.in_flight.iter().filter(|(job, lost)| leftover.get(*job) != Some(*lost));
        for (&job, _) in lost_now {
            match (said("begin", job), said("end", job)) {
                (false, _) => claimed += 1,
                (true, false) => ran += 1,
                (true, true) => ended += 1,
            }
        }
        leftover.clone_from(&life.in_flight);
    }
    println!("kills: lost {claimed} jobs claimed and not begun, {ran} amid their run, {ended} ended and not settled");
    assert!(claimed > 0 && ran > 0 && ended > 0, "the kills were not spread");
}

/// Every job completed in one attempt; lost leases were counted, each once, and as what they were.
async fn all_completed(stage: &Stage, jobs: &BTreeMap<JobId, u64>, lives: &[Life]) {
    let client = stage.client().await;
    let counts = client.counts("default").await.unwrap();
    assert_eq!((counts.enqueued, counts.ended.completed, counts.ended.total(), counts.live()), (JOBS, JOBS, JOBS, 0));
    let stored = all(&client, None).await;
    assert_eq!(stored.len() as u64, JOBS);
    let lost: BTreeSet<(u64, Lost)> = lives.iter().flat_map(|life| life.in_flight.clone()).collect();
    let count = |job, delivered| lost.iter().filter(|(of, lost)| *of == job && lost.1 == delivered).count();
    let (mut crashes, mut lapses) = (0, 0);
    for (id, job) in &stored {
        let number = jobs[id];
        assert_eq!((job.state, job.attempts, job.suspect, job.lease), (State::Completed, 1, false, None), "{job:?}");
        assert_eq!(job.crashes as usize, count(number, true), "crashes of job {number}");
        assert_eq!(job.lapses as usize, count(number, false), "lapses of job {number}");
        crashes += job.crashes;
        lapses += job.lapses;
    }
    whole(&client).await;
    println!("kills: {} completed, 0 lost, 0 running; {crashes} crashes and {lapses} lapses counted", stored.len());
}
