//! Handles: four answers that are not a result, and results that stay.

use std::time::Duration;

use queue::{JobId, JobStatus, State, TaskError, task, tasks};
use queue_storage::model::Shard;
use queue_storage::storage::Retention;

use super::ends::running;
use crate::support::{PATIENCE, Place, on_every_storage};

on_every_storage!(
    four_different_answers,
    waiting_times_out_and_the_job_goes_on,
    a_task_that_returns_nothing_can_be_waited_for,
    enqueueing_a_call_twice_makes_one_job,
    enqueue_all_keeps_the_order,
    many_callers_at_once,
    a_dropped_enqueue_can_be_repeated,
);

#[task]
async fn double(n: u32) -> Result<u32, TaskError> {
    Ok(n * 2)
}

#[task]
async fn nothing() -> Result<(), TaskError> {
    Ok(())
}

async fn four_different_answers(place: Place) {
    let client = &place.client;
    let not_an_id = client.handle::<double>("abc").await.unwrap_err();
    assert!(not_an_id.is_not_an_id());
    assert_eq!(not_an_id.to_string(), "`abc` is not an id: it has 3 characters, an id has 26");

    let shard = Shard::of("default".parse().unwrap());
    assert!(client.handle::<double>(JobId::new(&shard)).await.unwrap_err().is_unknown());

    let other = nothing::new().enqueue(client).await.unwrap();
    let wrong = client.handle::<double>(other.id()).await.unwrap_err();
    assert!(wrong.is_other_task());
    assert_eq!(wrong.to_string(), format!("job {} is a job of task `nothing`, not of `double`", other.id()));

    let job = double::new(4).keep(Duration::ZERO).enqueue(client).await.unwrap();
    let found = client.handle::<double>(job.id().to_string()).await.unwrap();
    running(&place, tasks![double, nothing], async {
        // Whether the pruner or the waiter comes first, there is an answer.
        let _ = found.wait(PATIENCE).await;
    })
    .await;
    place.storage.prune(&shard, Retention::default()).await.unwrap();
    assert!(client.handle::<double>(job.id()).await.unwrap_err().is_gone());
    assert!(job.wait(PATIENCE).await.unwrap_err().is_gone());
    assert_eq!(job.status().await.unwrap(), JobStatus::Gone);
}

async fn waiting_times_out_and_the_job_goes_on(place: Place) {
    let job = double::new(3).enqueue(&place.client).await.unwrap();
    let error = job.wait(Duration::from_millis(10)).await.unwrap_err();
    assert!(error.is_timeout() && !error.is_dead());
    assert_eq!(
        error.to_string(),
        format!(
            "job {} has not ended within 10ms; it is ready, and no worker has taken it yet: `client.explain(id)` tells why",
            job.id()
        )
    );
    assert_eq!(job.result().await.unwrap(), None);
    assert_eq!(job.status().await.unwrap().state(), Some(State::Ready));
    assert_eq!(running(&place, tasks![double], job.wait(PATIENCE)).await.unwrap(), 6);
}

async fn a_task_that_returns_nothing_can_be_waited_for(place: Place) {
    let job = nothing::new().enqueue(&place.client).await.unwrap();
    running(&place, tasks![nothing], job.wait(PATIENCE)).await.unwrap();
    job.wait(PATIENCE).await.unwrap();
}

async fn enqueueing_a_call_twice_makes_one_job(place: Place) {
    let call = double::new(1);
    let first = call.clone().enqueue(&place.client).await.unwrap();
    let second = call.clone().enqueue(&place.client).await.unwrap();
    assert_eq!(first.id(), second.id());
    let another = call.renewed().enqueue(&place.client).await.unwrap();
    assert_ne!(first.id(), another.id());
    assert_eq!(place.client.counts("default").await.unwrap().enqueued, 2);
}

async fn enqueue_all_keeps_the_order(place: Place) {
    let jobs = place.client.enqueue_all((0..2_500).map(double::new)).await.unwrap();
    let counts = place.client.counts("default").await.unwrap();
    assert_eq!((counts.enqueued, counts.pending()), (2_500, 2_500));
    let mut sequences = Vec::new();
    for job in &jobs {
        sequences.push(place.client.job(job.id()).await.unwrap().found().unwrap().sequence.unwrap());
    }
    assert!(sequences.is_sorted());
}

async fn many_callers_at_once(place: Place) {
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64 {
        let client = place.client.clone();
        callers.spawn(async move {
            for n in 0..20 {
                double::new(caller * 100 + n).enqueue(&client).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    assert_eq!(place.client.counts("default").await.unwrap().enqueued, 64 * 20);
}

async fn a_dropped_enqueue_can_be_repeated(place: Place) {
    // Many at once, so that some are dropped while they send for others; nobody else is harmed.
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..200u32 {
        let client = place.client.clone();
        callers.spawn(async move {
            let call = double::new(n);
            if n % 2 == 0 {
                let patience = Duration::from_micros(u64::from(n));
                let _ = tokio::time::timeout(patience, call.clone().enqueue(&client)).await;
            }
            call.enqueue(&client).await.unwrap();
        });
    }
    callers.join_all().await;
    assert_eq!(place.client.counts("default").await.unwrap().enqueued, 200);
}
