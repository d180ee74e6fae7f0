//! Schedules of several processes: under `kill -9`, and changed by one that runs no worker.

use std::collections::BTreeSet;
use std::time::Duration;

use queue::{Client, ScheduleHandle, State};
use rustix::process::Signal;

use super::measure::Spread;
use super::stage::{Stage, all, on_every_shared_storage, seeded, whole};
use super::tasks::{now, ticking, work};
use crate::support::{PATIENCE, eventually};

on_every_shared_storage!(each_tick_once_whoever_is_killed, changes_from_another_process_count_at_once);

/// The schedules of each worker's code, by their milliseconds.
const IN_CODE: [u64; 2] = [20, 50];
const CLOCKED: &str = "--lease-ms 500 --crash-limit off --every-ms 20,50";
const WORKERS: usize = 3;
const BLOWS: usize = 8;

/// No poll falls into a test: only a push comes in time.
const AFAR: &str = "--lease-ms 30000 --poll-ms 3600000";
const ROUNDS: u64 = 10;
/// A schedule by which a test knows that the worker ticks.
const PULSE: u64 = 1_000;
const OFTEN: Duration = Duration::from_millis(50);
const SELDOM: Duration = Duration::from_secs(3_600);

/// Workers with the same schedules in their code, of which one is killed again and again, and now and then all: each tick
/// from the first to the last has one job, which ran.
async fn each_tick_once_whoever_is_killed(stage: Stage) {
    let mut rng = seeded("schedules");
    let client = stage.client().await;
    let mut lives: Vec<_> = (0..WORKERS).map(|life| stage.worker(&format!("life-{life}"), CLOCKED)).collect();
    let mut kills = 0;
    for blow in 1..=BLOWS {
        let before = stage.log().len();
        eventually("ticks between kills", async || (stage.log().len() > before + 50).then_some(())).await;
        std::thread::sleep(Duration::from_micros(rng.u64(0..50_000)));
        for _ in 0..if blow % 4 == 0 { WORKERS } else { 1 } {
            lives.remove(rng.usize(..lives.len())).kill();
            kills += 1;
        }
        while lives.len() < WORKERS {
            lives.push(stage.worker(&format!("life-{blow}-{}", lives.len()), CLOCKED));
        }
    }
    for of in IN_CODE {
        assert!(schedule(&client, of).pause().await.unwrap());
    }
    let idle = async || (client.counts("default").await.unwrap().live() == 0).then_some(());
    eventually("all jobs ended", idle).await;
    drop(lives);
    let stored = all(&client, None).await;
    assert!(stored.values().all(|job| job.state == State::Completed && job.attempts == 1), "all completed at once");
    for of in IN_CODE {
        let ticks = check(&stage, &client, of).await;
        println!("every {of} ms on {}: {kills} kills, {ticks} ticks", stage.kind());
    }
    whole(&client).await;
}

/// No tick of a schedule is missing, and each has one job, which ran; how many there are.
async fn check(stage: &Stage, client: &Client, of: u64) -> usize {
    let (ticks, facts) = (ticks(client, of).await, schedule(client, of).get().await.unwrap());
    let pairs = ticks.iter().zip(ticks.iter().skip(1));
    let wrong: Vec<_> = pairs.filter(|(tick, next)| **next != **tick + of).collect();
    assert!(wrong.is_empty(), "every {of} ms, but: {wrong:?}");
    assert_eq!((facts.runs, facts.missed, facts.skipped), (ticks.len() as u64, 0, 0));
    assert_eq!(facts.last.map(millis), ticks.last().copied());
    let ran: BTreeSet<u64> = log(stage, of).map(|(tick, _)| tick).collect();
    assert_eq!(ran, ticks.iter().copied().collect());
    ticks.len()
}

/// A worker that sleeps for an hour learns at once what another process does to its schedules: one that is put or edited
/// ticks, one that is paused or removed does no more.
async fn changes_from_another_process_count_at_once(stage: Stage) {
    let client = stage.client().await;
    let mut worker = stage.worker("afar", AFAR);
    work::new(0, [0; 3]).enqueue(&client).await.unwrap().wait(PATIENCE).await.unwrap();

    let (mut edited, mut paused) = (Vec::new(), Vec::new());
    for of in 0..ROUNDS {
        let seldom = client.put_schedule(ticking(of, SELDOM)).await.unwrap();
        let asked = now();
        seldom.edit(|schedule| schedule.every(OFTEN)).await.unwrap();
        edited.push(first_since(&stage, of, asked).await);
        assert!(seldom.pause().await.unwrap());
        paused.push((of, seldom, ticks(&client, of).await));
    }
    let asked = now();
    let pulse = client.put_schedule(ticking(PULSE, OFTEN)).await.unwrap();
    let put = first_since(&stage, PULSE, asked).await;
    beats(&stage, 10).await;
    for (of, handle, before) in &paused {
        assert_eq!(ticks(&client, *of).await, *before, "none since the pause");
        let pause = millis(handle.get().await.unwrap().paused_at.unwrap());
        assert!(before.iter().all(|tick| *tick <= pause), "{before:?} at {pause}");
    }

    assert!(pulse.pause().await.unwrap());
    let (mut resumed, mut removed) = (Vec::new(), Vec::new());
    for (of, handle, _) in paused {
        let asked = now();
        assert!(handle.resume().await.unwrap());
        resumed.push(first_since(&stage, of, asked).await);
        assert!(handle.remove().await.unwrap());
        removed.push((of, ticks(&client, of).await));
    }
    assert!(pulse.resume().await.unwrap());
    beats(&stage, 10).await;
    for (of, before) in removed {
        assert_eq!(ticks(&client, of).await, before, "none since the removal");
    }
    let (edited, resumed) = (Spread::of(edited), Spread::of(resumed));
    println!("on {}, from the call to the first tick of every 50 ms in another process:", stage.kind());
    println!("edit {edited}; resume {resumed}; put {put:.2?}");

    pulse.remove().await.unwrap();
    worker.signal(Signal::TERM);
    assert!(worker.ends().await.success(), "{}", worker.stderr());
    whole(&client).await;
}

fn schedule(client: &Client, of: u64) -> ScheduleHandle {
    client.schedule(format!("ticks-{of}"))
}

/// The ticks of a schedule, one for each job that is stored, in order and in milliseconds.
async fn ticks(client: &Client, of: u64) -> Vec<u64> {
    let tag = format!("ticks-{of}");
    let stored = all(client, None).await.into_values();
    let own = stored.filter(|job| job.tags.iter().any(|one| one.as_str() == tag));
    let mut ticks: Vec<_> = own.map(|job| millis(job.due_at.unwrap().into())).collect();
    ticks.sort_unstable();
    ticks
}

/// The ticks of a schedule that ran, in the order of their runs, and when.
fn log(stage: &Stage, of: u64) -> impl Iterator<Item = (u64, Duration)> {
    let what = format!("tick-{of}");
    stage.log().into_iter().filter(move |line| line.what == what).map(|line| (line.job, line.at))
}

/// Waits until a tick ran that came no earlier than `asked`; how long after that it ran.
async fn first_since(stage: &Stage, of: u64, asked: Duration) -> Duration {
    let since = |tick: &u64| Duration::from_millis(*tick) >= asked;
    let ran = eventually("the first tick", async || log(stage, of).find(|(tick, _)| since(tick))).await;
    ran.1.saturating_sub(asked)
}

/// Waits until so many more ticks of the pulse ran.
async fn beats(stage: &Stage, many: usize) {
    let before = log(stage, PULSE).count();
    eventually("the pulse goes on", async || (log(stage, PULSE).count() >= before + many).then_some(())).await;
}

fn millis(moment: std::time::SystemTime) -> u64 {
    let since = moment.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
