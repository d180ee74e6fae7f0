//! How far runs get, and why jobs are where they are.

use std::sync::Arc;
use std::time::Duration;

use queue::{Client, Context, Data, Progress, State, TaskError, task, tasks};
use tokio::sync::Semaphore;

use super::ends::running;
use super::worker;
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    each_step_is_seen,
    the_last_word_is_never_lost,
    a_thread_tells_too,
    a_stream_ends_with_its_job,
    a_life_explained,
    a_task_nobody_knows_explained,
);

#[task]
pub async fn counts(steps: u64, ctx: Context, go: Data<Semaphore>) -> Result<(), TaskError> {
    for step in 1..=steps {
        ctx.progress(step, steps, format!("step {step}"));
        go.acquire().await?.forget();
    }
    Ok(())
}

#[task]
async fn chatters(words: u64, ctx: Context) -> Result<(), TaskError> {
    (1..=words).for_each(|word| ctx.progress(word, words, ""));
    Ok(())
}

#[task]
fn on_a_thread(ctx: Context) -> Result<(), TaskError> {
    ctx.progress(1, 0, "hä".repeat(1_000));
    Err("no".into())
}

#[task(retries = 1, backoff = fixed("1h"))]
async fn fails() -> Result<(), TaskError> {
    Err("no".into())
}

async fn each_step_is_seen(place: Place) {
    let go = Arc::new(Semaphore::new(0));
    let worker = worker(&place, tasks![counts]).data_arc(Arc::clone(&go)).lease(Duration::from_secs(36_000));
    let job = counts::new(3).enqueue(&place.client).await.unwrap();
    assert_eq!(job.progress().await.unwrap(), None);
    let mut steps = job.progress_stream();
    worker
        .build()
        .unwrap()
        .run_until(async {
            for step in 1..=3 {
                let seen = tokio::time::timeout(PATIENCE, steps.next()).await.expect("told").unwrap().unwrap();
                assert_eq!(seen, Progress::new(step, 3, format!("step {step}")));
                assert_eq!(job.progress().await.unwrap(), Some(seen));
                go.add_permits(1);
            }
            assert!(tokio::time::timeout(PATIENCE, steps.next()).await.expect("it ends").is_none());
        })
        .await
        .unwrap();
    assert_eq!(job.status().await.unwrap().facts().unwrap().progress, Some(Progress::new(3, 3, "step 3")));
}

async fn the_last_word_is_never_lost(place: Place) {
    running(&place, tasks![chatters], async {
        let jobs = place.client.enqueue_all((0..50).map(|_| chatters::new(1_000))).await.unwrap();
        for job in jobs {
            job.wait(PATIENCE).await.unwrap();
            assert_eq!(job.progress().await.unwrap().map(|progress| progress.done), Some(1_000));
        }
    })
    .await;
}

async fn a_thread_tells_too(place: Place) {
    let job = on_a_thread::new().enqueue(&place.client).await.unwrap();
    running(&place, tasks![on_a_thread], job.wait(PATIENCE)).await.unwrap_err();
    let progress = job.progress().await.unwrap().unwrap();
    assert!(progress.message.len() <= Progress::MAX_MESSAGE && progress.message.ends_with('…'));
    assert_eq!(progress.share(), None);
}

async fn a_stream_ends_with_its_job(place: Place) {
    let job = fails::new().enqueue(&place.client).await.unwrap();
    let mut steps = job.progress_stream();
    let (over, ()) = tokio::join!(tokio::time::timeout(PATIENCE, steps.next()), async {
        job.cancel().await.unwrap();
    });
    assert!(over.expect("the end is told").is_none());
    job.delete().await.unwrap();
    assert!(job.progress_stream().next().await.is_none());
    assert_eq!(job.progress().await.unwrap(), None);
}

async fn said(client: &Client, id: queue::JobId) -> String {
    client.explain(id).await.unwrap().to_string()
}

async fn a_life_explained(place: Place) {
    let client = &place.client;
    let job = fails::new().enqueue(client).await.unwrap();
    let start = format!("job {} of task `fails`", job.id());
    let nobody = format!("{start} is ready, but no live worker serves queue `default`: start one");
    assert_eq!(said(client, job.id()).await, nobody);
    client.queue("default").pause().await.unwrap();
    let paused = said(client, job.id()).await;
    assert!(paused.starts_with(&format!("{start} is ready, but queue `default` is paused since 20")), "{paused}");
    assert!(paused.ends_with("Z, until someone resumes it"), "{paused}");
    client.queue("default").resume().await.unwrap();
    let retrying = async || (job.status().await.unwrap().state() == Some(State::Retrying)).then_some(());
    running(&place, tasks![fails], eventually("it is retrying", retrying)).await;
    let retries = said(client, job.id()).await;
    assert!(retries.starts_with(&format!("{start} is retrying until 20")), "{retries}");
    assert!(retries.ends_with("Z, after attempt 1: no"), "{retries}");
    job.cancel().await.unwrap();
    let cancelled = said(client, job.id()).await;
    assert!(cancelled.starts_with(&format!("{start} was cancelled at 20")), "{cancelled}");
    assert!(cancelled.ends_with("Z: someone cancelled it: no"), "{cancelled}");
    job.delete().await.unwrap();
    let gone = format!("job {} ended, and the time it is kept has passed", job.id());
    assert_eq!(said(client, job.id()).await, gone);
}

async fn a_task_nobody_knows_explained(place: Place) {
    let job = fails::new().enqueue(&place.client).await.unwrap();
    let step = chatters::new(1).delay(Duration::from_secs(60)).then(chatters::new(1));
    let (first, step) = (step.ids()[0], step.enqueue(&place.client).await.unwrap());
    running(&place, tasks![chatters], async {
        let expected = format!(
            "job {} of task `fails` is ready, but 1 live worker serves queue `default` and none knows task `fails`; no live \
             worker does: add it to a worker's `.tasks(tasks![…])`",
            job.id()
        );
        let so = async || (said(&place.client, job.id()).await == expected).then_some(());
        eventually("the worker is known", so).await;
        let waits = format!("job {} of task `chatters` waits for job {first} of task `chatters` (scheduled)", step.id());
        let (said, until) = (said(&place.client, step.id()).await, "; job {first} of task `chatters` is scheduled until 20");
        assert!(said.starts_with(&(waits + &until.replace("{first}", &first.to_string()))), "{said}");
    })
    .await;
}
