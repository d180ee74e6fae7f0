//! What happens in one process is heard in another.

use queue::{Event, EventKind, EventStream};
use rustix::process::Signal;

use super::stage::{Stage, on_every_shared_storage};
use super::tasks::{hold, work};
use crate::support::PATIENCE;
use EventKind::{Cancelled, Enqueued, Reclaimed, Started, Succeeded, WorkerDraining, WorkerStarted, WorkerStopped};

/// Short, as one of them is lost; and long beside the pauses of a busy machine, so that only a kill loses one.
const LEASE: &str = "--lease-ms 2000";

on_every_shared_storage!(a_listener_hears_of_other_processes);

async fn next(events: &mut EventStream) -> Event {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("an event comes").expect("the storage is open")
}

/// A listener that enqueues nothing and runs nothing: it hears what an enqueuer and two workers do, one of which is killed.
async fn a_listener_hears_of_other_processes(stage: Stage) {
    let client = stage.client().await;
    let mut events = client.events().await.unwrap();
    let mut enqueuer = stage.enqueuer("teller", "--from 1 --to 2");
    enqueuer.ends_well().await;
    let stored = next(&mut events).await;
    assert_eq!((stored.kind, stored.task.as_deref(), stored.worker), (Enqueued, Some("work"), None));
    let job = stored.job.unwrap();

    let first = stage.worker("first", LEASE);
    let mut heard = Vec::new();
    while heard.last().map(|event: &Event| event.kind) != Some(Succeeded) {
        heard.push(next(&mut events).await);
    }
    let kinds: Vec<_> = heard.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [WorkerStarted, Started, Succeeded]);
    assert!(heard.iter().all(|event| event.worker == heard[0].worker) && heard[2].job == Some(job));

    // It holds a job when it is killed, and another worker takes that over.
    let held = hold::new(7).enqueue(&client).await.unwrap();
    stage.logged("begin", 7, "first").await;
    // Two tell of it, this process and the worker's: whichever is heard first.
    let told = [next(&mut events).await.kind, next(&mut events).await.kind];
    assert!(told.contains(&Enqueued) && told.contains(&Started), "{told:?}");
    first.kill();
    let mut second = stage.worker("second", LEASE);
    stage.logged("begin", 7, "second").await;
    let told = [next(&mut events).await, next(&mut events).await, next(&mut events).await];
    assert_eq!(told.each_ref().map(|event| event.kind), [WorkerStarted, Reclaimed, Started]);
    assert_eq!((told[1].worker, told[1].job), (heard[0].worker, Some(held.id())), "by whom it was lost");

    // What this process does itself is heard as well.
    let other = work::new(8, [0; 3]).delay(PATIENCE).enqueue(&client).await.unwrap();
    other.cancel().await.unwrap();
    while next(&mut events).await.kind != Cancelled {}
    stage.open_gate(7);
    held.wait(PATIENCE).await.unwrap();
    second.signal(Signal::TERM);
    second.ends_well().await;
    let mut last = Vec::new();
    while last.last() != Some(&WorkerStopped) {
        last.push(next(&mut events).await.kind);
    }
    assert_eq!(last, [Succeeded, WorkerDraining, WorkerStopped]);
}
