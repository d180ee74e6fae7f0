//! A job that kills its process.

use std::os::unix::process::ExitStatusExt;

use queue::{EndReason, State};
use rustix::process::Signal;

use super::stage::{Stage, all, on_every_shared_storage, stored, whole};
use super::tasks::{poison, work};

on_every_shared_storage!(poison_dies_alone_after_three_crashes);

const INNOCENT: u64 = 200;
const POISON: u64 = 1_000;
const WORKER: &str = "--concurrency 64 --lease-ms 400 --crash-limit 3 --until-idle";

/// Among 200 innocent jobs at concurrency 64 the poison alone dies, after three crashes.
async fn poison_dies_alone_after_three_crashes(stage: Stage) {
    let client = stage.client().await;
    let innocent = |jobs: std::ops::Range<u64>| jobs.map(|job| work::new(job, [0, 10_000, 0]));
    client.enqueue_all(innocent(0..INNOCENT / 4)).await.unwrap();
    let poison = poison::new(POISON).enqueue(&client).await.unwrap().id();
    client.enqueue_all(innocent(INNOCENT / 4..INNOCENT)).await.unwrap();

    let deaths = lives_until_drained(&stage).await;

    let culprit = stored(&client, poison).await;
    assert_eq!((culprit.state, culprit.reason), (State::Dead, Some(EndReason::Crashed)));
    assert_eq!((culprit.crashes, culprit.attempts), (3, 0));
    assert_eq!(deaths, culprit.crashes + culprit.lapses, "each death is a lost lease of the poison");
    assert_eq!(stage.who("begin", POISON).len() as u32, deaths);
    assert!(culprit.lapses <= 1, "from its second death on it is counted: {} lapses", culprit.lapses);

    let counts = client.counts("default").await.unwrap();
    assert_eq!((counts.ended.completed, counts.ended.dead, counts.live()), (INNOCENT, 1, 0));
    let mut jobs = all(&client, None).await;
    jobs.remove(&poison);
    assert!(jobs.values().all(|job| job.state == State::Completed && job.attempts == 1));
    whole(&client).await;
    let crashes: Vec<u32> = jobs.values().map(|job| job.crashes).filter(|crashes| *crashes > 0).collect();
    println!(
        "poison on {}: {deaths} deaths, {} crashes, {} lapses; {} of {} innocents lost their worker, at most {:?} times; all completed",
        stage.kind(),
        culprit.crashes,
        culprit.lapses,
        crashes.len(),
        jobs.len(),
        crashes.iter().max()
    );
}

/// Starts a worker again and again until one ends by itself; how many died.
async fn lives_until_drained(stage: &Stage) -> u32 {
    let mut deaths = 0;
    loop {
        let status = stage.worker(&format!("life-{deaths}"), WORKER).ends().await;
        if status.success() {
            return deaths;
        }
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
        deaths += 1;
        assert!(deaths <= 10, "the poison goes on killing");
    }
}
