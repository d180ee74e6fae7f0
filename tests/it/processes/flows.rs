//! Flows under `kill -9`, until they are done.

use std::time::Duration;

use queue::{Client, FlowHandle, State, group, join};

use super::stage::{Stage, all, on_every_shared_storage, seeded, whole};
use super::tasks::{fold, folds, leaf, meet, step};
use crate::support::eventually;

on_every_shared_storage!(every_flow_completes_whoever_is_killed);

const MEMBERS: u64 = 10_000;
const CHAINS: u64 = 10;
const KILLS: usize = 20;
const WORKER: &str = "--concurrency 64 --lease-ms 500 --crash-limit off --queues default,other";

/// What was enqueued.
struct Flows {
    crowd: FlowHandle<Vec<u64>>,
    chains: Vec<FlowHandle<u64>>,
    nested: FlowHandle<Vec<Vec<u64>>>,
    diamonds: Vec<FlowHandle<u64>>,
}

/// Two workers, one of which is killed again and again: each callback gets what every member returned, in order, and in
/// the end nothing waits. Half of the small flows go to and fro between two queues.
async fn every_flow_completes_whoever_is_killed(stage: Stage) {
    let mut rng = seeded("flows");
    let client = stage.client().await;
    let flows = enqueue(&client).await;
    let mut lives = vec![stage.worker("life-0", WORKER), stage.worker("life-1", WORKER)];
    let mut kills = 0;
    while kills < KILLS && live(&client).await > 0 {
        let before = stage.log().len();
        let more = async || (stage.log().len() > before + 400 || live(&client).await == 0).then_some(());
        eventually("effects between kills", more).await;
        std::thread::sleep(Duration::from_micros(rng.u64(0..30_000)));
        lives.swap_remove(rng.usize(..lives.len())).kill();
        kills += 1;
        lives.push(stage.worker(&format!("life-{}", kills + 1), WORKER));
    }
    eventually("all flows ended", async || (live(&client).await == 0).then_some(())).await;
    drop(lives);
    check(&flows).await;
    let stored = all(&client, None).await;
    assert!(stored.values().all(|job| job.state == State::Completed), "all completed");
    assert!(stored.values().all(|job| job.attempts <= 1), "and each once");
    whole(&client).await;
    let runs = stage.log().iter().filter(|line| line.what == "end").count();
    println!("flows on {}: {} jobs, {kills} kills, {runs} runs ended", stage.kind(), stored.len());
}

async fn live(client: &Client) -> u64 {
    client.counts("default").await.unwrap().live() + client.counts("other").await.unwrap().live()
}

async fn enqueue(client: &Client) -> Flows {
    let keep = Duration::from_secs(3_600);
    let leaf_of = |n: u64| leaf::new(n).keep(keep);
    let other = |n: u64| if n.is_multiple_of(2) { "default" } else { "other" };
    let crowd = group((0..MEMBERS).map(leaf_of)).then(fold::after(20_000u64).keep(keep));
    let chain = |n: u64| {
        let id = 30_000 + n * 100;
        (1..10).fold(leaf_of(id).into_flow(), |flow, at| {
            let queue = if n.is_multiple_of(2) { "default" } else { other(at) };
            flow.then(step::after(id + at).keep(keep).queue(queue))
        })
    };
    let row = |n: u64| {
        let members = group((0..12).map(|at| leaf_of(40_000 + n * 20 + at)));
        members.then(fold::after(41_000 + n).queue(other(n)))
    };
    let diamond = |n: u64| {
        let top = leaf_of(50_000 + n * 10);
        let side = |at: u64| top.clone().then(step::after(50_000 + n * 10 + at).queue(other(n * at)));
        let sides = join((side(1), side(2).then(step::after(50_003 + n * 10))));
        sides.then(meet::after(50_004 + n * 10).keep(keep))
    };
    let nested = group((0..12).map(row)).then(folds::after(42_000u64).keep(keep));
    let mut flows = Flows {
        crowd: crowd.enqueue(client).await.unwrap(),
        chains: Vec::new(),
        nested: nested.enqueue(client).await.unwrap(),
        diamonds: Vec::new(),
    };
    for n in 0..CHAINS {
        flows.chains.push(chain(n).enqueue(client).await.unwrap());
        flows.diamonds.push(diamond(n).enqueue(client).await.unwrap());
    }
    flows
}

/// Each end holds what every member returned, in order.
async fn check(flows: &Flows) {
    assert_eq!(flows.crowd.result().await.unwrap().unwrap(), (0..MEMBERS).collect::<Vec<_>>());
    let rows: Vec<Vec<u64>> = (0..12).map(|n| (0..12).map(|at| 40_000 + n * 20 + at).collect()).collect();
    assert_eq!(flows.nested.result().await.unwrap().unwrap(), rows);
    for (n, chain) in (0..).zip(&flows.chains) {
        assert_eq!(chain.result().await.unwrap().unwrap(), 30_000 + n * 100 + 9);
    }
    for (n, diamond) in (0..).zip(&flows.diamonds) {
        let top = 50_000 + n * 10;
        assert_eq!(diamond.result().await.unwrap().unwrap(), (top + 1) * 1_000 + top + 2);
    }
}
