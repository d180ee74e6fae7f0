//! What schedules cost a shard, and whom they wake.

use std::time::Duration;

use queue_redis::RedisStorage;
use queue_storage::clock::Clock;
use queue_storage::model::{Timestamp, WorkerId};
use queue_storage::storage::{
    Changed, Exchanged, Listener, MAX_TICKS, Maintain, Notify, Operate, ScheduleChange, ScheduleQuery, ScheduleRecord,
    Ticked, Topic,
};

use crate::kit::{Caller, Hand, forget_hints, hears, jobs, mail, shard};
use crate::stage::Stage;

const HOUR: Duration = Duration::from_secs(3_600);

fn stores(name: &str, due: Option<Timestamp>) -> ScheduleChange {
    ScheduleChange::new(name.parse().unwrap(), None, Some((due, "data".into())))
}

fn moves(record: &ScheduleRecord, due: Option<Timestamp>) -> ScheduleChange {
    ScheduleChange::new(record.name.clone(), Some(record.version), Some((due, record.data.clone())))
}

fn removes(record: &ScheduleRecord) -> ScheduleChange {
    ScheduleChange::new(record.name.clone(), Some(record.version), None)
}

async fn tick(storage: &RedisStorage, changes: &[ScheduleChange]) -> Ticked {
    let ticked = storage.tick(&mail(), changes).await.unwrap();
    assert!(ticked.changed.iter().all(|one| matches!(one, Changed::Applied(_))), "{ticked:?}");
    ticked
}

async fn all(storage: &RedisStorage) -> Vec<ScheduleRecord> {
    storage.schedules(&mail(), &ScheduleQuery::After(None, 0)).await.unwrap().schedules
}

/// The server knows by which channel this worker hears.
async fn listens(stage: &Stage, worker: WorkerId) -> Listener {
    let listener = stage.storage.listen(Topic::Worker(worker, mail()));
    hears(&listener).await;
    listener
}

/// What an exchange costs in commands, and what it answers.
async fn cost(stage: &Stage, hand: &mut Hand, want: u32) -> (u64, Exchanged) {
    // The first after a while notes that, and wakes whoever sleeps.
    hand.exchange(&stage.storage, want).await;
    let before = stage.commands();
    let answer = hand.exchange(&stage.storage, want).await;
    (stage.commands() - before, answer)
}

/// Of an exchange that falls asleep, and of one that claims nothing after it.
async fn costs(stage: &Stage, hand: &mut Hand) -> [(u64, Exchanged); 2] {
    [cost(stage, hand, 1).await, cost(stage, hand, 0).await]
}

/// An exchange costs one command more while a schedule is due, and for one who sleeps; else none.
#[tokio::test]
async fn exchanges_pay_next_to_nothing_for_schedules() {
    let stage = Stage::set("schedules").await;
    let mut hand = Hand::new(&stage.storage).await;
    let _listener = listens(&stage, hand.id).await;
    let [(sleeping, _), (plain, _)] = costs(&stage, &mut hand).await;
    let now = stage.clock.now();
    let later: Vec<_> = (1..=99).map(|n| stores(&format!("later{n}"), Some(now + HOUR * (n + 1)))).collect();
    tick(&stage.storage, &later).await;
    tick(&stage.storage, &[stores("soon", Some(now + HOUR))]).await;
    let scheduled = costs(&stage, &mut hand).await;
    stage.clock.advance(HOUR);
    let due = costs(&stage, &mut hand).await;
    println!("commands of an exchange that falls asleep: {sleeping}, of one that claims nothing: {plain}");
    assert_eq!(scheduled.each_ref().map(|(cost, _)| *cost), [sleeping + 1, plain]);
    assert_eq!(due.each_ref().map(|(cost, _)| *cost), [sleeping + 1, plain + 1]);
    let told = |(_, answer): &(u64, Exchanged)| (answer.ticks, answer.look_again);
    assert_eq!(scheduled.each_ref().map(told), [(false, Some(HOUR)); 2]);
    assert_eq!(due.each_ref().map(told), [(true, Some(HOUR)); 2]);
    stage.end().await;
}

/// Who asks in vain what is due costs one command, and changes nothing.
#[tokio::test]
async fn to_ask_what_is_due_costs_one_command() {
    let stage = Stage::set("ticks").await;
    let elsewhere = shard("elsewhere");
    tick(&stage.storage, &[stores("x", Some(stage.clock.now() + HOUR))]).await;
    stage.storage.tick(&elsewhere, &[]).await.unwrap();
    let (keys, before) = (stage.keys(), stage.commands());
    assert_eq!(tick(&stage.storage, &[]).await.due, []);
    assert_eq!(stage.storage.tick(&elsewhere, &[]).await.unwrap().due, []);
    // Each is a script with one command.
    assert_eq!((stage.commands() - before, stage.keys()), (4, keys.clone()));
    assert!(!keys.contains("elsewhere"), "{keys}");
    stage.end().await;
}

/// Who fell asleep while a schedule was due does not know when it is to be due again.
#[tokio::test]
async fn whoever_sleeps_is_told_when_a_schedule_that_was_due_is_to_be_due_again() {
    let stage = Stage::set("due again").await;
    let now = stage.clock.now();
    tick(&stage.storage, &[stores("x", Some(now)), stores("y", Some(now)), stores("z", Some(now + HOUR))]).await;
    let mut hand = Hand::new(&stage.storage).await;
    let listener = listens(&stage, hand.id).await;
    let told = hand.exchange(&stage.storage, 1).await;
    assert_eq!((told.ticks, told.look_again), (true, Some(HOUR)));
    forget_hints(&listener).await;
    let [x, y, _] = &all(&stage.storage).await[..] else { panic!("three schedules") };
    // Neither of these is sooner than what it was told.
    tick(&stage.storage, &[moves(y, Some(now + HOUR * 2))]).await;
    assert_eq!(stage.sleepers(), 1);
    tick(&stage.storage, &[moves(x, Some(now + HOUR / 2))]).await;
    hears(&listener).await;
    let told = hand.exchange(&stage.storage, 1).await;
    assert_eq!((told.ticks, told.look_again), (false, Some(HOUR / 2)));
    stage.end().await;
}

/// Nine who sleep do not all look at the same moment.
#[tokio::test]
async fn who_sleeps_behind_eight_others_looks_a_second_later() {
    let stage = Stage::set("nine asleep").await;
    tick(&stage.storage, &[stores("x", Some(stage.clock.now() + HOUR))]).await;
    let first = Hand::new(&stage.storage).await;
    // Once it hears, so do all of this process.
    let mut listeners = vec![listens(&stage, first.id).await];
    for n in 0..10 {
        let mut hand = Hand::new(&stage.storage).await;
        listeners.push(stage.storage.listen(Topic::Worker(hand.id, mail())));
        let late = Duration::from_secs(u64::from(n >= 8));
        assert_eq!(hand.exchange(&stage.storage, 1).await.look_again, Some(HOUR + late), "sleeper {n}");
    }
    stage.end().await;
}

/// Nothing is left of a schedule but the name of its shard and the number of its version.
#[tokio::test]
async fn nothing_is_left_of_what_was_removed() {
    let stage = Stage::set("removed").await;
    let at = stage.clock.now() + HOUR;
    let many: Vec<_> = (0..MAX_TICKS).map(|n| stores(&format!("s{n}"), (n % 3 > 0).then_some(at))).collect();
    tick(&stage.storage, &many).await;
    let moved: Vec<_> = all(&stage.storage).await.iter().map(|one| moves(one, Some(at + HOUR))).collect();
    tick(&stage.storage, &moved).await;
    let stored = all(&stage.storage).await;
    let last = stored.iter().map(|one| one.version).max().unwrap();
    let removed: Vec<_> = stored.iter().map(removes).collect();
    tick(&stage.storage, &removed).await;
    assert_eq!(stage.keys(), "queue:layout\nqueue:shards\nqueue:{mail}:meta");
    let meta = stage.meta();
    assert_eq!(meta, [("enqueued", "0"), ("fence", &(last + 100).to_string()), ("seq", "0")].map(owned));
    // The first job finds the shard as if it were new.
    Caller::new().enqueue(&stage.storage, jobs(1)).await;
    assert_eq!((stage.counts().await.enqueued, stage.storage.shards().await.unwrap()), (1, vec![mail()]));
    stage.end().await;
}

fn owned((field, value): (&str, &str)) -> (String, String) {
    (field.to_owned(), value.to_owned())
}
