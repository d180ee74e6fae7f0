//! Pauses, revocations, draining: what is said of whole queues, tasks and workers.

use std::sync::Arc;
use std::time::Duration;

use queue::{Client, Context, Data, EndReason, Parked, Revoke, State, TaskError, task, tasks};

use super::ends::running;
use super::{Runs, worker};
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    a_paused_queue_rests,
    a_pause_ends_by_itself,
    a_paused_task_lets_others_pass,
    a_paused_worker_rests,
    a_revoked_task_is_cancelled_until_it_is_restored,
    only_the_next_is_revoked,
    one_job_is_revoked,
    a_tag_is_revoked_everywhere,
    a_name_that_is_none,
    an_overview,
    a_drained_worker_stops,
    what_is_parked_or_for_later_is_not_waited_for,
);

const HOUR: Duration = Duration::from_secs(3_600);

#[task]
async fn one() -> Result<u32, TaskError> {
    Ok(1)
}

#[task(queue = "other")]
async fn two() -> Result<u32, TaskError> {
    Ok(2)
}

#[task]
async fn spawns(left: u32, ctx: Context, runs: Data<Runs>) -> Result<(), TaskError> {
    runs.count();
    if left > 0 {
        spawns::new(left - 1).enqueue(ctx.client()).await?;
    }
    Ok(())
}

async fn a_paused_queue_rests(place: Place) {
    let mail = place.client.queue("default");
    mail.pause().await.unwrap();
    assert!(mail.is_paused().await.unwrap());
    let job = one::new().enqueue(&place.client).await.unwrap();
    let elsewhere = two::new().enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks![one, two]).queue("default").queue("other").build().unwrap();
    worker
        .run_until(async {
            assert_eq!(elsewhere.wait(PATIENCE).await.unwrap(), 2);
            assert_eq!(job.status().await.unwrap().state(), Some(State::Ready));
            assert!(mail.resume().await.unwrap());
            assert_eq!(job.wait(PATIENCE).await.unwrap(), 1, "whoever sleeps is woken");
        })
        .await
        .unwrap();
    assert!(!mail.resume().await.unwrap() && !mail.is_paused().await.unwrap());
}

async fn a_pause_ends_by_itself(place: Place) {
    let queue = place.client.queue("default");
    queue.pause_for(Duration::from_millis(300)).await.unwrap();
    let until = queue.overview().await.unwrap().controls.queue.unwrap().until.unwrap();
    let job = one::new().enqueue(&place.client).await.unwrap();
    assert_eq!(running(&place, tasks![one], job.wait(PATIENCE)).await.unwrap(), 1);
    let started = job.status().await.unwrap().facts().unwrap().started_at.unwrap();
    assert!(started >= std::time::SystemTime::from(until), "{started:?} {until}");
}

async fn a_paused_task_lets_others_pass(place: Place) {
    place.client.pause_task::<one>().await.unwrap();
    let held = one::new().priority(9).enqueue(&place.client).await.unwrap();
    let passes = two::new().queue("default").enqueue(&place.client).await.unwrap();
    running(&place, tasks![one, two], async {
        assert_eq!(passes.wait(PATIENCE).await.unwrap(), 2);
        let facts = held.status().await.unwrap().facts().cloned().unwrap();
        assert_eq!((facts.state, facts.parked), (State::Ready, Some(Parked::TaskPaused)));
        assert!(place.client.resume_task::<one>().await.unwrap());
        assert_eq!(held.wait(PATIENCE).await.unwrap(), 1);
    })
    .await;
    assert!(!place.client.resume_task::<one>().await.unwrap());
}

async fn a_paused_worker_rests(place: Place) {
    let worker = worker(&place, tasks![one]).build().unwrap();
    let id = worker.id();
    assert!(place.client.pause_worker(id).await.unwrap_err().is_invalid(), "nobody knows it yet");
    worker
        .run_until(async {
            one::new().enqueue(&place.client).await.unwrap().wait(PATIENCE).await.unwrap();
            place.client.pause_worker(id).await.unwrap();
            let job = one::new().enqueue(&place.client).await.unwrap();
            let overview = place.client.overview().await.unwrap();
            assert_eq!(overview.workers[0].paused_in, ["default".parse().unwrap()]);
            running(&place, tasks![one], job.wait(PATIENCE)).await.unwrap();
            let by = job.status().await.unwrap().facts().unwrap().worker.unwrap();
            assert_ne!(by, id, "the other worker ran it");
            assert!(place.client.resume_worker(id).await.unwrap());
            one::new().enqueue(&place.client).await.unwrap().wait(PATIENCE).await.unwrap();
        })
        .await
        .unwrap();
}

async fn a_revoked_task_is_cancelled_until_it_is_restored(place: Place) {
    place.client.revoke(Revoke::task::<two>().until(HOUR)).await.unwrap();
    let (revoked, other) = (two::new(), one::new().queue("other"));
    let revoked = revoked.enqueue(&place.client).await.unwrap();
    let other = other.enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks![one, two]).queue("other").build().unwrap();
    worker
        .run_until(async {
            let error = revoked.wait(PATIENCE).await.unwrap_err();
            assert_eq!(error.reason(), Some(&EndReason::Revoked));
            let text = "was cancelled: it came to run while jobs like it were revoked";
            assert_eq!(error.to_string(), format!("job {} {text}", revoked.id()));
            assert_eq!(other.wait(PATIENCE).await.unwrap(), 1);
            assert!(place.client.restore(Revoke::task::<two>()).await.unwrap());
            assert!(!place.client.restore(Revoke::task::<two>()).await.unwrap());
            revoked.revive().await.unwrap();
            assert_eq!(revoked.wait(PATIENCE).await.unwrap(), 2);
        })
        .await
        .unwrap();
}

async fn only_the_next_is_revoked(place: Place) {
    place.client.revoke(Revoke::task::<one>().next()).await.unwrap();
    let jobs = place.client.enqueue_all((0..2).map(|_| one::new())).await.unwrap();
    running(&place, tasks![one], async {
        assert!(jobs[0].wait(PATIENCE).await.unwrap_err().is_cancelled());
        assert_eq!(jobs[1].wait(PATIENCE).await.unwrap(), 1);
    })
    .await;
}

async fn one_job_is_revoked(place: Place) {
    let (call, other) = (one::new(), one::new());
    let unknown = place.client.revoke(Revoke::job(call.id())).await.unwrap_err();
    assert!(unknown.is_invalid() && unknown.to_string().contains("Revoke::job(id).queue(..)"), "{unknown}");
    place.client.revoke(Revoke::job(call.id()).queue("default")).await.unwrap();
    let (job, other) = (call.enqueue(&place.client).await.unwrap(), other.enqueue(&place.client).await.unwrap());
    running(&place, tasks![one], async {
        assert_eq!(job.wait(PATIENCE).await.unwrap_err().reason(), Some(&EndReason::Revoked));
        assert_eq!(other.wait(PATIENCE).await.unwrap(), 1);
    })
    .await;
    assert!(place.client.restore(Revoke::job(job.id())).await.unwrap(), "its queue is known now");
}

async fn a_tag_is_revoked_everywhere(place: Place) {
    let tagged = [one::new().tag("acme"), one::new().queue("other").tag("acme")];
    let tagged = place.client.enqueue_all(tagged).await.unwrap();
    let other = one::new().tag("umbrella").enqueue(&place.client).await.unwrap();
    place.client.revoke(Revoke::tag("acme")).await.unwrap();
    let worker = worker(&place, tasks![one]).queue("default").queue("other").build().unwrap();
    let ends = async {
        for job in &tagged {
            assert_eq!(job.wait(PATIENCE).await.unwrap_err().reason(), Some(&EndReason::Revoked));
        }
        assert_eq!(other.wait(PATIENCE).await.unwrap(), 1);
    };
    worker.run_until(ends).await.unwrap();
}

async fn a_name_that_is_none(place: Place) {
    let nowhere = place.client.queue("a b");
    assert!(nowhere.pause().await.unwrap_err().is_invalid());
    assert!(nowhere.is_paused().await.unwrap_err().is_invalid());
    assert!(nowhere.purge().await.unwrap_err().is_invalid());
    assert!(place.client.revoke(Revoke::tag("a b")).await.unwrap_err().is_invalid());
}

async fn an_overview(place: Place) {
    one::new().delay(HOUR).enqueue(&place.client).await.unwrap();
    two::new().enqueue(&place.client).await.unwrap();
    place.client.queue("other").pause().await.unwrap();
    let worker = worker(&place, tasks![one]).build().unwrap();
    let id = worker.id();
    worker
        .run_until(async {
            let known = async || {
                let overview = place.client.overview().await.unwrap();
                (!overview.workers.is_empty()).then_some(overview)
            };
            let overview = eventually("the worker is known", known).await;
            let names: Vec<_> = overview.queues.iter().map(|queue| queue.name.as_str()).collect();
            assert_eq!(names, ["default", "other"]);
            assert!(overview.queues[0].controls.queue.is_none() && overview.queues[1].controls.queue.is_some());
            assert_eq!(overview.queues[0].counts.of(State::Scheduled), 1);
            let only = &overview.workers[0];
            assert_eq!((only.record.id, only.live, only.running), (id, true, 0));
        })
        .await
        .unwrap();
}

async fn a_drained_worker_stops(place: Place) {
    let runs = Arc::new(Runs::default());
    spawns::new(20).enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks![spawns]).data_arc(Arc::clone(&runs)).build().unwrap();
    tokio::time::timeout(PATIENCE, worker.run_until_drained()).await.expect("it stops").unwrap();
    assert_eq!(runs.get(), 21);
    assert_eq!(place.client.counts("default").await.unwrap().live(), 0);
}

async fn what_is_parked_or_for_later_is_not_waited_for(place: Place) {
    let later = one::new().delay(HOUR).enqueue(&place.client).await.unwrap();
    let stranger = two::new().queue("default").enqueue(&place.client).await.unwrap();
    let now = one::new().enqueue(&place.client).await.unwrap();
    let drains = async |client: &Client| {
        let worker = queue::Worker::builder(client).tasks(tasks![one]).build().unwrap();
        tokio::time::timeout(PATIENCE, worker.run_until_drained()).await.expect("it stops").unwrap();
    };
    drains(&place.client).await;
    assert_eq!(now.result().await.unwrap(), Some(1));
    assert_eq!(later.status().await.unwrap().state(), Some(State::Scheduled));
    assert_eq!(stranger.status().await.unwrap().facts().unwrap().parked, Some(Parked::UnknownTask));
    // Of those that are parked, a worker runs what it knows before it counts as drained.
    let knows = worker(&place, tasks![two]).build().unwrap();
    tokio::time::timeout(PATIENCE, knows.run_until_drained()).await.expect("it stops").unwrap();
    assert_eq!(stranger.result().await.unwrap(), Some(2));
}
