//! News: what they cost, and what becomes of watches when connections or processes go.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use queue_redis::{RedisOptions, RedisStorage};
use queue_servers::{Redis, shared, shared_cluster};
use queue_storage::storage::{Heard, Notify, Storage, Watch};
use tokio::time::timeout;

use crate::kit::{Caller, Hand, in_time, insist, jobs, mail, namespace, open, options, until};
use crate::outage::throw_out;
use crate::stage::Stage;

const SECOND: Duration = Duration::from_secs(1);

async fn announce(storage: &RedisStorage, news: impl Into<String>) {
    let news = Bytes::from(news.into());
    insist(|| storage.announce(news.clone())).await;
}

async fn hears(watch: &mut Watch) -> Heard {
    in_time(watch.next()).await.expect("the watch ended")
}

/// The next announcement, whatever may have been missed before it.
async fn next(watch: &mut Watch) -> Bytes {
    loop {
        if let Heard::News(news) = hears(watch).await {
            return news;
        }
    }
}

/// Whether the shard is watched, as the storage is told when it takes a job in.
async fn is_told(storage: &RedisStorage) -> bool {
    Caller::new().enqueue(storage, jobs(1)).await;
    storage.is_watched(&mail())
}

#[tokio::test]
async fn a_watch_whose_connection_is_cut_is_told_so_and_goes_on() {
    let server = Redis::start();
    let (here, there) = (open(&server.url()).await, open(&server.url()).await);
    assert!(!is_told(&there).await);
    let mut watch = here.watch().await.unwrap();
    for round in 0..3 {
        announce(&there, format!("before {round}")).await;
        while next(&mut watch).await != format!("before {round}") {}
        server.cli(&["HDEL", "queue:{mail}:meta", "watch"]);
        throw_out(&server);
        while hears(&mut watch).await != Heard::Missed {}
        until("it is marked again", async || is_told(&there).await).await;
        in_time(hears_again(&there, &mut watch)).await;
    }
}

/// Announces until that is heard: of several connections that were lost, the one for messages may be the last to be back.
async fn hears_again(there: &RedisStorage, watch: &mut Watch) {
    loop {
        announce(there, "after").await;
        if timeout(Duration::from_millis(100), next(watch)).await.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn a_watch_goes_on_however_time_moves_and_lapses_once_its_process_is_gone() {
    let stage = Stage::set("watched").await;
    let clock = Arc::new(stage.clock.clone());
    let watching = options(&stage.server.url()).clock(clock).connect().await.unwrap();
    Caller::new().enqueue(&stage.storage, jobs(1)).await;
    let _watch = watching.watch().await.unwrap();
    assert!(is_told(&stage.storage).await);
    stage.clock.advance(SECOND * 3_600);
    assert!(!is_told(&stage.storage).await);
    until("it is marked again", async || is_told(&stage.storage).await).await;
    // Nothing is said when a process is closed that a killed one would not have said.
    watching.close().await;
    stage.clock.advance(SECOND * 29);
    assert!(is_told(&stage.storage).await);
    stage.clock.advance(SECOND);
    assert!(!is_told(&stage.storage).await);
    stage.end().await;
}

/// What an exchange and an enqueue call cost in commands.
async fn costs(stage: &Stage, hand: &mut Hand, caller: &mut Caller) -> [u64; 2] {
    let before = stage.commands();
    hand.exchange(&stage.storage, 0).await;
    let between = stage.commands();
    caller.enqueue(&stage.storage, jobs(1)).await;
    [between - before, stage.commands() - between]
}

#[tokio::test]
async fn news_cost_one_command_and_to_be_told_of_watches_none() {
    let stage = Stage::set("cost of news").await;
    let (mut hand, mut caller) = (Hand::new(&stage.storage).await, Caller::new());
    // The first of each are dearer.
    costs(&stage, &mut hand, &mut caller).await;
    let unwatched = costs(&stage, &mut hand, &mut caller).await;
    assert!(!stage.storage.is_watched(&mail()));
    let before = stage.commands();
    for _ in 0..3 {
        announce(&stage.storage, "to nobody").await;
    }
    assert_eq!(stage.commands() - before, 3);
    stage.server.cli(&["HSET", "queue:{mail}:meta", "watch", "8000000000000000"]);
    assert_eq!(costs(&stage, &mut hand, &mut caller).await, unwatched);
    assert!(stage.storage.is_watched(&mail()));
    println!("commands of an exchange and of an enqueue call: {unwatched:?}");
    stage.end().await;
}

/// Subscribes for the first watch and lets go with the last, and misses nothing between.
async fn come_and_go(options: RedisOptions) {
    let storage = options.namespace(namespace()).connect().await.unwrap();
    for round in 0..50 {
        let (mut one, mut other) = (storage.watch().await.unwrap(), storage.watch().await.unwrap());
        for watch in [&mut one, &mut other] {
            announce(&storage, round.to_string()).await;
            assert_eq!(next(watch).await, round.to_string());
        }
        drop(one);
        announce(&storage, "to the other").await;
        while next(&mut other).await != "to the other" {}
    }
}

#[tokio::test]
async fn watches_come_and_go() {
    come_and_go(options(&shared().url())).await;
    come_and_go(options(&shared_cluster().url())).await;
}

#[tokio::test]
async fn nobody_is_sent_news_once_the_last_watch_has_gone() {
    let server = Redis::start();
    let storage = open(&server.url()).await;
    let subscribers = || server.cli(&["PUBSUB", "NUMSUB", "queue:news"]).replace('\n', " ");
    let watches = [storage.watch().await.unwrap(), storage.watch().await.unwrap()];
    assert_eq!(subscribers(), "queue:news 1");
    drop(watches);
    until("it is let go of", async || subscribers() == "queue:news 0").await;
}
