//! Futures that are dropped: what was sent is carried out at most once, what was not sent never is.

use std::time::Duration;

use queue_redis::RedisStorage;
use queue_servers::Redis;
use queue_storage::model::Namespace;
use queue_storage::storage::{Enqueue, EnqueueCall, Operate, Storage};
use tokio::time::timeout;

use crate::consistent::all_is_well;
use crate::kit::{Caller, PATIENCE, insist, jobs, mail, open, options};

/// How many scripts the server has run by their digest.
fn ran(server: &Redis) -> u64 {
    let stats = server.info("commandstats", "cmdstat_evalsha").unwrap_or_default();
    stats.strip_prefix("calls=").and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

async fn calls(count: usize) -> Vec<EnqueueCall> {
    (0..count).map(|_| Caller::new().call(jobs(1))).collect()
}

/// Makes a call and drops it at once, or when it has been under way for a moment.
async fn drop_soon(storage: &RedisStorage, call: &EnqueueCall, moment: Duration) {
    let _ = timeout(moment, storage.enqueue(call.clone())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_dropped_at_any_moment_are_carried_out_once_or_never() {
    let server = Redis::start();
    let storage = open(&server.url()).await;
    Caller::new().enqueue(&storage, jobs(1)).await;
    let (calls, before) = (calls(200).await, ran(&server));
    for (at, call) in (0_u64..).zip(&calls) {
        drop_soon(&storage, call, Duration::from_micros(at * 10)).await;
    }
    // Whatever is still under way is answered before this is.
    storage.ping().await.unwrap();
    let count = ran(&server) - before;
    assert!(count <= 200, "{count} calls of 200");
    for call in &calls {
        insist(|| storage.enqueue(call.clone())).await;
    }
    assert_eq!(storage.counts(&mail()).await.unwrap().enqueued, 201);
    all_is_well(&*storage, &[&server], &Namespace::default()).await;
}

#[tokio::test]
async fn calls_dropped_while_the_server_stands_still_are_carried_out_once_or_never() {
    let server = Redis::start();
    let hasty = options(&server.url()).timeout(Duration::from_millis(200));
    let storage = insist(|| hasty.clone().connect()).await;
    Caller::new().enqueue(&storage, jobs(1)).await;
    let (calls, before) = (calls(100).await, ran(&server));
    server.freeze();
    for call in &calls {
        drop_soon(&storage, call, Duration::from_millis(1)).await;
    }
    // Given up, its connection is replaced.
    assert!(timeout(PATIENCE, storage.ping()).await.unwrap().unwrap_err().is_unavailable());
    server.thaw();
    insist(|| storage.ping()).await;
    let count = ran(&server) - before;
    assert!(count <= 100, "{count} calls of 100");
    for call in &calls {
        insist(|| storage.enqueue(call.clone())).await;
    }
    let patient = open(&server.url()).await;
    assert_eq!(patient.counts(&mail()).await.unwrap().enqueued, 101);
    all_is_well(&*patient, &[&server], &Namespace::default()).await;
}

#[tokio::test]
async fn calls_made_while_no_server_is_there_are_never_carried_out() {
    let server = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let storage = open(&server.url()).await;
    Caller::new().enqueue(&storage, jobs(1)).await;
    server.kill();
    for call in calls(50).await {
        let answer = timeout(PATIENCE, storage.enqueue(call.clone())).await.expect("it hangs");
        assert!(answer.unwrap_err().is_unavailable());
        drop_soon(&storage, &call, Duration::ZERO).await;
    }
    server.start_again();
    insist(|| storage.ping()).await;
    assert_eq!(storage.counts(&mail()).await.unwrap().enqueued, 1);
    all_is_well(&*storage, &[&server], &Namespace::default()).await;
}
