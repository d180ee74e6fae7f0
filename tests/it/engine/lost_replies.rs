//! A request or a reply lost at each step between engine and storage costs a repeat and nothing else.
//!
//! Leases last an hour here: a test that had to wait for one would run out of patience.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{Client, Data, JobQuery, State, TaskError, Worker, task, tasks};

use crate::support::saboteur::{Call, Lose, Saboteur};
use crate::support::{PATIENCE, Place, on_every_storage};

on_every_storage!(each_exchange, each_enqueue, each_registration, all_at_once);

type Log = Mutex<HashMap<u32, u32>>;

#[task(retries = 1, backoff = fixed("1ms"))]
async fn note(n: u32, ctx: queue::Context, log: Data<Log>) -> Result<u32, TaskError> {
    *log.lock().unwrap().entry(n).or_default() += 1;
    // Some fail once, so that every sort of settlement goes over the line.
    if n.is_multiple_of(5) && ctx.attempt() == 1 {
        return Err("once".into());
    }
    Ok(n)
}

const JOBS: u32 = 30;

/// Enqueues and runs jobs over the bad line; checks that each ran as often as it should and nothing was counted.
async fn survives(place: &Place, plan: Vec<(Call, u64, Lose)>) -> Arc<Saboteur> {
    let planned = plan.len() as u64;
    let line = Saboteur::new(Arc::clone(&place.storage), plan);
    let client = Client::new(Arc::clone(&line) as Arc<dyn queue::Storage>);
    let log = Arc::new(Log::default());
    let worker = Worker::builder(&client).tasks(tasks![note]).data_arc(Arc::clone(&log)).concurrency(4);
    let worker = worker.lease(Duration::from_secs(3_600)).build().unwrap();
    let before = place.client.counts("default").await.unwrap().enqueued;
    worker
        .run_until(async {
            let mut jobs = Vec::new();
            for n in 0..JOBS {
                jobs.push(note::new(n).enqueue(&client).await.unwrap());
            }
            for (n, job) in jobs.iter().enumerate() {
                assert_eq!(job.wait(PATIENCE).await.unwrap() as usize, n);
            }
        })
        .await
        .unwrap();
    assert!(
        line.lost.load(std::sync::atomic::Ordering::Relaxed) >= planned.min(1),
        "nothing was lost: {planned} planned"
    );
    for (n, runs) in log.lock().unwrap().iter() {
        assert_eq!(*runs, if n % 5 == 0 { 2 } else { 1 }, "runs of job {n}");
    }
    assert_eq!(place.client.counts("default").await.unwrap().enqueued - before, u64::from(JOBS));
    for job in place.client.jobs(&JobQuery::default()).await.unwrap().jobs {
        assert_eq!((job.state, job.crashes, job.lapses), (State::Completed, 0, 0), "{job:?}");
    }
    line
}

async fn each_exchange(place: Place) {
    for lose in [Lose::Request, Lose::Reply] {
        for nth in 1..=12 {
            survives(&place, vec![(Call::Exchange, nth, lose)]).await;
        }
    }
}

async fn each_enqueue(place: Place) {
    for lose in [Lose::Request, Lose::Reply] {
        for nth in [1, 2, 3, 15, u64::from(JOBS)] {
            survives(&place, vec![(Call::Enqueue, nth, lose)]).await;
        }
    }
}

async fn each_registration(place: Place) {
    survives(&place, vec![(Call::Register, 1, Lose::Request), (Call::Register, 2, Lose::Reply)]).await;
}

async fn all_at_once(place: Place) {
    let lose = |nth| if nth % 3 == 0 { Lose::Request } else { Lose::Reply };
    let plan = (1..40)
        .filter(|nth| nth % 4 != 0)
        .flat_map(|nth| [(Call::Exchange, nth, lose(nth)), (Call::Enqueue, nth, lose(nth))]);
    let line = survives(&place, plan.collect()).await;
    assert!(line.calls(Call::Exchange) > 20 && line.calls(Call::Enqueue) > 20);
}
