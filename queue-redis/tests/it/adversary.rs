//! What fresh eyes found.

use std::sync::Arc;
use std::time::Duration;

use queue_redis::RedisStorage;
use queue_storage::clock::ManualClock;
use queue_storage::model::{EndReason, Failure, FailureKind, JobId, NewJob, Settlement, State, When, WorkerId};
use queue_storage::storage::{
    Claim, Enqueue, JobQuery, LeaseTerms, Listener, Maintain, Notify, Operate, Renewal, Renewed, Retention, Topic,
};
use tokio::time::timeout;

use crate::kit::{Caller, Hand, forget_hints, hears, job, jobs, mail, namespace, options};

/// A storage of its own on the shared server.
async fn open() -> (RedisStorage, ManualClock) {
    let clock = ManualClock::new();
    let own = options(&queue_servers::shared().url()).namespace(namespace()).clock(Arc::new(clock.clone()));
    (own.connect().await.unwrap(), clock)
}

fn died(keep: Duration) -> Settlement {
    Settlement::Die { reason: EndReason::Fatal, failure: Failure::new(FailureKind::Error, "boom"), keep }
}

/// Runs the one job that is ready.
async fn run(storage: &RedisStorage, hand: &mut Hand, settlement: Settlement) {
    assert_eq!(hand.exchange(storage, 1).await.claimed.len(), 1);
    hand.settlements[0].settlement = settlement;
    hand.exchange(storage, 0).await;
}

fn waiting(parents: &[JobId]) -> NewJob {
    let mut job = job();
    job.waits_for = parents.to_vec();
    job
}

#[tokio::test]
async fn a_dead_letter_that_goes_for_its_time_takes_no_older_one_with_it() {
    let (storage, clock) = open().await;
    let (mut caller, mut hand) = (Caller::new(), Hand::new(&storage).await);
    let mut ids = Vec::new();
    for keep in [900, 900, 1] {
        ids.extend(caller.enqueue(&storage, jobs(1)).await);
        run(&storage, &mut hand, died(Duration::from_secs(keep))).await;
        clock.advance(Duration::from_secs(1));
    }
    let step = storage.prune(&mail(), Retention { traces: 0, dead: 2, ..Retention::default() }).await.unwrap();
    assert_eq!((step.done, step.more), (1, false));
    assert!(storage.get(ids[0]).await.unwrap().found().is_some(), "two may stay, and two were left");
}

#[tokio::test]
async fn what_a_worker_held_when_it_left_is_shown_as_not_delivered() {
    let (storage, _) = open().await;
    let mut hand = Hand::new(&storage).await;
    let ids = Caller::new().enqueue(&storage, jobs(1)).await;
    hand.exchange(&storage, 1).await;
    let renewal = Renewal { worker: hand.id, shard: mail(), leases: hand.leases(), progress: Vec::new() };
    assert_eq!(storage.renew(renewal).await.unwrap(), [Renewed::Held]);
    let delivered = async || storage.get(ids[0]).await.unwrap().found().unwrap().lease.unwrap().delivered;
    assert!(delivered().await);
    storage.deregister(hand.id).await.unwrap();
    assert!(!delivered().await, "it will lapse, and that is what people are told");
}

/// Cancelled by its enqueue call for a job whose time is over, pruned before any exchange followed that end, and taken
/// in anew: what was left to follow is not about this job any more.
#[tokio::test]
async fn a_job_that_comes_back_is_not_taken_for_the_one_that_was_pruned() {
    for waits in [true, false] {
        let (storage, clock) = open().await;
        let (mut caller, mut hand) = (Caller::new(), Hand::new(&storage).await);
        let dead = caller.enqueue(&storage, jobs(1)).await[0];
        run(&storage, &mut hand, died(Duration::from_secs(1))).await;
        clock.advance(Duration::from_secs(2));
        let mut twin = waiting(&[dead]);
        caller.enqueue(&storage, vec![twin.clone()]).await;
        assert_eq!(storage.get(twin.id).await.unwrap().found().unwrap().state, State::Cancelled);
        storage.prune(&mail(), Retention::default()).await.unwrap();
        assert!(storage.get(twin.id).await.unwrap().found().is_none());

        let parent = caller.enqueue(&storage, jobs(1)).await[0];
        twin.waits_for = if waits { vec![parent] } else { vec![] };
        let child = waiting(&[twin.id]);
        let again = caller.call(vec![twin.clone(), child.clone()]);
        storage.enqueue(again).await.unwrap();
        hand.finish(&storage).await;
        hand.finish(&storage).await;
        for id in [parent, twin.id, child.id] {
            let job = storage.get(id).await.unwrap().found().unwrap();
            assert_eq!(job.state, State::Completed, "{job:?}");
        }
        clock.advance(Duration::from_secs(7_200));
        while storage.prune(&mail(), Retention::default()).await.unwrap().more {}
        assert_eq!(storage.counts(&mail()).await.unwrap().stored, [].into(), "nothing is held for ever");
    }
}

async fn hints(listener: &Listener) -> bool {
    timeout(Duration::from_millis(200), listener.changed()).await.is_ok()
}

/// Listens to the shard, so that whoever listens further is heard at once.
async fn stands(storage: &RedisStorage) -> Listener {
    let listener = storage.listen(Topic::Worker(WorkerId::generate(), mail()));
    hears(&listener).await;
    listener
}

async fn falls_asleep(storage: &RedisStorage, hand: &mut Hand) -> Listener {
    let listener = storage.listen(Topic::Worker(hand.id, mail()));
    assert!(hand.exchange(storage, 1).await.claimed.is_empty());
    forget_hints(&listener).await;
    listener
}

/// Makes a worker that takes so many suspects at a time.
async fn hand(storage: &RedisStorage, suspects: u32) -> Hand {
    let mut hand = Hand::new(storage).await;
    hand.suspects = suspects;
    hand
}

/// A worker vanishes with a job, which becomes a suspect with the next exchange after half the length of a lease.
async fn vanish(storage: &RedisStorage, clock: &ManualClock) {
    Caller::new().enqueue(storage, jobs(1)).await;
    let mut lost = Hand::new(storage).await;
    assert_eq!(lost.exchange(storage, 1).await.claimed.len(), 1);
    lost.settlements.clear();
    lost.exchange(storage, 0).await;
    clock.advance(LeaseTerms::default().length / 2);
    Hand::new(storage).await.exchange(storage, 0).await;
}

/// Two workers whose processes run a suspect already sleep beside a third suspect, instead of waking each other for it.
#[tokio::test]
async fn who_may_run_no_suspect_wakes_nobody_for_one() {
    let (storage, clock) = open().await;
    let _ear = stands(&storage).await;
    vanish(&storage, &clock).await;
    clock.advance(LeaseTerms::default().length / 2);
    let (mut one, mut other) = (hand(&storage, 0).await, hand(&storage, 0).await);
    one.exchange(&storage, 0).await;
    let (at_one, at_other) = (falls_asleep(&storage, &mut one).await, falls_asleep(&storage, &mut other).await);
    let mut hinted = 0;
    for _ in 0..5 {
        for (worker, ear) in [(&mut one, &at_other), (&mut other, &at_one)] {
            let answer = worker.exchange(&storage, 1).await;
            assert!(answer.claimed.is_empty() && answer.suspects_left);
            hinted += u32::from(hints(ear).await);
        }
    }
    assert!(hinted <= 1, "{hinted} hints for one suspect that nobody may run");
}

/// A suspect is told to all who sleep, since some of them may not be allowed one.
#[tokio::test]
async fn a_new_suspect_reaches_the_one_who_may_run_it() {
    let (storage, clock) = open().await;
    let _ear = stands(&storage).await;
    vanish(&storage, &clock).await;
    let mut sleepers = Vec::new();
    for suspects in [0, 0, 0, 1] {
        let mut hand = hand(&storage, suspects).await;
        let listener = falls_asleep(&storage, &mut hand).await;
        sleepers.push((hand, listener));
    }
    clock.advance(LeaseTerms::default().length / 2);
    let (able, listener) = sleepers.last_mut().unwrap();
    Hand::new(&storage).await.exchange(&storage, 0).await;
    hears(listener).await;
    assert_eq!(able.exchange(&storage, 1).await.claimed.len(), 1);
}

/// However many sleep, a call that promoted as many as it may and left some says that there is more to do.
#[tokio::test]
async fn what_is_due_already_waits_for_no_sleeper() {
    let (storage, clock) = open().await;
    let _ear = stands(&storage).await;
    let mut sleepers = Vec::new();
    for _ in 0..9 {
        let mut hand = Hand::new(&storage).await;
        let listener = falls_asleep(&storage, &mut hand).await;
        sleepers.push((hand, listener));
    }
    let soon = |mut job: NewJob| {
        job.when = When::In(Duration::from_secs(1));
        job
    };
    Caller::new().enqueue(&storage, jobs(150).into_iter().map(soon).collect()).await;
    clock.advance(Duration::from_secs(1));
    let mut hand = Hand::new(&storage).await;
    let _listener = storage.listen(Topic::Worker(hand.id, mail()));
    let answer = hand.exchange(&storage, 256).await;
    assert_eq!((answer.claimed.len(), answer.look_again), (100, Some(Duration::ZERO)));
}

/// The largest calls there may be: nothing is too much for one script.
#[tokio::test]
async fn as_much_as_one_call_may_do() {
    let (storage, clock) = open().await;
    let mut caller = Caller::new();
    let (mut hand, mut lost) = (Hand::new(&storage).await, Hand::new(&storage).await);
    // Held by the caller with children of their own, held by one that vanishes, due, cancelled at once, parked.
    let parents = caller.enqueue(&storage, jobs(256)).await;
    assert_eq!(hand.exchange(&storage, 256).await.claimed.len(), 256);
    caller.enqueue(&storage, jobs(256)).await;
    assert_eq!(lost.exchange(&storage, 256).await.claimed.len(), 256);
    lost.settlements.clear();
    lost.exchange(&storage, 0).await;
    let of = |change: &dyn Fn(usize, &mut NewJob)| {
        let mut all = jobs(1_000);
        all.iter_mut().enumerate().for_each(|(at, job)| change(at, job));
        all
    };
    caller.enqueue(&storage, of(&|at, job| job.waits_for = vec![parents[at % 256]])).await;
    caller.enqueue(&storage, of(&|_, job| job.when = When::In(Duration::from_secs(8)))).await;
    caller.enqueue(&storage, of(&|at, job| job.task = format!("strange{at}").parse().unwrap())).await;
    clock.advance(Duration::from_secs(5));
    hand.exchange(&storage, 0).await;
    caller.enqueue(&storage, jobs(1_000)).await;
    clock.advance(Duration::from_secs(5));
    // Not settled by the upkeep above: it took what was held along.
    let counts = storage.counts(&mail()).await.unwrap();
    assert_eq!(counts.ended.completed, 256);
    assert_eq!(hand.exchange(&storage, 256).await.look_again, Some(Duration::ZERO));
    for settled in &mut hand.settlements {
        settled.settlement = died(Duration::from_secs(10_000));
    }
    for _ in 0..60 {
        hand.exchange(&storage, 256).await;
    }
    let counts = storage.counts(&mail()).await.unwrap();
    assert_eq!((counts.parked, counts.live()), (1_000, 1_000), "{counts:?}");
    // One call that waits a thousand times for the dead is cancelled a thousand times.
    let counts_dead = counts.ended.dead;
    assert!(counts_dead > 0);
    let mut query = JobQuery::default();
    query.state = Some(State::Dead);
    let dead = storage.list(&query).await.unwrap().jobs[0].id;
    caller.enqueue(&storage, of(&|_, job| job.waits_for = vec![dead])).await;
    caller.enqueue(&storage, vec![waiting(&vec![parents[0]; 1_000])]).await;
    assert_eq!(storage.counts(&mail()).await.unwrap().ended.cancelled, 1_000);
    for _ in 0..30 {
        hand.exchange(&storage, 256).await;
    }
    clock.advance(Duration::from_secs(100_000));
    while storage.prune(&mail(), Retention { traces: 0, dead: 0, ..Retention::default() }).await.unwrap().more {}
    assert_eq!(storage.counts(&mail()).await.unwrap().stored, [(State::Ready, 1_000)].into());
}
