//! Around enqueues.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use queue_core::{
    BoxError, Client, JobId, Middleware, NextEnqueue, Outgoing, State, Stored, TaskError, Worker, async_trait, join,
    tasks,
};
use queue_storage::model::Envelope;

use super::{Diary, PATIENCE, Say};

/// Notes what passes, in and out.
struct Notes(&'static str, Diary);

#[async_trait]
impl Middleware for Notes {
    async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
        self.1.note(format!("{} in {}", self.0, calls.len()));
        let stored = next.run(calls).await;
        self.1.note(format!("{} out {}", self.0, stored.is_ok()));
        stored
    }
}

/// Refuses words that are too loud, names the speaker in a header, and fails afterwards if asked to.
struct Polite;

#[derive(Debug, thiserror::Error)]
#[error("too loud")]
struct TooLoud;

#[async_trait]
impl Middleware for Polite {
    async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
        for call in calls.iter_mut() {
            let word = call.arguments()?["word"].clone();
            if word.as_str().is_some_and(|word| word.ends_with('!')) {
                return Err(TooLoud.into());
            }
            call.set_header("speaker", "ann");
        }
        let stored = next.run(calls).await.map_err(|_| "something else")?;
        if calls.iter().any(|call| call.tags().any(|tag| tag == "late")) {
            return Err("too late".into());
        }
        Ok(stored)
    }
}

async fn headers(client: &Client, id: JobId) -> BTreeMap<String, String> {
    let job = client.job(id).await.unwrap().found().unwrap();
    Envelope::decode(&job.envelope).unwrap().headers
}

#[tokio::test]
async fn the_first_is_outermost() {
    let diary = Diary::default();
    let notes = |name| Notes(name, diary.clone());
    let built = Client::builder(Arc::clone(Client::memory().storage())).middleware(notes("a")).middleware(notes("b"));
    let client = built.build().with_middleware(notes("c")).with_middleware(Polite);
    Say::new("hm").enqueue(&client).await.unwrap();
    Say::new("no!").enqueue(&client).await.unwrap_err();
    let ok = ["a in 1", "b in 1", "c in 1", "c out true", "b out true", "a out true"];
    let refused = ["a in 1", "b in 1", "c in 1", "c out false", "b out false", "a out false"];
    assert_eq!(diary.lines(), [ok, refused].concat());
}

#[tokio::test]
async fn what_is_refused_is_given_back_and_nothing_is_stored() {
    let plain = Client::memory();
    let client = plain.with_middleware(Polite);
    let error = Say::new("no!").enqueue(&client).await.unwrap_err();
    assert!(error.is_refused() && !error.is_invalid() && !error.is_unavailable());
    assert_eq!(error.code(), "enqueue.middleware");
    assert_eq!(error.to_string(), "`say` was not enqueued: a middleware refused it: too loud");
    assert!(error.source().unwrap().is::<TooLoud>());
    let all = client.enqueue_all(["yes", "no!"].map(Say::new)).await.unwrap_err();
    let text = "none of 2 calls, of which `say` is the first, was enqueued: a middleware refused them: too loud";
    assert_eq!(all.to_string(), text);
    assert_eq!(all.into_call().len(), 2);
    let flow = Say::new("yes").then(Say::new("no!"));
    assert!(flow.enqueue(&client).await.unwrap_err().is_refused());
    assert_eq!(client.counts("default").await.unwrap(), queue_core::Counts::default());
    // As it was when it was called, so another client stores it without the header.
    let call = error.into_call();
    let (id, job) = (call.id(), call.enqueue(&plain).await.unwrap());
    assert_eq!((job.id(), job.is_existing()), (id, false));
    assert!(headers(&plain, job.id()).await.is_empty());
    assert!(client.enqueue_all(Vec::<queue_core::Call<Say>>::new()).await.unwrap().is_empty());
}

/// What a middleware makes of the calls that it is given.
type Way = fn(&mut [Outgoing]) -> &mut [Outgoing];

/// Goes on with what this makes of the calls.
struct GoesOnWith(Way);

#[async_trait]
impl Middleware for GoesOnWith {
    async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
        next.run((self.0)(calls)).await
    }
}

/// Else there would be a handle of a job that was never stored, or a flow whose steps have changed places.
#[tokio::test]
async fn who_goes_on_with_other_calls_than_it_was_given_refuses_them() {
    let plain = Client::memory();
    let ways: [Way; 4] = [
        |_| &mut [],
        |calls| &mut calls[1..],
        |calls| {
            calls.reverse();
            calls
        },
        |calls| {
            calls[0] = calls[1].clone();
            calls
        },
    ];
    for (at, way) in ways.into_iter().enumerate() {
        let client = plain.with_middleware(GoesOnWith(way));
        let error = client.enqueue_all(["a", "b"].map(Say::new)).await.expect_err("calls that nobody handed in");
        assert!(error.is_refused() && error.to_string().contains("other calls"), "{at}: {error}");
        let error = Say::new("a").then(Say::new("b")).enqueue(&client).await.expect_err("another flow");
        assert!(error.is_refused(), "{at}: {error}");
    }
    let client = plain.with_middleware(GoesOnWith(ways[0]));
    assert!(Say::new("a").enqueue(&client).await.expect_err("no call").is_refused());
    assert_eq!(plain.counts("default").await.unwrap(), queue_core::Counts::default());
}

#[tokio::test]
async fn what_the_storage_says_is_told_whatever_a_middleware_makes_of_it() {
    let storage = Arc::clone(Client::memory().storage());
    let client = Client::builder(storage).payload_limit(20).build().with_middleware(Polite);
    let error = Say::new("a word that is too long").enqueue(&client).await.unwrap_err();
    assert!(error.is_too_large() && !error.is_refused(), "{error}");
}

#[tokio::test]
async fn what_is_stored_stays_stored() {
    let client = Client::memory().with_middleware(Polite);
    let job = Say::new("hm").tag("late").enqueue(&client).await.unwrap();
    assert_eq!(job.status().await.unwrap().state(), Some(State::Ready));
}

#[tokio::test]
async fn flows_and_what_tasks_enqueue_pass_in_immediate_mode() {
    struct Speaker;
    impl queue_core::FromContext for Speaker {
        fn from_context(ctx: &queue_core::Context) -> Result<Self, TaskError> {
            ctx.header("speaker").map(|_| Self).ok_or_else(|| TaskError::fatal("nobody speaks"))
        }
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Relay;
    impl queue_core::Task for Relay {
        type Output = String;
        const NAME: &'static str = "relay";
        async fn run(self, ctx: queue_core::Context) -> Result<String, TaskError> {
            use queue_core::FromContext;
            Speaker::from_context(&ctx)?;
            let inner = Say::new("inner").enqueue(ctx.client()).await.map_err(|error| error.to_string())?;
            Ok(inner.id().to_string())
        }
    }
    let diary = Diary::default();
    let client = Client::immediate(tasks![Say, Relay]).data(diary.clone()).build().unwrap();
    let client = client.with_middleware(Polite).with_middleware(Notes("all", diary.clone()));
    let relay = || queue_core::Call::new(Relay);
    let flow = join((relay(), Say::new("b"))).enqueue(&client).await.unwrap();
    let (inner, _) = flow.result().await.unwrap().unwrap();
    let inner = inner.parse().unwrap();
    assert_eq!(headers(&client, inner).await["speaker"], "ann");
    assert_eq!(diary.lines().iter().filter(|line| line.ends_with("in 2")).count(), 1, "the flow, as one");
    assert_eq!(diary.lines().iter().filter(|line| line.ends_with("in 1")).count(), 1, "what the task enqueued");
}

#[tokio::test]
async fn into_job_passes_nothing() {
    let client = Client::memory().with_middleware(Polite);
    let (shard, job) = Say::new("no!").into_job(&client).unwrap();
    assert_eq!((shard.queue.as_str(), job.task.as_str()), ("default", "say"));
    let worker = Worker::builder(&client).tasks(tasks![Say]).build().unwrap();
    let job = Say::new("hm").enqueue(&client).await.unwrap();
    worker.run_until(async { assert_eq!(job.wait(PATIENCE).await.unwrap(), "hm") }).await.unwrap();
}
