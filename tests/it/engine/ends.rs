//! Nothing vanishes: each way a job can go wrong ends in a named, visible state.

use std::sync::Arc;

use queue::{Context, EndReason, FailureKind, Parked, State, TaskError, task, tasks};
use queue_storage::model::{CallerId, Envelope, JobId, NewJob, Shard};
use queue_storage::storage::{EnqueueCall, JobQuery, Lookup};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{Runs, worker};
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    a_panic_is_a_failure,
    a_sync_panic_is_a_failure,
    a_result_that_does_not_serialise,
    a_result_that_is_too_large,
    undecodable_arguments,
    an_undecodable_envelope,
    an_unknown_task_waits_for_a_worker_that_knows_it,
    large_arguments_are_refused,
);

#[task]
async fn panics() -> Result<(), TaskError> {
    panic!("the roof is on fire")
}

async fn a_panic_is_a_failure(place: Place) {
    let job = panics::new().enqueue(&place.client).await.unwrap();
    let error = running(&place, tasks![panics], job.wait(PATIENCE)).await.unwrap_err();
    assert!(error.is_dead());
    assert_eq!(error.failure().unwrap().kind, FailureKind::Panic);
    assert_eq!(error.to_string(), format!("job {} is dead (exhausted): panicked: the roof is on fire", job.id()));
}

#[task(retries = 1, backoff = fixed("1ms"))]
fn panics_at_first(ctx: Context) -> Result<u32, TaskError> {
    assert!(ctx.attempt() > 1, "not yet");
    Ok(ctx.attempt())
}

async fn a_sync_panic_is_a_failure(place: Place) {
    let job = panics_at_first::new().enqueue(&place.client).await.unwrap();
    assert_eq!(running(&place, tasks![panics_at_first], job.wait(PATIENCE)).await.unwrap(), 2);
}

/// Refuses to be serialised.
#[derive(Debug, Deserialize)]
pub struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("I will not be stored"))
    }
}

#[task(retries = 5)]
pub async fn returns_stubborn(runs: queue::Data<Runs>) -> Result<Stubborn, TaskError> {
    runs.count();
    Ok(Stubborn)
}

async fn a_result_that_does_not_serialise(place: Place) {
    let runs = Arc::new(Runs::default());
    let worker = worker(&place, tasks![returns_stubborn]).data_arc(Arc::clone(&runs)).build().unwrap();
    let job = returns_stubborn::new().enqueue(&place.client).await.unwrap();
    worker
        .run_until(async {
            let error = job.wait(PATIENCE).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "job {} is dead (unstorable): encode: the task succeeded, but its result can't be stored: I will not be \
                     stored",
                    job.id()
                )
            );
        })
        .await
        .unwrap();
    assert_eq!(runs.get(), 1, "a success is not run again");
}

#[task]
async fn returns_much() -> Result<Vec<u8>, TaskError> {
    Ok(vec![1; 4_000])
}

async fn a_result_that_is_too_large(place: Place) {
    let worker = worker(&place, tasks![returns_much]).result_limit(1_000).build().unwrap();
    let job = returns_much::new().enqueue(&place.client).await.unwrap();
    worker
        .run_until(async {
            let text = job.wait(PATIENCE).await.unwrap_err().to_string();
            assert!(text.contains("its result takes 4003 bytes and the limit is 1000"), "{text}");
            assert!(text.contains("WorkerBuilder::result_limit"), "{text}");
        })
        .await
        .unwrap();
}

#[task(retries = 5)]
async fn takes_a_number(n: u32) -> Result<u32, TaskError> {
    Ok(n)
}

/// Stores a job as a foreign program might.
async fn store(place: &Place, envelope: impl Into<bytes::Bytes>) -> JobId {
    let shard = Shard::of("default".parse().unwrap());
    let job = NewJob::new(JobId::new(&shard), "takes_a_number".parse().unwrap(), envelope.into());
    let id = job.id;
    let call = EnqueueCall { caller: CallerId::generate(), shard, number: 1, jobs: vec![job] };
    place.storage.enqueue(call).await.unwrap();
    id
}

async fn dies_undecodable(place: &Place, id: JobId) -> String {
    let job = place.client.handle::<takes_a_number>(id).await.unwrap();
    let error = running(place, tasks![takes_a_number], job.wait(PATIENCE)).await.unwrap_err();
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.reason, facts.attempts), (Some(EndReason::Undecodable), 0));
    error.to_string()
}

async fn undecodable_arguments(place: Place) {
    // {"n": "seven"}
    let args = bytes::Bytes::from_static(b"\x81\xa1n\xa5seven");
    let envelope = Envelope { args: args.clone(), ..Envelope::default() };
    let id = store(&place, envelope.encode().unwrap()).await;
    let text = dies_undecodable(&place, id).await;
    assert!(text.contains("the stored arguments are not those of task `takes_a_number`"), "{text}");
    assert!(text.contains("an argument whose type changes wants a new name"), "{text}");
    let Lookup::Found(job) = place.client.job(id).await.unwrap() else { panic!("kept") };
    assert_eq!(Envelope::decode(&job.envelope).unwrap().args, args, "the payload is kept as it came");
}

async fn an_undecodable_envelope(place: Place) {
    let id = store(&place, &b"\x01\x00\xff"[..]).await;
    let text = dies_undecodable(&place, id).await;
    assert!(text.contains("the envelope can't be opened"), "{text}");
}

#[task]
async fn new_task() -> Result<u32, TaskError> {
    Ok(9)
}

async fn an_unknown_task_waits_for_a_worker_that_knows_it(place: Place) {
    let stranger = new_task::new().priority(9).enqueue(&place.client).await.unwrap();
    let known = takes_a_number::new(1).enqueue(&place.client).await.unwrap();
    running(&place, tasks![takes_a_number], async {
        // What the worker knows is not held up by what it does not know.
        assert_eq!(known.wait(PATIENCE).await.unwrap(), 1);
        let parked =
            eventually("the stranger is parked", async || stranger.status().await.unwrap().facts()?.parked.clone());
        assert_eq!(parked.await, Parked::UnknownTask);
        let facts = stranger.status().await.unwrap().facts().cloned().unwrap();
        assert_eq!((facts.state, facts.attempts), (State::Ready, 0));
        // A newer program comes along.
        let newer = running(&place, tasks![takes_a_number, new_task], stranger.wait(PATIENCE));
        assert_eq!(newer.await.unwrap(), 9);
    })
    .await;
}

#[task]
async fn takes_text(text: String) -> Result<usize, TaskError> {
    Ok(text.len())
}

async fn large_arguments_are_refused(place: Place) {
    let error = takes_text::new("x".repeat(2_000_000)).enqueue(&place.client).await.unwrap_err();
    assert!(error.is_too_large() && error.is_invalid() && !error.is_unavailable());
    assert_eq!(error.code(), "enqueue.too_large");
    let text = error.to_string();
    assert!(text.starts_with("the arguments of `takes_text` take 2000011 bytes, the limit is 1048576"), "{text}");
    assert!(place.client.jobs(&JobQuery::default()).await.unwrap().jobs.is_empty(), "nothing is stored");
    let id = error.into_call().id();
    assert!(place.client.handle::<takes_text>(id).await.unwrap_err().is_unknown());
    let headers = takes_text::new("").header("trace", "x".repeat(20_000)).enqueue(&place.client).await.unwrap_err();
    assert!(
        headers.is_too_large() && headers.to_string().contains("take 20005 bytes, the limit is 16384"),
        "{headers}"
    );
}

/// Runs a worker while `body` runs.
pub(super) async fn running<T>(place: &Place, tasks: queue::TaskList, body: impl Future<Output = T>) -> T {
    let worker = worker(place, tasks).build().unwrap();
    let mut result = None;
    worker.run_until(async { result = Some(body.await) }).await.unwrap();
    result.unwrap()
}
