//! Order: priority, then first come first served; queues strict or by weight; delays.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use queue::{Context, Data, TaskError, Worker, task, tasks};

use crate::support::{PATIENCE, Place, on_every_storage};

on_every_storage!(
    priority_then_first_come,
    strict_queues_go_in_order,
    weighted_queues_share,
    delays_are_not_early,
    a_scheduled_moment_reaches_the_task,
);

type Log = Mutex<Vec<u32>>;

#[task]
async fn note(n: u32, log: Data<Log>) -> Result<(), TaskError> {
    log.lock().unwrap().push(n);
    Ok(())
}

/// Runs everything with one slot; the order in which it ran.
async fn drain(place: &Place, jobs: usize, queues: impl Fn(queue::WorkerBuilder) -> queue::WorkerBuilder) -> Vec<u32> {
    let log = Arc::new(Log::default());
    let builder = Worker::builder(&place.client).tasks(tasks![note]).data_arc(Arc::clone(&log)).concurrency(1);
    let worker = queues(builder).build().unwrap();
    let all = async {
        crate::support::eventually("all jobs ran", async || (log.lock().unwrap().len() == jobs).then_some(())).await;
    };
    worker.run_until(all).await.unwrap();
    std::mem::take(&mut *log.lock().unwrap())
}

async fn priority_then_first_come(place: Place) {
    let priorities = [0, 5, i32::MIN, 5, i32::MAX, -1, 0, i32::MAX];
    for (n, priority) in (0..).zip(priorities) {
        note::new(n).priority(priority).enqueue(&place.client).await.unwrap();
    }
    assert_eq!(drain(&place, 8, |builder| builder).await, [4, 7, 1, 3, 0, 6, 5, 2]);
}

async fn fill(place: &Place, queue: &str, base: u32, jobs: u32) {
    let calls = (base..base + jobs).map(|n| note::new(n).queue(queue));
    place.client.enqueue_all(calls).await.unwrap();
}

async fn strict_queues_go_in_order(place: Place) {
    fill(&place, "low", 100, 20).await;
    fill(&place, "high", 0, 20).await;
    let order = drain(&place, 40, |builder| builder.queue("high").queue("low")).await;
    assert_eq!(order, (0..20).chain(100..120).collect::<Vec<_>>());
}

async fn weighted_queues_share(place: Place) {
    fill(&place, "a", 0, 200).await;
    fill(&place, "b", 1_000, 200).await;
    let order = drain(&place, 400, |builder| builder.queue_weighted("a", 3).queue_weighted("b", 1)).await;
    let of_a = order[..100].iter().filter(|n| **n < 1_000).count();
    assert!((65..=85).contains(&of_a), "{of_a} of the first 100 were of the queue with weight 3 of 4");
}

#[task]
async fn when(asked_at: SystemTime, ctx: Context) -> Result<Duration, TaskError> {
    let _ = ctx;
    Ok(asked_at.elapsed()?)
}

async fn delays_are_not_early(place: Place) {
    let delay = Duration::from_millis(40);
    let mut jobs = Vec::new();
    for _ in 0..10 {
        jobs.push(when::new(SystemTime::now()).delay(delay).enqueue(&place.client).await.unwrap());
    }
    super::ends::running(&place, tasks![when], async {
        for job in &jobs {
            assert!(job.wait(PATIENCE).await.unwrap() >= delay);
        }
    })
    .await;
}

#[task]
async fn scheduled_for(ctx: Context) -> Result<Option<SystemTime>, TaskError> {
    Ok(ctx.scheduled_for())
}

async fn a_scheduled_moment_reaches_the_task(place: Place) {
    let eta = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let job = scheduled_for::new().schedule(eta).enqueue(&place.client).await.unwrap();
    let plain = scheduled_for::new().enqueue(&place.client).await.unwrap();
    super::ends::running(&place, tasks![scheduled_for], async {
        assert_eq!(job.wait(PATIENCE).await.unwrap(), Some(eta));
        assert_eq!(plain.wait(PATIENCE).await.unwrap(), None);
    })
    .await;
}
