//! Priority over the whole range, and first come first served among equals.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use queue::{Client, JobId};

use super::stage::{Process, Stage, all, on_every_shared_storage, whole};
use super::tasks::{mixed_priority, work};

on_every_shared_storage!(priority_is_exact_and_so_is_first_come_first_served);

/// Jobs of each enqueuer.
const EACH: u64 = 250;
/// How many jobs each enqueuer stores at a time, and how many milliseconds its clock is ahead.
const ENQUEUERS: [(u64, i64); 8] = [
    (1, 0),
    (1, -31_536_000_000),
    (1, 31_536_000_000),
    (1, -1_500),
    (7, 1_500),
    (7, -86_400_000),
    (50, 0),
    (50, 86_400_000),
];

/// A worker with one slot runs what eight enqueuers stored, whose clocks disagree: by priority, and equals in the order
/// in which the storage took them in.
async fn priority_is_exact_and_so_is_first_come_first_served(stage: Stage) {
    for enqueuer in &mut (0..).zip(ENQUEUERS).map(|(n, how)| enqueuer(&stage, n, how)).collect::<Vec<_>>() {
        enqueuer.ends_well().await;
    }
    stage.worker("single", "--concurrency 1 --until-idle").ends_well().await;
    let ran: Vec<u64> = stage.log().iter().filter(|line| line.what == "begin").map(|line| line.job).collect();
    let jobs = ENQUEUERS.len() as u64 * EACH;
    assert_eq!((ran.iter().collect::<BTreeSet<_>>().len() as u64, ran.len() as u64), (jobs, jobs));
    assert!(ran.is_sorted_by_key(|job| Reverse(mixed_priority(*job))), "a lower priority ran first");
    // Stable: equal priorities of one enqueuer keep the order of its numbers.
    for n in 0..ENQUEUERS.len() as u64 {
        let own: Vec<u64> = ran.iter().copied().filter(|job| job / EACH == n).collect();
        assert!(own.is_sorted_by_key(|job| (Reverse(mixed_priority(*job)), *job)), "enqueuer {n} was overtaken");
    }
    let client = stage.client().await;
    assert_eq!(ran, in_order_of_sequence(&client).await);
    let judged = none_overtook_an_older_one(&stage, &ran);
    not_in_order_of_ids(&client).await;
    whole(&client).await;
    println!(
        "order on {}: {jobs} jobs of 8 enqueuers, {} priorities, by priority then sequence; {judged} pairs of equals from \
         different enqueuers stood in a known order and kept it",
        stage.kind(),
        ran.iter().map(|job| mixed_priority(*job)).collect::<BTreeSet<_>>().len()
    );
}

fn enqueuer(stage: &Stage, n: u64, (batch, ahead): (u64, i64)) -> Process {
    let (from, to) = (n * EACH, (n + 1) * EACH);
    let flags = format!("--from {from} --to {to} --batch {batch} --clock-ms {ahead} --mixed-priorities --noted");
    stage.enqueuer(&format!("enqueuer-{n}"), &flags)
}

/// Judged by the effect log alone: of two equals, one stored before the other was asked for runs first. How many pairs of
/// different enqueuers there were.
fn none_overtook_an_older_one(stage: &Stage, ran: &[u64]) -> usize {
    let log = stage.log();
    let places = |what: &str| -> BTreeMap<u64, usize> {
        log.iter().enumerate().filter(|(_, line)| line.what == what).map(|(at, line)| (line.job, at)).collect()
    };
    let (asked, stored) = (places("asked"), places("stored"));
    let mut judged = 0;
    for equals in ran.chunk_by(|a, b| mixed_priority(*a) == mixed_priority(*b)) {
        for (at, late) in equals.iter().enumerate() {
            for early in &equals[..at] {
                assert!(stored[late] > asked[early], "job {late} was stored before job {early} was asked for");
                judged += usize::from(early / EACH != late / EACH && stored[early] < asked[late]);
            }
        }
    }
    assert!(judged > 0, "no two enqueuers met");
    judged
}

/// All stored jobs by priority, then by the sequence that the storage gave them when they became ready.
async fn in_order_of_sequence(client: &Client) -> Vec<u64> {
    let mut jobs: Vec<_> = all(client, None).await.into_iter().collect();
    jobs.sort_by_key(|(_, job)| (Reverse(job.priority), job.sequence));
    jobs.iter().map(|(id, job)| number(client, *id, job)).collect()
}

/// The clocks of the enqueuers showed, or nothing would be tested here.
async fn not_in_order_of_ids(client: &Client) {
    let mut jobs: Vec<_> = all(client, None).await.into_iter().collect();
    jobs.sort_by_key(|(_, job)| job.sequence);
    assert!(!jobs.is_sorted_by_key(|(id, _)| *id), "the ids are in order");
    let made: Vec<_> = jobs.iter().map(|(id, _)| id.made_at()).collect();
    let spread = made.iter().max().zip(made.iter().min()).map(|(last, first)| *last - *first).unwrap();
    assert!(spread.as_secs() > 60_000_000, "the clocks were {spread:?} apart");
}

fn number(client: &Client, id: JobId, job: &queue::Job) -> u64 {
    client.args_of::<work>(job).unwrap_or_else(|error| panic!("{id}: {error}")).job
}
