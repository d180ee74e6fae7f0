//! Limits over several processes, some of which are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use queue::storage::model::Shard;
use queue::{Client, JobId, Limit, State};

use super::stage::{Process, Stage, all, on_every_shared_storage, seeded, whole};
use super::tasks::{now, work};
use crate::support::eventually;

on_every_shared_storage!(never_a_sixth_and_no_slot_leaks);

const KEYS: u64 = 50;
const JOBS: u64 = 2_000;
const AT_ONCE: u32 = 5;
const KILLS: usize = 12;
/// The lease is long beside the pauses of a busy machine, so that only a kill loses one.
const WORKER: &str = "--concurrency 64 --lease-ms 2000 --crash-limit off";

/// Four processes, fifty keys of five slots each; whoever is killed is followed by another. Never do more than five jobs
/// of a key run, and in the end no slot is taken.
async fn never_a_sixth_and_no_slot_leaks(stage: Stage) {
    let mut rng = seeded("limits");
    let client = stage.client().await;
    let limit = |job| Limit::concurrency(AT_ONCE).shared(format!("key-{}", job % KEYS));
    let calls = (0..JOBS).map(|job| work::new(job, [0, 150_000, 0]).limit(limit(job)));
    let ids: BTreeMap<JobId, u64> =
        client.enqueue_all(calls).await.unwrap().iter().map(queue::JobHandle::id).zip(0..).collect();
    let mut lives: Vec<Process> = (0..4).map(|n| stage.worker(&format!("life-{n}"), WORKER)).collect();
    let mut deaths = Vec::new();
    let is_over = async || client.counts("default").await.unwrap().ended.completed == JOBS;
    for n in 0..KILLS {
        let before = stage.log().len();
        // On a slow machine all may be done before everyone has been killed who was to be.
        let effects = async || (stage.log().len() > before + 40 || is_over().await).then_some(());
        eventually("effects between kills", effects).await;
        if is_over().await {
            break;
        }
        std::thread::sleep(Duration::from_micros(rng.u64(0..30_000)));
        let life = lives.swap_remove(rng.usize(..lives.len()));
        let name = life.name.clone();
        life.kill();
        deaths.push((name, now()));
        few_enough(&client).await;
        lives.push(stage.worker(&format!("life-{}", n + 4), WORKER));
    }
    let done = async || (client.counts("default").await.unwrap().ended.completed == JOBS).then_some(());
    eventually("all jobs completed", done).await;
    drop(lives);
    let most = most_at_once(&stage, &deaths);
    let kills = deaths.len();
    assert!(kills > 0, "nobody was killed");
    println!("limits on {}: {JOBS} jobs, {kills} kills, never more than {most} of a key at once", stage.kind());
    assert!(most <= AT_ONCE as usize, "{most} of one key ran at once");
    nothing_is_taken(&client).await;
    assert_eq!(all(&client, Some(State::Completed)).await.len(), ids.len());
    whole(&client).await;
}

/// What the storage says: no key has more leases than slots.
async fn few_enough(client: &Client) {
    for key in 0..KEYS {
        let running = usage(client, key).await.running;
        assert!(running <= u64::from(AT_ONCE), "{running} hold a slot of key {key}");
    }
}

async fn nothing_is_taken(client: &Client) {
    for key in 0..KEYS {
        let usage = usage(client, key).await;
        assert_eq!((usage.running, usage.waiting), (0, 0), "key {key}");
    }
}

async fn usage(client: &Client, key: u64) -> queue::storage::storage::Usage {
    let shard = Shard::of("default".parse().unwrap());
    client.storage().usage(&shard, &format!("key:key-{key}").parse().unwrap()).await.unwrap()
}

/// What the world saw: the most runs of one key at one moment. A process that was killed runs nothing after its death.
fn most_at_once(stage: &Stage, deaths: &[(String, Duration)]) -> usize {
    let mut events: Vec<_> = stage.log().into_iter().map(|line| (line.at, line.what, line.job, line.by)).collect();
    events.extend(deaths.iter().map(|(name, at)| (*at, "killed".to_owned(), 0, name.clone())));
    events.sort();
    let mut running: BTreeMap<u64, BTreeSet<(u64, String)>> = BTreeMap::new();
    let mut most = 0;
    for (_, what, job, by) in events {
        match what.as_str() {
            "killed" => running.values_mut().for_each(|runs| runs.retain(|(_, of)| *of != by)),
            "begin" => {
                let runs = running.entry(job % KEYS).or_default();
                runs.insert((job, by));
                most = most.max(runs.len());
            }
            _ => {
                if let Some(runs) = running.get_mut(&(job % KEYS)) {
                    runs.remove(&(job, by));
                }
            }
        }
    }
    most
}
