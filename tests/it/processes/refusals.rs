//! What an application is told when it can't enqueue.

use std::sync::Arc;
use std::time::Duration;

use queue::redis::RedisOptions;
use queue::{Call, Client, EnqueueError, JobHandle};
use queue_servers::{Proxy, shared};

use super::stage::{Durable, Stage, whole};
use super::tasks::{now, work};
use crate::support::PATIENCE;

type Answer = Result<JobHandle<String>, EnqueueError<Call<work>>>;

/// The answer, which comes; and what the error says, which comes in time, names the server without its password, the
/// cause, and what to do.
async fn refused(client: &Client, call: &Call<work>) -> EnqueueError<Call<work>> {
    let asked = now();
    let answer: Answer = tokio::time::timeout(PATIENCE, call.clone().enqueue(client)).await.expect("it hangs");
    let error = answer.expect_err("nobody is there to take it");
    println!("refusals: after {:.2?}: {error}", now() - asked);
    assert!(error.is_unavailable() && !error.is_invalid() && error.code() == "enqueue.timed_out", "{error:?}");
    let text = error.to_string();
    let told = "the job may have been stored: enqueue the call this error gives back, which makes one job";
    assert!(text.contains(&client.location()) && text.ends_with(told) && !text.contains("hush"), "{text}");
    error
}

/// One job of this call beside those `others`, however often it is asked for.
async fn makes_one_job(client: &Client, call: Call<work>, others: u64) {
    let first = call.clone().enqueue(client).await.unwrap();
    let again = call.clone().enqueue(client).await.unwrap();
    assert_eq!((first.id(), again.id()), (call.id(), call.id()));
    let after = client.counts("default").await.unwrap();
    assert_eq!((after.enqueued, after.live()), (others + 1, others + 1));
    whole(client).await;
}

/// With no server there the error comes within the deadline, which is 5 s unless it is set, and gives the call back;
/// once the server is there again, that call makes one job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enqueue_to_a_dead_server() {
    let stage = Durable::new();
    let client = stage.client().await;
    stage.server.kill();
    let call = work::new(1, [0; 3]);
    let error = refused(&client, &call).await;
    let text = error.to_string();
    assert!(client.location().starts_with("redis://:***@127.0.0.1:"), "{}", client.location());
    assert!(
        text.contains("within 5s") && text.contains("check that Redis runs and can be reached from here"),
        "{text}"
    );
    let back = error.into_call();
    assert_eq!(back.id(), call.id());
    stage.server.start_again();
    makes_one_job(&client, back, 0).await;
}

/// A server that takes requests and does not answer: the job may be there, and asking again makes no second one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enqueue_to_a_server_that_stands_still() {
    let stage = Durable::new();
    let client = stage.client().await;
    stage.server.freeze();
    let error = refused(&client, &work::new(1, [0; 3])).await;
    assert!(error.to_string().contains("answer"), "{error}");
    stage.server.thaw();
    makes_one_job(&client, error.into_call(), 0).await;
}

/// Every reply of the server gets lost, so that the job is stored again and again: it is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enqueue_whose_replies_are_lost() {
    let proxy = Proxy::to(shared().port());
    let client = impatient(Stage::at(&proxy.url()).url()).await;
    // The first call to a queue asks for more than this.
    work::new(0, [0; 3]).enqueue(&client).await.unwrap();
    proxy.hold_replies();
    let error = refused(&client, &work::new(1, [0; 3])).await;
    assert!(error.to_string().contains("did not answer"), "{error}");
    proxy.pass();
    let stored = client.clone();
    let there = async || stored.counts("default").await.ok().map(|counts| counts.enqueued);
    assert_eq!(crate::support::eventually("an answer", there).await, 2, "it was stored before");
    makes_one_job(&client, error.into_call(), 1).await;
}

/// One lost reply is nothing that a caller hears of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enqueue_whose_reply_is_lost_once() {
    let proxy = Proxy::to(shared().port());
    let client = impatient(Stage::at(&proxy.url()).url()).await;
    // The first call to a queue also lists it.
    for reply in 1..=3 {
        proxy.lose_reply(reply);
        work::new(reply as u64, [0; 3]).enqueue(&client).await.unwrap();
        proxy.pass();
    }
    let counts = client.counts("default").await.unwrap();
    assert_eq!((counts.enqueued, counts.live()), (3, 3));
    whole(&client).await;
}

/// Gives up a call after 500 ms, and an enqueue only after many of them.
async fn impatient(url: &str) -> Client {
    let options = RedisOptions::from_url(url).unwrap().timeout(Duration::from_millis(500));
    let storage = Arc::new(options.connect().await.unwrap());
    Client::builder(storage).enqueue_timeout(Duration::from_secs(5)).build()
}
