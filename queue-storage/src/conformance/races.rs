//! Races: many calls at once, each of which takes effect as a whole, and of contradicting ones exactly one wins.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::actors::{TestWorker, ids, settled};
use super::stage::{HALF, Stage, completed, returned, secs};
use crate::model::{Claimed, JobId, Settlement, State, When};
use crate::storage::{Admission, Renewed, Retention, SettleAnswer, Storage};

/// The storage, and the second one on the same data if there is one: callers take them in turn.
pub(super) async fn views(stage: &Stage) -> Vec<Arc<dyn Storage>> {
    [Some(stage.storage().clone()), stage.world().second().await].into_iter().flatten().collect()
}

/// Registered workers, each at one of the views.
pub(super) async fn workers(stage: &Stage, count: usize) -> Vec<TestWorker> {
    let views = views(stage).await;
    let mut workers = Vec::new();
    for n in 0..count {
        let mut worker = stage.worker().await;
        worker.storage = views[n % views.len()].clone();
        workers.push(worker);
    }
    workers
}

/// Claims and completes until as many jobs are done as there are; the jobs it ran.
async fn drain(mut worker: TestWorker, done: Arc<AtomicUsize>, all: usize) -> Vec<JobId> {
    let mut ran = Vec::new();
    let mut settlements = Vec::new();
    while done.load(Ordering::Relaxed) < all {
        let count = settlements.len();
        let answer = worker.exchange(std::mem::take(&mut settlements), 7, 7).await;
        assert!(answer.settled.iter().all(|one| *one == SettleAnswer::Applied));
        done.fetch_add(count, Ordering::Relaxed);
        ran.extend(ids(&answer.claimed));
        settlements = answer.claimed.iter().map(|run| settled(run, completed())).collect();
        tokio::task::yield_now().await;
    }
    ran
}

/// Of many workers no two get the same job, and none is left.
pub(super) async fn no_job_is_claimed_twice(stage: &Stage) {
    const ALL: usize = 400;
    let mut expected = stage.enqueue_many(ALL).await;
    let done = Arc::default();
    let mut tasks = JoinSet::new();
    for worker in workers(stage, 8).await {
        tasks.spawn(drain(worker, Arc::clone(&done), ALL));
    }
    let mut ran = tasks.join_all().await.concat();
    ran.sort();
    expected.sort();
    assert_eq!(ran, expected);
    assert_eq!(stage.counts().await.ended.completed, ALL as u64);
}

/// Jobs that are enqueued while workers run are run once each.
pub(super) async fn enqueuing_and_running_at_once(stage: &Stage) {
    const ALL: usize = 300;
    let done = Arc::default();
    let mut runs = JoinSet::new();
    for worker in workers(stage, 4).await {
        runs.spawn(drain(worker, Arc::clone(&done), ALL));
    }
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let mut caller = stage.caller();
        let jobs: Vec<_> = (0..ALL / 6).map(|_| stage.job()).collect();
        calls.spawn(async move {
            for pair in jobs.chunks(2) {
                caller.add(pair.to_vec()).await;
            }
        });
    }
    calls.join_all().await;
    let ran = runs.join_all().await.concat();
    assert_eq!(ran.len(), ALL);
    assert_eq!(ran.into_iter().collect::<BTreeSet<_>>().len(), ALL);
    assert_eq!(stage.counts().await.ended.completed, ALL as u64);
}

/// Many clients that send the same job make one.
pub(super) async fn one_id_makes_one_job(stage: &Stage) {
    let views = views(stage).await;
    for _ in 0..10 {
        let job = stage.job();
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            let (mut caller, job) = (stage.caller(), job.clone());
            caller.storage = views[n % views.len()].clone();
            tasks.spawn(async move { caller.enqueue_one(job).await });
        }
        let mut answers = tasks.join_all().await;
        answers.sort_by_key(|answer| matches!(answer, Admission::Duplicate(_)));
        assert_eq!(answers[0], Admission::Added(State::Ready));
        assert!(answers[1..].iter().all(|answer| *answer == Admission::Duplicate(State::Ready)));
    }
    assert_eq!(stage.counts().await.enqueued, 10);
}

/// A worker whose lease ends at this moment, another that was there all the time, and the run.
async fn at_the_end_of_a_lease(stage: &Stage) -> (TestWorker, TestWorker, Claimed) {
    stage.enqueue_many(1).await;
    let [mut owner, mut other]: [TestWorker; 2] = workers(stage, 2).await.try_into().unwrap();
    let run = owner.receive_one().await;
    stage.advance(HALF).await;
    other.upkeep().await;
    stage.advance(HALF).await;
    (owner, other, run)
}

/// Of a settlement and a taking back that meet, exactly one wins.
pub(super) async fn settle_or_take_back(stage: &Stage) {
    for round in 0..20 {
        let stage = stage.beside(&format!("round-{round}"));
        let (mut owner, mut other, run) = at_the_end_of_a_lease(&stage).await;
        let settle = tokio::spawn({
            let run = run.clone();
            async move { owner.settle(&run, completed()).await }
        });
        let reclaim = tokio::spawn(async move { other.claim(1).await });
        let (answer, claimed) = (settle.await.unwrap(), reclaim.await.unwrap());
        let job = stage.get(run.job.id).await;
        match answer {
            SettleAnswer::Applied => {
                assert_eq!((job.state, job.crashes, claimed.len()), (State::Completed, 0, 0));
            }
            SettleAnswer::Lost => {
                assert_eq!((job.state, job.crashes, claimed.len()), (State::Running, 1, 1));
            }
            SettleAnswer::Cancelled => panic!("nobody asked it to stop"),
        }
    }
}

/// Of a renewal and a taking back that meet, exactly one wins.
pub(super) async fn renew_or_take_back(stage: &Stage) {
    for round in 0..20 {
        let stage = stage.beside(&format!("round-{round}"));
        let (owner, mut other, run) = at_the_end_of_a_lease(&stage).await;
        let renew = tokio::spawn({
            let run = run.clone();
            async move { owner.renew(&[&run]).await }
        });
        let reclaim = tokio::spawn(async move { other.claim(1).await });
        let (answer, claimed) = (renew.await.unwrap(), reclaim.await.unwrap());
        let held = answer == [Renewed::Held];
        assert_eq!((held, stage.get(run.job.id).await.crashes), (claimed.is_empty(), u32::from(!held)));
    }
}

/// Calls with one number that meet, as after a deadline, are one call: all get the same answer.
pub(super) async fn repeats_that_meet(stage: &Stage) {
    let views = views(stage).await;
    let (mut worker, mut caller) = (stage.worker().await, stage.caller());
    for _ in 0..10 {
        let call = caller.next(vec![stage.job(), stage.job(), stage.job()]);
        let mut enqueues = JoinSet::new();
        for n in 0..6 {
            let (storage, call) = (views[n % views.len()].clone(), call.clone());
            enqueues.spawn(async move { storage.enqueue(call).await.unwrap() });
        }
        for answer in enqueues.join_all().await {
            assert_eq!(answer, [Admission::Added(State::Ready); 3]);
        }
        caller.last = call;
        worker = exchange_at_once(&views, worker).await;
    }
    assert_eq!(stage.counts().await.enqueued, 30);
    assert_eq!(stage.counts().await.of(State::Running), 20);
    worker.upkeep().await;
}

/// Makes the next exchange of a worker, which is to get two jobs, several times at once.
async fn exchange_at_once(views: &[Arc<dyn Storage>], mut worker: TestWorker) -> TestWorker {
    worker.last = worker.next(vec![], 2, 2);
    let mut exchanges = JoinSet::new();
    for n in 0..6 {
        let (storage, call) = (views[n % views.len()].clone(), worker.last.clone());
        exchanges.spawn(async move { ids(&storage.exchange(call).await.unwrap().claimed) });
    }
    let answers: BTreeSet<_> = exchanges.join_all().await.into_iter().collect();
    assert_eq!((answers.len(), answers.first().map(Vec::len)), (1, Some(2)));
    worker
}

/// Whoever counts while others work sees no call half done.
pub(super) async fn nobody_sees_half_a_call(stage: &Stage) {
    let over = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (storage, shard, over) = (stage.storage().clone(), stage.shard().clone(), over.clone());
        async move {
            while !over.load(Ordering::Relaxed) {
                let counts = storage.counts(&shard).await.unwrap();
                assert_eq!(counts.enqueued % 50, 0, "part of an enqueue: {counts:?}");
                assert_eq!(counts.ended.completed % 25, 0, "part of an exchange: {counts:?}");
                assert_eq!(counts.enqueued, counts.ended.total() + counts.live(), "{counts:?}");
                tokio::task::yield_now().await;
            }
        }
    });
    let mut worker = stage.worker().await;
    for _ in 0..20 {
        stage.enqueue_many(50).await;
        for _ in 0..2 {
            let runs = worker.claim(25).await;
            worker.complete_all(&runs).await;
        }
    }
    over.store(true, Ordering::Relaxed);
    watcher.await.expect("every look was whole");
}

/// Upkeep by everyone at once moves and removes each job once.
pub(super) async fn upkeep_by_everyone(stage: &Stage) {
    let due = |n| stage.job_at(When::In(secs(n)));
    stage.enqueue_all((1..=150).map(due).collect()).await;
    stage.enqueue_many(120).await;
    let mut done = stage.worker().await;
    let runs = done.claim(120).await;
    let keep = secs(1);
    let settle = |run| settled(run, if fastrand::bool() { returned(b"x", keep) } else { gone(keep) });
    done.exchange(runs.iter().map(settle).collect(), 0, 0).await;
    stage.advance(HALF * 4).await;
    let mut tasks = JoinSet::new();
    for mut worker in workers(stage, 6).await {
        tasks.spawn(async move {
            let mut removed = 0;
            for _ in 0..4 {
                worker.upkeep().await;
                let prune = worker.storage.prune(&worker.shard, Retention::default());
                removed += prune.await.unwrap().done;
            }
            removed
        });
    }
    assert_eq!(tasks.join_all().await.iter().sum::<u32>(), 120);
    let counts = stage.counts().await;
    assert_eq!((counts.of(State::Ready), counts.live(), counts.ended.total()), (150, 150, 120));
}

/// Completed, returning nothing, kept that long.
fn gone(keep: Duration) -> Settlement {
    Settlement::Complete { result: None, keep }
}
