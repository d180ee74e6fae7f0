//! A server that comes back: with everything where it writes each call down, else with nothing.

use std::collections::BTreeSet;

use queue_redis::RedisStorage;
use queue_servers::Redis;
use queue_storage::model::{JobId, Namespace, State, WorkerId};
use queue_storage::storage::{Claim, Lookup, Notify, Operate, Renewal, Renewed, SettleAnswer, Topic};

use crate::consistent::all_is_well;
use crate::kit::{Caller, Hand, insist, jobs, mail, open, shard, sleeps_and_is_woken};
use crate::work::Work;

fn restart(server: &Redis) {
    server.kill();
    server.start_again();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_down_is_there_again() {
    let server = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let storages = [open(&server.url()).await, open(&server.url()).await];
    let work = Work::start(&storages);
    for _ in 0..3 {
        work.goes_on(30).await;
        restart(&server);
    }
    let told = work.finish().await;
    told.all_settled_once();
    for (job, fence) in &told.settled {
        let Lookup::Found(found) = storages[0].get(*job).await.unwrap() else { panic!("{job} is lost") };
        assert_eq!(found.state, State::Completed, "{job}, settled under {fence:?}");
    }
    all_is_well(&*storages[0], &[&server], &Namespace::default()).await;
}

#[tokio::test]
async fn held_outcomes_settle_under_their_fence() {
    let server = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let storage = open(&server.url()).await;
    Caller::new().enqueue(&storage, jobs(20)).await;
    let mut hand = Hand::new(&storage).await;
    let mut other = Hand::new(&storage).await;
    hand.exchange(&storage, 10).await;
    restart(&server);
    assert_eq!(other.exchange(&storage, 256).await.claimed.len(), 10, "what is held is held");
    let leases = hand.leases();
    let renewal = Renewal { worker: hand.id, shard: mail(), leases: leases.clone(), progress: Vec::new() };
    assert_eq!(insist(|| storage.renew(renewal.clone())).await, [Renewed::Held; 10]);
    hand.exchange(&storage, 0).await;
    assert_eq!(hand.settled, leases);
    other.exchange(&storage, 0).await;
    assert_eq!(storage.counts(&mail()).await.unwrap().ended.completed, 20);
    all_is_well(&*storage, &[&server], &Namespace::default()).await;
}

/// Whom a server that came back empty has forgotten.
struct Forgotten {
    hand: Hand,
    jobs: BTreeSet<JobId>,
}

async fn forgotten(server: &Redis, storage: &RedisStorage) -> Forgotten {
    let jobs = Caller::new().enqueue(storage, jobs(20)).await.into_iter().collect();
    let mut hand = Hand::new(storage).await;
    hand.exchange(storage, 10).await;
    restart(server);
    assert_eq!(server.cli(&["DBSIZE"]), "0", "it was to come back empty");
    Forgotten { hand, jobs }
}

#[tokio::test]
async fn workers_of_an_empty_server_begin_anew() {
    let server = Redis::start();
    let (storage, other) = (open(&server.url()).await, open(&server.url()).await);
    let Forgotten { mut hand, jobs: lost } = forgotten(&server, &storage).await;
    let renewal = Renewal { worker: hand.id, shard: mail(), leases: hand.leases(), progress: Vec::new() };
    assert_eq!(insist(|| storage.renew(renewal.clone())).await, [Renewed::Lost; 10]);
    let call = hand.call(10);
    let error = storage.exchange(call.clone()).await.unwrap_err();
    assert!(error.is_unknown_worker(), "{error}");
    hand.register(&storage).await;
    let answer = storage.exchange(call).await.unwrap();
    assert_eq!(answer.settled, [SettleAnswer::Lost; 10]);
    assert!(answer.claimed.is_empty());
    for id in &lost {
        assert_eq!(storage.get(*id).await.unwrap(), Lookup::Unknown);
    }
    Caller::new().enqueue(&other, jobs(5)).await;
    hand.finish(&storage).await;
    assert_eq!(hand.settled.len(), 5);
    assert_eq!(storage.workers().await.unwrap().len(), 1);
    sleeps_and_is_woken(&storage, &other, &server, &Namespace::default()).await;
    all_is_well(&*storage, &[&server], &Namespace::default()).await;
}

/// The very first call that is answered after the restart finds its shard among all shards, also while the process does
/// not hear yet what it listens to.
#[tokio::test]
async fn an_empty_server_lists_its_shards_from_the_first_call_on() {
    let server = Redis::start();
    let storage = open(&server.url()).await;
    let queues = ["mail", "web", "log"].map(shard);
    let _listeners = queues.clone().map(|queue| storage.listen(Topic::Worker(WorkerId::generate(), queue)));
    let mut callers = queues.clone().map(Caller::of);
    for _ in 0..8 {
        for (caller, queue) in callers.iter_mut().zip(&queues) {
            caller.enqueue(&storage, vec![crate::kit::job_in(queue)]).await;
            assert!(storage.shards().await.unwrap().contains(queue), "{queue} is not listed");
        }
        all_is_well(&*storage, &[&server], &Namespace::default()).await;
        restart(&server);
    }
}

#[tokio::test]
async fn an_empty_server_is_told_the_layout_anew() {
    let server = Redis::start();
    let storage = open(&server.url()).await;
    let mut caller = Caller::new();
    caller.enqueue(&storage, jobs(1)).await;
    let layout = server.cli(&["GET", "queue:layout"]);
    restart(&server);
    caller.enqueue(&storage, jobs(1)).await;
    assert_eq!(server.cli(&["GET", "queue:layout"]), layout);
}
