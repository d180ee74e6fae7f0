//! Pruning: what has ended goes when its time has passed or there is too much of it, and nothing else goes.

use std::time::Duration;

use bytes::Bytes;

use super::actors::ids;
use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, boom, completed, died, retry_in, returned, secs};
use crate::model::{EndReason, JobId, NewJob, Settlement, State};
use crate::storage::{Admission, Lookup, MAX_PRUNE, Retention, Step};

/// Prunes once, keeping as many as there are.
async fn prune(stage: &Stage) -> Step {
    stage.storage().prune(stage.shard(), Retention::default()).await.unwrap()
}

/// Prunes to a retention until there is no more to do; how many went.
async fn prune_to(stage: &Stage, retention: Retention) -> u32 {
    let mut done = 0;
    for _ in 0..50 {
        let step = stage.storage().prune(stage.shard(), retention).await.unwrap();
        assert!(step.done <= MAX_PRUNE);
        done += step.done;
        if !step.more {
            return done;
        }
    }
    panic!("pruning never ends");
}

/// Ends a job so, a second after the one before.
async fn end_one(stage: &Stage, settlement: Settlement) -> JobId {
    stage.advance(secs(1)).await;
    stage.enqueue_many(1).await;
    stage.worker().await.run_one(settlement).await
}

/// An ended job is kept as long as was said, and goes then.
pub(super) async fn each_is_kept_its_time(stage: &Stage) {
    let keep = HOUR;
    let die = Settlement::Die { reason: EndReason::Fatal, failure: boom(), keep };
    for settlement in [returned(b"x", keep), Settlement::Complete { result: None, keep }, die] {
        let id = end_one(stage, settlement).await;
        stage.advance_until_just_before(keep).await;
        assert_eq!(prune(stage).await, Step::default());
        assert!(stage.is_kept(id).await);
        stage.advance(stage.tick() * 2).await;
        assert_eq!(prune(stage).await, Step { done: 1, more: false, died: vec![] });
        assert_eq!(stage.storage().get(id).await.unwrap(), Lookup::Gone);
    }
}

/// A job that has not ended is never pruned, however old.
pub(super) async fn the_living_stay(stage: &Stage) {
    let mut worker = stage.worker().await;
    let [first] = stage.enqueue([stage.job()]).await;
    stage.enqueue([stage.job_after([first])]).await;
    worker.run_one(retry_in(DAY * 100)).await;
    stage.enqueue_many(2).await;
    let run = worker.claim_one().await;
    stage.advance(DAY * 50).await;
    assert_eq!(prune_to(stage, at_most(0, 0)).await, 0);
    assert_eq!(stage.counts().await.live(), 4);
    worker.finish(&run, completed()).await;
}

/// One pruning removes as many as the contract says, the oldest ends first, and tells that there are more.
pub(super) async fn pruning_is_bounded(stage: &Stage) {
    let mut worker = stage.worker().await;
    let count = MAX_PRUNE as usize + 30;
    stage.enqueue_many(count).await;
    let first = worker.claim(256).await;
    worker.complete_all(&first).await;
    stage.advance(secs(1)).await;
    let rest = worker.claim(256).await;
    worker.complete_all(&rest).await;
    stage.advance(DAY).await;
    assert_eq!(prune(stage).await, Step { done: MAX_PRUNE, more: true, died: vec![] });
    assert!(stage.is_kept(rest[0].job.id).await && stage.is_kept(rest[rest.len() - 1].job.id).await);
    assert_eq!(prune(stage).await, Step { done: 30, more: false, died: vec![] });
    assert_eq!(prune(stage).await, Step::default());
}

/// No more traces are kept than the retention says, of those kept equally long the oldest go first, and results do not
/// count as traces.
pub(super) async fn traces_are_capped(stage: &Stage) {
    let result = end_one(stage, returned(b"x", DAY)).await;
    let empty = Settlement::Complete { result: Some(Bytes::new()), keep: DAY };
    let empty = end_one(stage, empty).await;
    let dead = end_one(stage, died()).await;
    let mut traces = Vec::new();
    for _ in 0..5 {
        traces.push(end_one(stage, completed()).await);
    }
    assert_eq!(prune_to(stage, at_most(3, 9)).await, 2);
    for (id, kept) in traces.iter().zip([false, false, true, true, true]) {
        assert_eq!(stage.is_kept(*id).await, kept);
    }
    for id in [result, empty, dead] {
        assert!(stage.is_kept(id).await);
    }
    assert_eq!(prune_to(stage, at_most(0, 9)).await, 3);
}

/// Of too many traces those go first whose time to be kept ends first, whenever they ended.
pub(super) async fn the_trace_with_the_least_time_left_goes_first(stage: &Stage) {
    let mut traces = Vec::new();
    for keep in [DAY, HOUR * 2, HOUR, DAY * 2] {
        traces.push(end_one(stage, Settlement::Complete { result: None, keep }).await);
    }
    for (cap, kept) in
        [(3, [true, true, false, true]), (2, [true, false, false, true]), (1, [false, false, false, true])]
    {
        assert_eq!(prune_to(stage, at_most(cap, 0)).await, 1);
        for (id, kept) in traces.iter().zip(kept) {
            assert_eq!(stage.is_kept(*id).await, kept);
        }
    }
}

/// No more dead letters are kept than the retention says, and those that died first go first, however long they were to
/// be kept.
pub(super) async fn dead_letters_are_capped(stage: &Stage) {
    let trace = end_one(stage, completed()).await;
    let mut dead = Vec::new();
    for hours in [4, 3, 2, 1] {
        let die = Settlement::Die { reason: EndReason::Fatal, failure: boom(), keep: HOUR * hours };
        dead.push(end_one(stage, die).await);
    }
    assert_eq!(prune_to(stage, at_most(9, 1)).await, 3);
    for (id, kept) in dead.iter().zip([false, false, false, true]) {
        assert_eq!(stage.is_kept(*id).await, kept);
    }
    assert!(stage.is_kept(trace).await);
}

/// Pruned jobs stay counted among what was taken in and has ended.
pub(super) async fn counts_survive(stage: &Stage) {
    end_one(stage, completed()).await;
    end_one(stage, died()).await;
    let before = stage.counts().await;
    assert_eq!(prune_to(stage, at_most(0, 0)).await, 2);
    let after = stage.counts().await;
    assert_eq!((after.enqueued, after.ended), (before.enqueued, before.ended));
    assert!(after.stored.is_empty(), "{after:?}");
    assert_eq!(stage.storage().shards().await.unwrap(), [stage.shard().clone()]);
}

/// Cancelled jobs are pruned in their time too.
pub(super) async fn the_cancelled_go_too(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([first])]).await;
    stage.worker().await.run_one(died()).await;
    let keep_until = stage.get(id).await.keep_until.expect("it has ended");
    let now = stage.now().await;
    stage.advance(keep_until.since(now) + stage.tick() * 2).await;
    prune_to(stage, Retention::default()).await;
    assert_eq!(stage.storage().get(id).await.unwrap(), Lookup::Gone);
}

/// A shard is pruned without touching others.
pub(super) async fn shards_are_pruned_alone(stage: &Stage) {
    let other = stage.beside("other");
    let here = end_one(stage, completed()).await;
    let there = end_one(&other, completed()).await;
    assert_eq!(prune_to(stage, at_most(0, 0)).await, 1);
    assert!(!stage.is_kept(here).await && stage.is_kept(there).await);
    assert_eq!(prune(&stage.beside("never-seen")).await, Step::default());
}

/// An id that was made this many seconds after the others of the case.
fn id_made_at(stage: &Stage, second: u64) -> JobId {
    let millis = 1_800_000_000_000 + u128::from(second) * 1_000;
    let version_and_noise = 0x7000_8000_0000_0000_0000 | u128::from(fastrand::u16(..)) << 20;
    JobId::from_u128(millis << 80 | version_and_noise).at_home(stage.shard())
}

/// An id that is not stored is gone if it is no younger than what was pruned, and unknown if it is.
pub(super) async fn gone_is_not_unknown(stage: &Stage) {
    let [before, pruned, after] = [1, 2, 3].map(|second| id_made_at(stage, second));
    let look = async |id| stage.storage().get(id).await.unwrap();
    for id in [before, pruned, after] {
        assert_eq!(look(id).await, Lookup::Unknown);
    }
    let job = NewJob { id: pruned, ..stage.job() };
    stage.enqueue([job]).await;
    assert_eq!(look(before).await, Lookup::Unknown);
    stage.worker().await.run_one(Settlement::Complete { result: None, keep: Duration::ZERO }).await;
    assert!(stage.is_kept(pruned).await);
    stage.advance(MINUTE).await;
    assert_eq!(prune(stage).await.done, 1);
    assert_eq!(look(pruned).await, Lookup::Gone);
    assert_eq!(look(before).await, Lookup::Gone);
    assert_eq!(look(after).await, Lookup::Unknown);
}

/// A job that was pruned can be enqueued anew, and waiting for a pruned job is refused.
pub(super) async fn the_pruned_are_strangers(stage: &Stage) {
    let job = stage.job();
    stage.enqueue([job.clone()]).await;
    stage.worker().await.run_one(completed()).await;
    assert_eq!(prune_to(stage, at_most(0, 0)).await, 1);
    let mut caller = stage.caller();
    let orphan = stage.job_after([job.id]);
    assert_eq!(caller.enqueue_one(orphan).await, Admission::UnknownDependency(job.id));
    assert_eq!(caller.enqueue_one(job).await, Admission::Added(State::Ready));
    assert_eq!(stage.counts().await.enqueued, 2);
}

/// A worker that has not called for a day, and holds nothing, is forgotten; who has called, to whatever shard, is not.
pub(super) async fn silent_workers_are_forgotten(stage: &Stage) {
    let other = stage.beside("other");
    stage.enqueue_many(1).await;
    other.enqueue_many(1).await;
    let (mut silent, busy) = (stage.worker().await, stage.worker().await);
    silent.upkeep().await;
    stage.advance_until_just_before(DAY).await;
    busy.at(other.shard()).upkeep().await;
    prune_to(stage, Retention::default()).await;
    let known =
        async || -> Vec<_> { stage.storage().workers().await.unwrap().iter().map(|worker| worker.id).collect() };
    assert_eq!(known().await, [silent.id(), busy.id()]);
    stage.advance(stage.tick() * 2).await;
    prune_to(stage, Retention::default()).await;
    assert_eq!(known().await, [busy.id()]);
    let call = silent.next(vec![], 1, 1);
    assert!(silent.make(call).await.unwrap_err().is_unknown_worker());
}

/// A worker that holds a lease is not forgotten, so that it is known on what terms it was lost.
pub(super) async fn holders_are_remembered(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    stage.worker().await.receive_one().await;
    stage.advance(DAY * 2).await;
    prune_to(stage, Retention::default()).await;
    let mut witness = stage.worker_of(&[]).await;
    witness.upkeep().await;
    stage.run_out(&mut witness).await;
    let job = stage.get(id).await;
    assert_eq!((job.state, job.crashes, job.lapses), (State::Ready, 1, 0));
}

/// A worker that has only renewed for a day is remembered with its numbers: its repeat is answered as it was.
pub(super) async fn holders_may_still_repeat(stage: &Stage) {
    stage.enqueue_many(2).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    for _ in 0..25 {
        stage.advance(HOUR).await;
        worker.renew(&[&run]).await;
    }
    prune_to(stage, Retention::default()).await;
    let again = worker.repeat().await.claimed;
    assert_eq!(ids(&again), [run.job.id]);
}

/// What a client said within a day is remembered through pruning.
pub(super) async fn callers_are_remembered_for_a_day(stage: &Stage) {
    let mut caller = stage.caller();
    let answer = caller.enqueue_one(stage.job()).await;
    stage.worker().await.run_one(completed()).await;
    stage.advance_until_just_before(DAY).await;
    prune_to(stage, at_most(0, 0)).await;
    assert_eq!(caller.repeat().await, [answer]);
    assert_eq!(stage.counts().await.enqueued, 1);
}
