//! A server without memory: takes no more in, says so, and lets all that frees memory go on.

use bytes::Bytes;
use queue_redis::RedisStorage;
use queue_servers::Redis;
use queue_storage::model::{NewJob, ScheduleName, Settled, Settlement, Timestamp};
use queue_storage::storage::{
    Changed, Claim, Enqueue, Maintain, Notify, Operate, Renewal, Renewed, Retention, ScheduleChange, ScheduleQuery,
    StorageError, Topic,
};

use crate::consistent::all_is_well;
use crate::kit::{Caller, Hand, forget_hints, hears, job, jobs, mail, open, until};

/// Jobs of 10 KiB each.
fn big(count: usize) -> Vec<NewJob> {
    let mut all = jobs(count);
    all.iter_mut().for_each(|job| job.envelope = Bytes::from(vec![7; 10 * 1024]));
    all
}

/// Takes jobs in until no more are taken; how many were, and what was told then.
async fn fill(storage: &RedisStorage, caller: &mut Caller) -> (usize, StorageError) {
    for calls in 0.. {
        if let Err(error) = storage.enqueue(caller.call(big(20))).await {
            return (calls * 20, error);
        }
    }
    unreachable!()
}

async fn full() -> (Redis, RedisStorage, Hand, usize) {
    let server = Redis::start_with(&["--maxmemory", "12mb", "--maxmemory-policy", "noeviction"]);
    let storage = crate::kit::options(&server.url()).connect().await.unwrap();
    let mut hand = Hand::new(&storage).await;
    let mut caller = Caller::new();
    caller.enqueue(&storage, big(20)).await;
    hand.exchange(&storage, 20).await;
    let (count, error) = fill(&storage, &mut caller).await;
    println!("told when memory is full: {error}");
    let told = error.to_string();
    assert!(error.is_unavailable() && told.starts_with(&server.url()), "{told}");
    let action = "Redis has reached its `maxmemory` and takes nothing more in: free memory or raise `maxmemory`";
    assert!(told.contains(action) && told.contains("OOM"), "{told}");
    assert_eq!(storage.counts(&mail()).await.unwrap().enqueued, 20 + count as u64, "a part of a call was taken in");
    // The buffer of a large call that was refused is memory too, and soon free again; not so here.
    server.cli(&["CONFIG", "SET", "maxmemory", "8mb"]);
    (server, storage, hand, 20 + count)
}

#[tokio::test]
async fn what_runs_is_renewed_settled_and_released() {
    let (server, storage, mut hand, _) = full().await;
    let renewal = Renewal { worker: hand.id, shard: mail(), leases: hand.leases(), progress: Vec::new() };
    assert_eq!(storage.renew(renewal).await.unwrap(), [Renewed::Held; 20]);
    let released = hand.settlements.split_off(10);
    hand.exchange(&storage, 0).await;
    let release = |one: Settled| Settled { settlement: Settlement::Release, attempts: 0, ..one };
    hand.settlements = released.into_iter().map(release).collect();
    hand.exchange(&storage, 0).await;
    assert_eq!(hand.settled.len(), 20);
    all_is_well(&storage, &[&server], &"queue".parse().unwrap()).await;
}

#[tokio::test]
async fn work_goes_on_until_there_is_room_again() {
    let (server, storage, mut hand, count) = full().await;
    // Others come to help: new processes, and workers nobody knows yet.
    let helping = open(&server.url()).await;
    let mut helper = Hand::new(&helping).await;
    let last = helper.exchange(&helping, 5).await.claimed[0].job.id;
    let waiting = helping.listen(Topic::Job(last));
    until("interest", async || server.cli(&["HLEN", "queue:{mail}:interest"]) == "1").await;
    forget_hints(&waiting).await;
    helper.exchange(&helping, 0).await;
    hears(&waiting).await;
    hand.finish(&storage).await;
    assert_eq!(hand.settled.len() + helper.settled.len(), count);
    assert!(storage.enqueue(Caller::new().call(vec![job()])).await.unwrap_err().is_unavailable(), "traces take room");
    while storage.prune(&mail(), Retention { traces: 0, dead: 0, ..Retention::default() }).await.unwrap().more {}
    Caller::new().enqueue(&storage, jobs(3)).await;
    hand.finish(&storage).await;
    helping.deregister(helper.id).await.unwrap();
    all_is_well(&storage, &[&server], &"queue".parse().unwrap()).await;
}

/// No schedule is stored and none ticks while memory is full; what is due is told, and what is removed makes room.
#[tokio::test]
async fn schedules_tick_once_there_is_room_again() {
    let (server, storage, _, count) = full().await;
    let name: ScheduleName = "x".parse().unwrap();
    let stores = ScheduleChange::new(name.clone(), None, Some((Some(Timestamp::EPOCH), Bytes::new())));
    let error = storage.tick(&mail(), std::slice::from_ref(&stores)).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("OOM"), "{error}");
    assert_eq!(storage.tick(&mail(), &[]).await.unwrap().due, []);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    storage.tick(&mail(), &[stores]).await.unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", "8mb"]);
    let due = storage.tick(&mail(), &[]).await.unwrap().due.remove(0);
    let change = |to| ScheduleChange::new(name.clone(), Some(due.version), to);
    let mut last = change(None);
    last.jobs = vec![job()];
    for refused in [change(Some((None, Bytes::new()))), last] {
        assert!(storage.tick(&mail(), &[refused]).await.unwrap_err().is_unavailable());
    }
    let query = ScheduleQuery::Named(vec![name.clone()]);
    assert_eq!(storage.schedules(&mail(), &query).await.unwrap().schedules, std::slice::from_ref(&due));
    assert_eq!(storage.tick(&mail(), &[change(None)]).await.unwrap().changed, [Changed::Applied(vec![])]);
    assert_eq!(storage.schedules(&mail(), &query).await.unwrap().schedules, []);
    assert_eq!(storage.counts(&mail()).await.unwrap().enqueued, count as u64);
    all_is_well(&storage, &[&server], &"queue".parse().unwrap()).await;
}
