//! When workers start and stop.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use queue_core::clock::ManualClock;
use queue_core::{Client, State};
use tokio::sync::Notify;

use super::{Diary, PATIENCE, Say, worker};

#[tokio::test]
async fn hooks_act_before_the_first_job_and_after_the_last() {
    let (client, diary) = (Client::memory(), Diary::default());
    let job = Say::new("run").enqueue(&client).await.unwrap();
    let noting = |what: &'static str| {
        let diary = diary.clone();
        move |worker: queue_core::WorkerContext| {
            let diary = diary.clone();
            async move {
                let known = worker.client().workers().await?.len();
                let running = worker.client().counts("default").await?.of(State::Running);
                diary.note(format!("{what}: {known} known, {running} running, {}", worker.queues().count()));
                assert!(worker.data::<Diary>().is_some());
                if what == "stop 1" { Err("it fails".into()) } else { Ok(()) }
            }
        }
    };
    let worker = worker(&client, &diary)
        .on_start(noting("start 1"))
        .on_start(noting("start 2"))
        .on_stop(noting("stop 1"))
        .on_stop(|_| async { panic!("it panics") })
        .on_stop(noting("stop 2"));
    worker.build().unwrap().run_until(async { drop(job.wait(PATIENCE).await.unwrap()) }).await.unwrap();
    let expected = [
        "start 1: 0 known, 0 running, 1",
        "start 2: 0 known, 0 running, 1",
        "run",
        "stop 1: 0 known, 0 running, 1",
        "stop 2: 0 known, 0 running, 1",
    ];
    assert_eq!(diary.lines(), expected);
}

#[tokio::test]
async fn a_worker_whose_start_fails_claims_nothing() {
    let (client, diary) = (Client::memory(), Diary::default());
    let job = Say::new("run").enqueue(&client).await.unwrap();
    let (second, stop) = (diary.clone(), diary.clone());
    let builder = worker(&client, &diary)
        .on_start(|_| async { Err(std::io::Error::other("no disk").into()) })
        .on_start(move |_| {
            second.note("second");
            async { Ok(()) }
        })
        .on_stop(move |_| {
            stop.note("stop");
            async { Ok(()) }
        });
    let running = builder.build().unwrap().run_until(std::future::pending());
    let error = tokio::time::timeout(PATIENCE, running).await.expect("it ends by itself").unwrap_err();
    assert!(error.is_start() && error.storage().is_none());
    let text = "the worker did not start, as what is to be done first (`on_start`) failed: no disk";
    assert_eq!(error.to_string(), text);
    assert!(error.source().unwrap().is::<std::io::Error>());
    let panics = worker(&client, &diary).on_start(|_| async { panic!("oh") });
    let error = panics.build().unwrap().run_until(std::future::pending()).await.unwrap_err();
    assert!(error.to_string().ends_with("failed: it panicked: oh"), "{error}");
    assert_eq!(job.status().await.unwrap().state(), Some(State::Ready));
    assert!(client.workers().await.unwrap().is_empty() && diary.lines().is_empty());
}

#[tokio::test]
async fn whoever_stops_does_not_wait_for_a_start_or_for_ever_for_a_stop() {
    let (client, diary) = (Client::memory(), Diary::default());
    let hangs = worker(&client, &diary).on_start(|_| std::future::pending());
    hangs.build().unwrap().run_until(std::future::ready(())).await.unwrap();
    let clock = ManualClock::new();
    let client = Client::builder(Arc::clone(client.storage())).clock(Arc::new(clock.clone())).build();
    let (stopping, stopped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let told = Arc::clone(&stopping);
    let hangs = worker(&client, &diary).on_stop(move |_| {
        told.notify_one();
        std::future::pending()
    });
    let running = async {
        hangs.build().unwrap().run_until(std::future::ready(())).await.unwrap();
        stopped.notify_one();
    };
    let passing = async {
        stopping.notified().await;
        clock.advance(Duration::from_secs(6));
        stopped.notified().await;
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(running, passing) }).await.expect("it stops");
}
