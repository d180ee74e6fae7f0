//! A cluster that moves a queue's slot to another node while the queue is used, and a node that comes back empty.

use std::sync::Arc;
use std::time::Duration;

use queue_redis::RedisStorage;
use queue_servers::{Cluster, Redis};
use queue_storage::clock::{Clock, SystemClock};
use queue_storage::model::Namespace;
use queue_storage::storage::{Enqueue, Operate};
use tokio::sync::watch;

use crate::consistent::all_is_well;
use crate::kit::{Caller, Hand, insist, job_in, jobs, mail, open, shard, sleeps_and_is_woken};
use crate::work::Work;

const JOBS: usize = 100_000;

fn nodes(cluster: &Cluster) -> Vec<&Redis> {
    cluster.nodes().iter().collect()
}

/// What a client that calls without pause saw of an outage.
#[derive(Debug, Default)]
struct Outage {
    refused: usize,
    /// From before the first call that was refused, or the slowest one, until the answer to the first that was not.
    longest: Duration,
}

/// Calls until it is told to stop.
async fn watch_outage(storage: Arc<RedisStorage>, stop: watch::Receiver<bool>) -> Outage {
    let mut outage = Outage::default();
    let mut caller = Caller::new();
    while !*stop.borrow() {
        let (call, since) = (caller.call(jobs(1)), SystemClock.now());
        while let Err(error) = storage.enqueue(call.clone()).await {
            assert!(error.is_unavailable(), "{error}");
            outage.refused += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        outage.longest = outage.longest.max(SystemClock.now().since(since));
    }
    outage
}

/// Moves the queue's slot while someone calls; what it saw of that.
async fn moved(cluster: &Cluster, storage: &Arc<RedisStorage>, to: usize) -> Outage {
    let slot = cluster.slot_of("queue:{mail}:jobs");
    let stop = watch::Sender::new(false);
    let watching = tokio::spawn(watch_outage(Arc::clone(storage), stop.subscribe()));
    tokio::task::block_in_place(|| cluster.move_slot(slot, to));
    stop.send_replace(true);
    watching.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_queue_moves_to_another_node() {
    let cluster = Cluster::start(2);
    let (here, there) = (open(&cluster.url()).await, open(&cluster.url()).await);
    let slot = cluster.slot_of("queue:{mail}:jobs");
    let name = Namespace::default();
    let mut caller = Caller::new();
    for _ in 0..JOBS / 1_000 {
        caller.enqueue(&here, jobs(1_000)).await;
    }
    let to = 1 - cluster.owner_of(slot);
    let outage = moved(&cluster, &here, to).await;
    println!("moving a queue of {JOBS} jobs: {outage:?}");
    let counts = here.counts(&mail()).await.unwrap();
    assert!(counts.enqueued >= JOBS as u64 && counts.live() == counts.enqueued, "{counts:?}");
    let mut hand = Hand::new(&there).await;
    hand.finish(&there).await;
    assert_eq!(hand.settled.len() as u64, here.counts(&mail()).await.unwrap().enqueued);
    sleeps_and_is_woken(&here, &there, &cluster.nodes()[to], &name).await;
    all_is_well(&*here, &nodes(&cluster), &name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn slots_move_under_load() {
    let cluster = Cluster::start(2);
    let storages = [open(&cluster.url()).await, open(&cluster.url()).await];
    let slot = cluster.slot_of("queue:{mail}:jobs");
    let work = Work::start(&storages);
    for _ in 0..4 {
        work.goes_on(50).await;
        let to = 1 - cluster.owner_of(slot);
        tokio::task::block_in_place(|| cluster.move_slot(slot, to));
    }
    work.goes_on(50).await;
    work.finish().await.all_settled_once();
    let owner = &cluster.nodes()[cluster.owner_of(slot)];
    sleeps_and_is_woken(&storages[0], &storages[1], owner, &Namespace::default()).await;
    all_is_well(&*storages[0], &nodes(&cluster), &Namespace::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_node_comes_back_empty() {
    let cluster = Cluster::start(2);
    let storage = open(&cluster.url()).await;
    let queues: Vec<_> = (0..8).map(|at| shard(&format!("q{at}"))).collect();
    let mut hands = Vec::new();
    for queue in &queues {
        Caller::of(queue.clone()).enqueue(&storage, vec![job_in(queue), job_in(queue)]).await;
        let hand = Hand::stranger(queue.clone());
        hand.register(&storage).await;
        hands.push(hand);
    }
    // The node that knows every shard.
    let node = cluster.owner_of(cluster.slot_of("queue:shards"));
    cluster.nodes()[node].kill();
    cluster.nodes()[node].start_again();
    cluster.wait_until_ok();
    let mut done = 0;
    for hand in &mut hands {
        hand.exchange(&storage, 1).await;
        hand.finish(&storage).await;
        done += hand.settled.len();
    }
    let left = insist(|| storage.shards()).await;
    assert!(done < 16 && done == left.len() * 2, "{done} done of {left:?}");
    all_is_well(&*storage, &nodes(&cluster), &Namespace::default()).await;
}
