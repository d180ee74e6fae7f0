//! Sentinels that put another server in the primary's place.

use std::collections::{BTreeMap, BTreeSet};

use queue_redis::RedisStorage;
use queue_servers::Sentinel;
use queue_storage::model::{Fence, JobId, Namespace, State};
use queue_storage::storage::{Claim, Operate, Renewal, Renewed};

use crate::consistent::all_is_well;
use crate::kit::{Caller, Hand, insist, jobs, mail, open, sleeps_and_is_woken};
use crate::work::{Told, Work};

/// What had reached the replica is there, and what was held there is settled under its fence.
async fn goes_on(sentinel: &Sentinel, storage: &RedisStorage, change: impl FnOnce()) {
    let ended = storage.counts(&mail()).await.unwrap().ended.completed;
    Caller::new().enqueue(storage, jobs(20)).await;
    let mut hand = Hand::new(storage).await;
    hand.exchange(storage, 10).await;
    sentinel.catch_up();
    change();
    let leases = hand.leases();
    let renewal = Renewal { worker: hand.id, shard: mail(), leases: leases.clone(), progress: Vec::new() };
    assert_eq!(insist(|| storage.renew(renewal.clone())).await, [Renewed::Held; 10]);
    hand.exchange(storage, 0).await;
    assert_eq!(hand.settled, leases);
    hand.finish(storage).await;
    assert_eq!(storage.counts(&mail()).await.unwrap().ended.completed, ended + 20);
    all_is_well(storage, &[sentinel.primary()], &Namespace::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_primary_takes_over() {
    let sentinel = Sentinel::start();
    let (here, there) = (open(&sentinel.url()).await, open(&sentinel.url()).await);
    goes_on(&sentinel, &here, || sentinel.switch_over()).await;
    sleeps_and_is_woken(&here, &there, sentinel.primary(), &Namespace::default()).await;
    goes_on(&sentinel, &here, || sentinel.failover()).await;
    sleeps_and_is_woken(&here, &there, sentinel.primary(), &Namespace::default()).await;
    sentinel.mend();

    let work = Work::start(&[here.clone(), there]);
    work.goes_on(50).await;
    sentinel.switch_over();
    work.goes_on(50).await;
    sentinel.failover();
    work.goes_on(50).await;
    let told = work.finish().await;
    check_what_is_left(&here, &told).await;
    all_is_well(&*here, &[sentinel.primary()], &Namespace::default()).await;
}

/// What the old primary took with it is lost; what is left is done, and each job once.
async fn check_what_is_left(storage: &RedisStorage, told: &Told) {
    let counts = storage.counts(&mail()).await.unwrap();
    assert_eq!(counts.live(), 0);
    let mut fences: BTreeMap<JobId, BTreeSet<Fence>> = BTreeMap::new();
    for (job, fence) in &told.settled {
        assert!(fences.entry(*job).or_default().insert(*fence), "{job} was settled twice under {fence:?}");
    }
    let (mut lost, mut again) = (0, 0);
    for id in &told.enqueued {
        match storage.get(*id).await.unwrap().found() {
            Some(job) => assert_eq!(job.state, State::Completed, "{job:?}"),
            None => lost += 1,
        }
        // Only where the first settlement was lost with the old primary.
        again += usize::from(fences.get(id).is_some_and(|fences| fences.len() > 1));
    }
    println!("of {} jobs the old primary took {lost} with it, and {again} settlements", told.enqueued.len());
    assert!(lost + again < told.enqueued.len(), "nothing survived");
}
