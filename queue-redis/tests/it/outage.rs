//! A server that forgets its scripts, throws its clients out, or stands still.

use std::time::Duration;

use queue_servers::Redis;
use queue_storage::model::Namespace;
use queue_storage::storage::{Notify, StorageError, Topic};

use crate::calls::{KINDS, Kind, Scene};
use crate::consistent::all_is_well;
use crate::kit::{Caller, Hand, forget_hints, hears, in_time, insist, jobs, open, options, sleeps_and_is_woken, until};
use crate::work::Work;

/// How many scripts the server was sent anew.
fn sent_anew(server: &Redis) -> u64 {
    let stats = server.info("commandstats", "cmdstat_eval").unwrap_or_default();
    stats.strip_prefix("calls=").and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn scripts_that_are_flushed_are_sent_again() {
    let server = Redis::start();
    let mut anew = 0;
    for kind in KINDS {
        let scene = Scene::set(&server.url(), &server.url()).await;
        server.cli(&["SCRIPT", "FLUSH"]);
        let before = sent_anew(&server);
        let answer = scene.call(kind).await.unwrap();
        anew += sent_anew(&server) - before;
        scene.done_once(kind, &[&server], &answer).await;
    }
    // Shards, workers, pings and announcements need none.
    assert!(anew >= 9, "{anew} scripts were sent again: the flush was none");
    let (here, there) = (open(&server.url()).await, open(&server.url()).await);
    let id = Caller::new().enqueue(&here, jobs(1)).await[0];
    server.cli(&["SCRIPT", "FLUSH"]);
    let listener = here.listen(Topic::Job(id));
    until("interest", async || server.cli(&["HLEN", "queue:{mail}:interest"]) == "1").await;
    let mut hand = Hand::new(&there).await;
    hand.exchange(&there, 1).await;
    server.cli(&["SCRIPT", "FLUSH"]);
    hand.exchange(&there, 0).await;
    hears(&listener).await;
}

pub(crate) fn throw_out(server: &Redis) {
    for kind in ["normal", "pubsub"] {
        server.cli(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_thrown_out_amid_their_calls() {
    let server = Redis::start();
    let storages = [open(&server.url()).await, open(&server.url()).await];
    let work = Work::start(&storages);
    for _ in 0..20 {
        work.goes_on(10).await;
        throw_out(&server);
    }
    work.finish().await.all_settled_once();
    all_is_well(&*storages[0], &[&server], &Namespace::default()).await;
}

#[tokio::test]
async fn who_was_thrown_out_is_still_woken() {
    let server = Redis::start();
    let (here, there) = (open(&server.url()).await, open(&server.url()).await);
    let id = Caller::new().enqueue(&there, jobs(1)).await[0];
    let mut busy = Hand::new(&there).await;
    busy.exchange(&there, 1).await;
    let waiting = here.listen(Topic::Job(id));
    for _ in 0..3 {
        sleeps_and_is_woken(&here, &there, &server, &Namespace::default()).await;
        until("interest", async || server.cli(&["HLEN", "queue:{mail}:interest"]) == "1").await;
        forget_hints(&waiting).await;
        throw_out(&server);
        // Told to look, as something may have been missed.
        hears(&waiting).await;
    }
    sleeps_and_is_woken(&here, &there, &server, &Namespace::default()).await;
    forget_hints(&waiting).await;
    busy.exchange(&there, 0).await;
    hears(&waiting).await;
    all_is_well(&*here, &[&server], &Namespace::default()).await;
}

#[tokio::test]
async fn calls_to_a_frozen_server_end_in_time() {
    let server = Redis::start();
    for kind in KINDS {
        let hasty = options(&server.url()).timeout(Duration::from_millis(100));
        let scene = Scene::with(&server.url(), hasty).await;
        server.freeze();
        let error = in_time(scene.call(kind)).await.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("did not answer within 100ms"), "{error}");
        let error = in_time(scene.call(kind)).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        server.thaw();
        let answer = insist(|| scene.call(kind)).await;
        scene.done_once(kind, &[&server], &answer).await;
    }
}

/// What is told of a call to a server that is paused for longer than a call may take. On a machine that stands still a
/// pause may be over before the call is made: then there is another.
async fn given_up_in_a_pause(server: &Redis, scene: &Scene, kind: Kind) -> StorageError {
    for _ in 0..50 {
        server.cli(&["CLIENT", "PAUSE", "300", "ALL"]);
        if let Err(error) = in_time(scene.call(kind)).await {
            return error;
        }
    }
    panic!("{kind:?} waits for the end of each pause");
}

#[tokio::test]
async fn calls_to_a_paused_server_end_in_time() {
    let server = Redis::start();
    for kind in KINDS {
        let hasty = options(&server.url()).timeout(Duration::from_millis(100));
        let scene = Scene::with(&server.url(), hasty).await;
        let error = given_up_in_a_pause(&server, &scene, kind).await;
        assert!(error.is_unavailable() && error.to_string().contains("did not answer within 100ms"), "{error}");
        let answer = insist(|| scene.call(kind)).await;
        scene.done_once(kind, &[&server], &answer).await;
    }
}

#[tokio::test]
async fn a_pause_shorter_than_patience_goes_unnoticed() {
    let server = Redis::start();
    for kind in KINDS {
        let scene = Scene::set(&server.url(), &server.url()).await;
        server.cli(&["CLIENT", "PAUSE", "20", "ALL"]);
        let answer = in_time(scene.call(kind)).await.unwrap();
        scene.done_once(kind, &[&server], &answer).await;
    }
}
