//! What one storage is told of stops and progress that another wrote to the same file.

use std::time::Duration;

use queue_sqlite::SqliteStorage;
use queue_storage::model::{Fence, JobId, Progress, Shard, WorkerId};
use queue_storage::storage::{Act, Acted, Claim, Notify, Operate, Renewal, Renewed, Topic};

use crate::kit::{Caller, Hand, jobs, mail};
use crate::shared::{hears, quiet, two};

const CANCEL: Act = Act::Cancel { keep: Duration::from_secs(60) };

async fn renew(storage: &SqliteStorage, hand: &Hand, lease: (JobId, Fence), told: Option<Progress>) -> Vec<Renewed> {
    let progress = told.map(|progress| (lease.0, progress)).into_iter().collect();
    storage.renew(Renewal { worker: hand.id, shard: mail(), leases: vec![lease], progress }).await.unwrap()
}

#[tokio::test]
async fn a_stop_asked_for_elsewhere_reaches_the_worker() {
    let (_folder, a, b) = two().await;
    let mut hand = Hand::new(&a).await;
    Caller::new().enqueue(&a, jobs(2)).await;
    let runs = hand.exchange(&a, 2).await.claimed;
    let stops = a.listen(Topic::Stop(hand.id, mail()));
    let elsewhere = a.listen(Topic::Stop(WorkerId::generate(), Shard::of("web".parse().unwrap())));
    quiet(&stops).await;
    quiet(&elsewhere).await;
    for run in &runs {
        assert_eq!(renew(&a, &hand, (run.job.id, run.fence), None).await, [Renewed::Held]);
        assert_eq!(b.act(&mail(), &[run.job.id], &CANCEL).await.unwrap(), [Acted::Asked]);
        hears(&stops).await;
        assert_eq!(renew(&a, &hand, (run.job.id, run.fence), None).await, [Renewed::Stop]);
    }
    assert!(!quiet(&elsewhere).await, "told of another shard");
    // Its end is no stop, and neither is what comes after it.
    hand.exchange(&a, 0).await;
    Caller::new().enqueue(&b, jobs(1)).await;
    assert!(!quiet(&stops).await, "told of something else");
}

#[tokio::test]
async fn a_stop_asked_for_here_is_told_here_alone() {
    let (_folder, a, _b) = two().await;
    let (mut hand, other) = (Hand::new(&a).await, Hand::new(&a).await);
    Caller::new().enqueue(&a, jobs(1)).await;
    let run = hand.exchange(&a, 1).await.claimed.remove(0);
    let (of_one, of_other) = (a.listen(Topic::Stop(hand.id, mail())), a.listen(Topic::Stop(other.id, mail())));
    quiet(&of_one).await;
    quiet(&of_other).await;
    a.act(&mail(), &[run.job.id], &CANCEL).await.unwrap();
    hears(&of_one).await;
    assert!(!quiet(&of_other).await, "told of another worker's run");
}

#[tokio::test]
async fn progress_told_elsewhere_is_noticed() {
    let (_folder, a, b) = two().await;
    let mut hand = Hand::new(&a).await;
    let [one, other] = Caller::new().enqueue(&a, jobs(2)).await[..] else { unreachable!() };
    let run = hand.exchange(&a, 1).await.claimed.remove(0);
    let (of_one, of_other) = (b.listen(Topic::Progress(one)), b.listen(Topic::Progress(other)));
    let end_of_one = b.listen(Topic::Job(one));
    for listener in [&of_one, &of_other, &end_of_one] {
        quiet(listener).await;
    }
    let told = |done| Progress::new(done, 3, "line by line");
    // What the jobs are was not known yet: the first news tells everyone once.
    renew(&a, &hand, (one, run.fence), Some(told(1))).await;
    hears(&of_one).await;
    for listener in [&of_one, &of_other, &end_of_one] {
        quiet(listener).await;
    }
    for done in 2..=3 {
        renew(&a, &hand, (one, run.fence), Some(told(done))).await;
        hears(&of_one).await;
        let job = b.get(one).await.unwrap().found().unwrap();
        assert_eq!(job.progress, Some(told(done)));
    }
    assert!(!quiet(&of_other).await && !quiet(&end_of_one).await, "told of what is neither theirs nor an end");
    hand.exchange(&a, 0).await;
    hears(&of_one).await;
    hears(&end_of_one).await;
    assert_eq!(b.get(one).await.unwrap().found().unwrap().progress, Some(told(3)));
}

#[tokio::test]
async fn renewals_let_each_other_sleep() {
    let (_folder, a, b) = two().await;
    let mut hand = Hand::new(&a).await;
    let [id] = Caller::new().enqueue(&a, jobs(1)).await[..] else { unreachable!() };
    let run = hand.exchange(&a, 1).await.claimed.remove(0);
    let listeners = [
        Topic::Stop(hand.id, mail()),
        Topic::Progress(id),
        Topic::Job(id),
        Topic::Worker(WorkerId::generate(), mail()),
    ]
    .map(|topic| b.listen(topic));
    // Once for what was not known yet, then no more.
    renew(&a, &hand, (id, run.fence), Some(Progress::default())).await;
    for listener in &listeners {
        quiet(listener).await;
    }
    for _ in 0..3 {
        assert_eq!(renew(&a, &hand, (id, run.fence), None).await, [Renewed::Held]);
    }
    for listener in &listeners {
        assert!(!quiet(listener).await, "a renewal woke a sleeper");
    }
}
