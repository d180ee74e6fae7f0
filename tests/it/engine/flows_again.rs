//! Flows that are stored, or tried, a second time while the first is still on its way.

use std::sync::Arc;
use std::time::Duration;

use queue::clock::ManualClock;
use queue::{Client, Flow, State, Storage, TaskError, TaskResultExt, Worker, join, task, tasks};
use queue_storage::conformance::invariants;
use queue_storage::model::Shard;
use queue_storage::storage::Retention;
use tokio::task::JoinHandle;

use crate::support::saboteur::{Call, Lose, Saboteur, Stall};
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    stored_by_two_of_whom_one_stalls,
    sealed_by_two_of_whom_one_stalls,
    stored_while_some_of_it_runs_on,
    stored_again_while_it_goes,
    stored_again_later,
    a_seal_whose_answer_is_lost,
    tried_again_before_the_first_time_is_acknowledged,
);

const QUEUES: [&str; 3] = ["default", "slow", "far"];
const HOUR: Duration = Duration::from_secs(3_600);

#[task]
async fn number(n: u64) -> Result<u64, TaskError> {
    Ok(n)
}

#[task]
async fn double(n: u64) -> Result<u64, TaskError> {
    Ok(n * 2)
}

#[task]
async fn both(both: (u64, u64)) -> Result<u64, TaskError> {
    Ok(both.0 + both.1)
}

#[task]
async fn fails_until(file: String) -> Result<u64, TaskError> {
    if std::path::Path::new(&file).exists() { Ok(7) } else { Err(TaskError::from("not yet")).fatal() }
}

/// One from queue to queue and on to a third.
fn flow() -> Flow<u64> {
    number::new(1u64).keep(HOUR).then(double::after().queue("slow")).then(double::after().queue("far"))
}

fn worker(client: &Client) -> Worker {
    let builder = Worker::builder(client).tasks(tasks![number, double, both, fails_until]);
    QUEUES.into_iter().fold(builder, |builder, queue| builder.queue(queue)).build().unwrap()
}

/// Works until nothing is left.
async fn work_off(place: &Place) {
    let nothing_left = async || {
        let mut live = 0;
        for queue in QUEUES {
            live += place.client.counts(queue).await.unwrap().live();
        }
        (live == 0).then_some(())
    };
    worker(&place.client).run_until(eventually("nothing is left", nothing_left)).await.unwrap();
}

async fn prune(place: &Place) {
    for queue in QUEUES {
        prune_one(place, queue).await;
    }
}

async fn prune_one(place: &Place, queue: &str) {
    let shard = Shard::of(queue.parse().unwrap());
    while place.storage.prune(&shard, Retention::default()).await.unwrap().more {}
}

/// How many jobs of a task are stored that have completed.
async fn completed(place: &Place, task: &str) -> usize {
    let mut query = queue::JobQuery::default();
    query.task = Some(task.parse().unwrap());
    place.client.jobs(&query).await.unwrap().jobs.iter().filter(|job| job.state == State::Completed).count()
}

/// Stores a flow with a client that stalls at a call.
fn stalled<T: Send + 'static>(
    place: &Place,
    clock: &ManualClock,
    flow: Flow<T>,
    call: Call,
    nth: u64,
) -> (JoinHandle<Result<(), String>>, Arc<Stall>) {
    let line = Saboteur::new(Arc::clone(&place.storage), []);
    let stall = line.stall(call, nth);
    let builder = Client::builder(line as Arc<dyn Storage>).clock(Arc::new(clock.clone()));
    let slow = builder.enqueue_timeout(HOUR * 24).build();
    let storing = async move { flow.enqueue(&slow).await.map(drop).map_err(|error| error.to_string()) };
    (tokio::spawn(storing), stall)
}

/// One client stalls at a call; meanwhile another stores the same flow, it runs, time passes, and what is kept no longer
/// goes. Then the first goes on.
async fn one_stalls(place: &Place, call: Call, nth: u64, meanwhile: Duration) {
    let clock = ManualClock::new();
    let place = place.on(&clock).await;
    let flow = flow();
    let (first, stall) = stalled(&place, &clock, flow.clone(), call, nth);
    stall.reached().await;
    let handle = flow.enqueue(&place.client).await.unwrap();
    worker(&place.client)
        .run_until(async {
            assert_eq!(handle.wait(PATIENCE).await.unwrap(), 4);
        })
        .await
        .unwrap();
    work_off(&place).await;
    clock.advance(meanwhile);
    prune(&place).await;
    stall.release();
    assert_eq!(first.await.unwrap(), Ok(()), "{call:?} {nth} after {meanwhile:?}");
    work_off(&place).await;
    if meanwhile < HOUR {
        assert_eq!(handle.result().await.unwrap(), Some(4));
        assert_eq!(
            [completed(&place, "number").await, completed(&place, "double").await],
            [1, 2],
            "nothing runs twice"
        );
    }
    invariants(&*place.storage).await;
}

const A_WHILE: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(45),
    Duration::from_secs(61),
    Duration::from_secs(601),
    Duration::from_secs(3_700),
];

async fn stored_by_two_of_whom_one_stalls(place: Place) {
    for meanwhile in A_WHILE {
        for nth in 1..=3 {
            one_stalls(&place, Call::Enqueue, nth, meanwhile).await;
        }
    }
}

async fn sealed_by_two_of_whom_one_stalls(place: Place) {
    for meanwhile in A_WHILE {
        one_stalls(&place, Call::Deliver, 1, meanwhile).await;
    }
}

/// The same with a job that keeps the flow from ending, and what starts it from going, long after the rest has gone.
async fn stored_while_some_of_it_runs_on(place: Place) {
    let clock = ManualClock::new();
    let place = place.on(&clock).await;
    let quick = number::new(1u64).keep(HOUR).then(double::after().queue("slow"));
    let flow = join((quick, number::new(5u64).delay(HOUR * 2))).then(both::after().queue("slow"));
    let (first, stall) = stalled(&place, &clock, flow.clone(), Call::Enqueue, 2);
    stall.reached().await;
    let handle = flow.enqueue(&place.client).await.unwrap();
    let carried = async || (completed(&place, "queue:hold").await == 1).then_some(());
    worker(&place.client).run_until(eventually("the quick one has arrived", carried)).await.unwrap();
    let done = async || (completed(&place, "double").await == 1).then_some(());
    worker(&place.client).run_until(eventually("and was taken", done)).await.unwrap();
    clock.advance(Duration::from_secs(61));
    prune(&place).await;
    assert_eq!([completed(&place, "queue:gate").await, completed(&place, "queue:relay").await], [1, 0]);
    stall.release();
    assert_eq!(first.await.unwrap(), Ok(()));
    clock.advance(HOUR * 2);
    work_off(&place).await;
    assert_eq!(handle.result().await.unwrap(), Some(7));
}

/// A flow that has ended goes bit by bit while somebody stores it again: nothing that is stored anew waits for what went.
async fn stored_again_while_it_goes(place: Place) {
    for (keep, until) in [(Duration::ZERO, 59), (Duration::from_secs(50), 49)] {
        let clock = ManualClock::new();
        let place = place.on(&clock).await;
        let flow = number::new(1u64).keep(keep).then(double::after().queue("slow").keep(HOUR));
        flow.clone().enqueue(&place.client).await.unwrap();
        work_off(&place).await;
        clock.advance(Duration::from_secs(until));
        prune(&place).await;
        let (first, stall) = stalled(&place, &clock, flow, Call::Enqueue, 2);
        stall.reached().await;
        clock.advance(Duration::from_secs(59 - until));
        if !keep.is_zero() {
            prune_one(&place, "default").await;
        }
        clock.advance(Duration::from_secs(2));
        prune_one(&place, "slow").await;
        assert_eq!([completed(&place, "queue:hold").await, completed(&place, "queue:relay").await], [0, 1]);
        stall.release();
        assert_eq!(first.await.unwrap(), Ok(()));
        work_off(&place).await;
    }
}

/// Whenever somebody enqueues a flow again that has ended, he is told that it is stored, and leaves nothing behind that
/// waits.
async fn stored_again_later(place: Place) {
    for later in A_WHILE {
        let clock = ManualClock::new();
        let place = place.on(&clock).await;
        let flow = flow();
        let handle = flow.clone().enqueue(&place.client).await.unwrap();
        work_off(&place).await;
        clock.advance(later);
        prune(&place).await;
        flow.enqueue(&place.client).await.unwrap();
        work_off(&place).await;
        if later < HOUR {
            assert_eq!(handle.result().await.unwrap(), Some(4));
            assert_eq!(
                [completed(&place, "number").await, completed(&place, "double").await],
                [1, 2],
                "after {later:?}"
            );
        }
    }
}

/// The last call of an enqueue is carried out and its answer lost; before it is made again, the flow has run and what is
/// kept no longer has gone.
async fn a_seal_whose_answer_is_lost(place: Place) {
    let line = Saboteur::new(Arc::clone(&place.storage), [(Call::Deliver, 1, Lose::Reply)]);
    let again = line.stall(Call::Deliver, 2);
    let client = Client::new(Arc::clone(&line) as Arc<dyn Storage>);
    let number = number::new(1u64).keep(Duration::ZERO);
    let flow = number.then(double::after().queue("slow").keep(Duration::ZERO));
    let stored = tokio::spawn(async move { flow.enqueue(&client).await.map(drop).map_err(|error| error.to_string()) });
    again.reached().await;
    work_off(&place).await;
    prune(&place).await;
    again.release();
    assert_eq!(stored.await.unwrap(), Ok(()));
    work_off(&place).await;
    let ended = place.client.counts("slow").await.unwrap().ended.completed;
    assert_eq!(ended, 2, "the hold and its job, once");
}

/// A flow is tried again while a carrier has yet to say that the failure arrived. Said late, that is not taken for what
/// the second time has to tell.
async fn tried_again_before_the_first_time_is_acknowledged(place: Place) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("go");
    let line = Saboteur::new(Arc::clone(&place.storage), []);
    // The first fetches the parcel, the second says that it has arrived.
    let acknowledgement = line.stall(Call::Outbox, 2);
    let flow = fails_until::new(file.to_str().unwrap()).queue("slow").then(double::after());
    let flow = flow.enqueue(&place.client).await.unwrap();
    let posted = async || {
        let mut query = queue::JobQuery::default();
        query.task = Some("queue:relay".parse().unwrap());
        place.client.jobs(&query).await.unwrap().jobs.pop().filter(|job| job.state == State::Ready)
    };
    worker(&Client::new(Arc::clone(&line) as Arc<dyn Storage>))
        .run_until(async {
            flow.wait(PATIENCE).await.unwrap_err();
            acknowledgement.reached().await;
            let before = posted().await.expect("it stands there still").sequence;
            std::fs::write(&file, "").unwrap();
            let report = flow.retry().await.unwrap();
            assert_eq!((report.matched, report.refused), (2, 0), "{report}");
            let anew = async || posted().await.filter(|job| job.sequence > before).map(drop);
            eventually("it has something else to tell", anew).await;
            acknowledgement.release();
            assert_eq!(flow.wait(PATIENCE).await.unwrap(), 14);
        })
        .await
        .unwrap();
    work_off(&place).await;
}
