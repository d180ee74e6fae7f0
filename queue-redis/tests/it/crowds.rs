//! Many jobs that hold each other back: nobody free waits behind them, and no call costs more for their number.

use std::time::Duration;

use queue_redis::RedisStorage;
use queue_storage::model::{Conflict, JobId, Key, Limit, NewJob, Rate, Unique, WhenFull, Window};
use queue_storage::storage::{
    Admission, Claim, Enqueue, Exchanged, MAX_HEADS, MAX_UPKEEP, Maintain, Operate, Retention,
};

use crate::kit::{Caller, Hand, job, mail};
use crate::stage::Stage;

const KEYS: usize = 50;

fn size() -> usize {
    if std::env::var_os("QUEUE_LARGE").is_some() { 100_000 } else { 10_000 }
}

fn key(at: usize) -> Key {
    format!("key:{at}").parse().unwrap()
}

fn under(limit: Limit) -> NewJob {
    let mut job = job();
    job.limits = vec![limit];
    job
}

/// The only one of its key that runs.
fn alone(at: usize) -> NewJob {
    under(Limit::Slots { key: key(at), most: 1, full: WhenFull::Wait })
}

/// Claims without ever settling.
async fn hold(storage: &RedisStorage, hand: &mut Hand, want: u32) -> Exchanged {
    hand.settlements.clear();
    let call = hand.call(want);
    let answer = storage.exchange(call.clone()).await.unwrap();
    hand.note(&call, &answer);
    answer
}

/// What it costs to take in a job of a free key and to claim it, in commands.
async fn cost_of_a_free_one(stage: &Stage, hand: &mut Hand, at: usize) -> u64 {
    let before = stage.commands();
    let ids = Caller::new().enqueue(&stage.storage, vec![alone(at)]).await;
    let claimed = hold(&stage.storage, hand, 1).await.claimed;
    assert!(claimed.iter().map(|run| run.job.id).eq(ids), "hidden by those that wait");
    stage.commands() - before
}

#[tokio::test]
async fn full_keys_hide_nobody_and_cost_nothing() {
    let stage = Stage::set("50 full keys").await;
    stage.take_in(1_000, |at| alone(at % KEYS)).await;
    let mut hand = Hand::new(&stage.storage).await;
    while hold(&stage.storage, &mut hand, 256).await.look_again == Some(Duration::ZERO) {}
    cost_of_a_free_one(&stage, &mut hand, KEYS).await;
    let few = cost_of_a_free_one(&stage, &mut hand, KEYS + 1).await;
    let ids = stage.take_in(size(), |at| alone(at % KEYS)).await;
    assert_eq!(stage.counts().await.parked, (1_000 - KEYS + size()) as u64);
    let many = cost_of_a_free_one(&stage, &mut hand, KEYS + 2).await;
    assert!(many <= few, "{many} commands with many parked, {few} with few");
    stage.look("a free one claimed");
    let usage = stage.storage.usage(&mail(), &key(7)).await.unwrap();
    assert_eq!((usage.running, usage.waiting), (1, (1_000 / KEYS - 1 + ids.len() / KEYS) as u64));
    stage.end().await;
}

#[tokio::test]
async fn a_free_one_comes_to_its_turn_behind_many_that_are_not() {
    let stage = Stage::set("heads that are held back").await;
    let mut ids = stage.take_in(size(), |at| alone(at % KEYS)).await;
    ids.truncate(KEYS);
    ids.extend(Caller::new().enqueue(&stage.storage, vec![alone(KEYS)]).await);
    let mut hand = Hand::new(&stage.storage).await;
    let (mut started, mut parked): (Vec<JobId>, u64) = (Vec::new(), 0);
    loop {
        let answer = hold(&stage.storage, &mut hand, 100).await;
        started.extend(answer.claimed.iter().map(|run| run.job.id));
        let now = stage.counts().await.parked;
        assert!(now - parked <= u64::from(MAX_HEADS), "one call looked at {}", now - parked);
        parked = now;
        if answer.look_again != Some(Duration::ZERO) {
            break;
        }
    }
    stage.look("exchanges that park");
    assert_eq!(started, ids);
    assert_eq!(parked, (size() - KEYS) as u64);
    stage.end().await;
}

#[tokio::test]
async fn a_rate_lets_many_start_no_faster() {
    let stage = Stage::set("under one rate").await;
    let rate = Rate::per(Duration::from_secs(1), 1_000).burst(500);
    let limit = Limit::Rate { key: key(0), rate, cost: 1 };
    let ids = stage.take_in(size() / 2, |_| under(limit.clone())).await;
    let mut hand = Hand::new(&stage.storage).await;
    let (mut passed, mut ready) = (Duration::ZERO, ids.len() as u64);
    while hand.settled.len() < ids.len() {
        let answer = hand.exchange(&stage.storage, 256).await;
        let counts = stage.counts().await;
        let started = hand.settled.len() + hand.settlements.len();
        assert!(started as u128 <= 500 + passed.as_millis(), "{started} within {passed:?}");
        let in_line = counts.pending() - counts.parked;
        assert!(
            in_line + answer.claimed.len() as u64 <= ready + u64::from(MAX_UPKEEP),
            "one call brought too many back"
        );
        ready = in_line;
        if answer.look_again != Some(Duration::ZERO) && answer.claimed.is_empty() {
            stage.clock.advance(Duration::from_millis(700));
            passed += Duration::from_millis(700);
        }
    }
    stage.look("exchanges under a rate");
    let order: Vec<_> = hand.settled.iter().map(|(id, _)| *id).collect();
    assert_eq!(order, ids);
    stage.end().await;
}

#[tokio::test]
async fn unique_jobs_are_taken_in_by_the_thousand() {
    let stage = Stage::set("unique jobs").await;
    let unique = |at: usize| {
        let mut job = job();
        let until = Window::For(Duration::from_secs(60));
        job.unique = Some(Unique::new(key(at), until, Conflict::Existing));
        job
    };
    let before = stage.commands();
    stage.take_in(1_000, unique).await;
    assert!(stage.commands() - before < 100, "{} commands for one call", stage.commands() - before);
    let call = Caller::new().call((0..1_000).map(|at| unique(at * 2)).collect());
    let answers = stage.storage.enqueue(call).await.unwrap();
    assert_eq!(answers.iter().filter(|one| matches!(one, Admission::Existing(..))).count(), 500);
    stage.look("enqueue");
    stage.clock.advance(Duration::from_secs(60));
    for left in [1_250, 1_000, 750, 500, 250, 0] {
        stage.storage.prune(&mail(), Retention::default()).await.unwrap();
        let kept = stage.count("unique");
        assert_eq!(kept, left, "one call forgets so many");
    }
    stage.end().await;
}

#[tokio::test]
async fn who_comes_back_while_others_are_claimed_keeps_its_turn() {
    let stage = Stage::set("coming back").await;
    let rate = Limit::Rate { key: key(1), rate: Rate::per(Duration::from_secs(3_600), 1), cost: 1 };
    let (mut both, mut second, plain) = (alone(0), alone(0), job());
    both.limits.push(rate);
    let mut first = both.clone();
    first.id = JobId::new(&mail());
    (first.priority, second.priority) = (1, -1);
    let (plain_id, second_id) = (plain.id, second.id);
    let mut hand = Hand::new(&stage.storage).await;
    Caller::new().enqueue(&stage.storage, vec![both]).await;
    assert_eq!(hand.exchange(&stage.storage, 1).await.claimed.len(), 1);
    Caller::new().enqueue(&stage.storage, vec![first, second]).await;
    assert_eq!(stage.counts().await.parked, 2);
    Caller::new().enqueue(&stage.storage, vec![plain]).await;
    // The slot falls free for the first, the rate holds it back, so the second is in line again: behind the plain one.
    for id in [plain_id, second_id] {
        let claimed = hand.exchange(&stage.storage, 1).await.claimed;
        assert!(claimed.iter().map(|run| run.job.id).eq([id]), "{claimed:?}");
    }
    stage.end().await;
}
