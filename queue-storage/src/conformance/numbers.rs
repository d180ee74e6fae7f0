//! Numbered calls: a lost answer costs a repeat and nothing else.

use std::time::Duration;

use super::actors::{ids, settled};
use super::stage::{HALF, LENGTH, MINUTE, Stage, completed, died, retry_in};
use crate::model::{Settlement, State, When};
use crate::storage::{Admission, Lookup, Renewed, Retention, SettleAnswer};

// Enqueue.

/// A repeated call answers what it answered, whatever has become of its jobs since, and changes nothing.
pub(super) async fn an_enqueue_repeated_is_one(stage: &Stage) {
    let mut caller = stage.caller();
    let known = stage.enqueue([stage.job()]).await[0];
    let jobs = vec![stage.job(), stage.job_at(When::In(MINUTE)), stage.job_after([known])];
    let first = caller.enqueue(jobs).await;
    assert_eq!(caller.repeat().await, first);
    let mut worker = stage.worker().await;
    for settlement in [completed(), died(), completed()] {
        worker.run_one(settlement).await;
    }
    stage.advance(MINUTE).await;
    worker.run_one(retry_in(MINUTE)).await;
    assert_eq!(caller.repeat().await, first);
    assert_eq!(stage.counts().await.enqueued, 4);
}

/// A repeated call takes nothing in anew, even when its jobs have been pruned since.
pub(super) async fn an_enqueue_repeated_revives_nothing(stage: &Stage) {
    let mut caller = stage.caller();
    let job = stage.job();
    assert_eq!(caller.enqueue_one(job.clone()).await, Admission::Added(State::Ready));
    let keep = Duration::ZERO;
    stage.worker().await.run_one(Settlement::Complete { result: None, keep }).await;
    stage.advance(MINUTE).await;
    assert_eq!(stage.storage().prune(stage.shard(), Retention::default()).await.unwrap().done, 1);
    assert_eq!(caller.repeat().await, [Admission::Added(State::Ready)]);
    assert_eq!(stage.storage().get(job.id).await.unwrap(), Lookup::Gone);
    assert_eq!(stage.counts().await.enqueued, 1);
}

/// A call that a later one has overtaken is refused and never takes effect, whether it had come or not.
pub(super) async fn an_overtaken_enqueue_is_refused(stage: &Stage) {
    let mut caller = stage.caller();
    let first = caller.next(vec![stage.job()]);
    caller.make(first.clone()).await.unwrap();
    let lost = caller.next(vec![stage.job()]);
    caller.last.number = lost.number;
    caller.add(vec![stage.job()]).await;
    for late in [first, lost.clone()] {
        assert!(stage.storage().enqueue(late).await.unwrap_err().is_superseded());
    }
    assert_eq!(stage.storage().get(lost.jobs[0].id).await.unwrap(), Lookup::Unknown);
    assert_eq!(stage.counts().await.enqueued, 2);
}

/// Numbers belong to one caller at one shard.
pub(super) async fn callers_count_for_themselves(stage: &Stage) {
    let other = stage.beside("other");
    let (mut a, mut b) = (stage.caller(), stage.caller());
    a.add(vec![stage.job()]).await;
    a.add(vec![stage.job()]).await;
    b.add(vec![stage.job()]).await;
    let mut elsewhere = other.caller();
    elsewhere.last.caller = a.last.caller;
    elsewhere.add(vec![other.job()]).await;
    a.repeat().await;
    assert_eq!((stage.counts().await.enqueued, other.counts().await.enqueued), (3, 1));
}

/// A call that was refused as invalid has not used its number.
pub(super) async fn an_invalid_enqueue_uses_no_number(stage: &Stage) {
    let mut caller = stage.caller();
    let foreign = stage.beside("other").job();
    let call = caller.next(vec![foreign]);
    assert!(caller.make(call).await.unwrap_err().is_invalid());
    assert_eq!(caller.enqueue_one(stage.job()).await, Admission::Added(State::Ready));
}

// The exchange.

/// A repeated exchange hands over the same jobs, their leases running anew, and no others.
pub(super) async fn a_claim_repeated_is_one(stage: &Stage) {
    stage.enqueue_many(5).await;
    let mut worker = stage.worker().await;
    let first = worker.claim(3).await;
    stage.advance(HALF).await;
    let again = worker.repeat().await.claimed;
    assert_eq!(ids(&again), ids(&first));
    for (run, before) in again.iter().zip(&first) {
        let (lease, old) = (run.job.lease.unwrap(), before.job.lease.unwrap());
        assert_eq!((run.fence, lease.fence, lease.delivered), (before.fence, before.fence, false));
        stage.assert_same_time(lease.until, old.until + HALF);
        assert_eq!(stage.get(run.job.id).await, run.job);
    }
    assert_eq!(stage.counts().await.of(State::Ready), 2);
}

/// A worker that means to stop may want less when it repeats, and still learns what it holds.
pub(super) async fn a_repeat_may_want_less(stage: &Stage) {
    stage.enqueue_many(3).await;
    let mut worker = stage.worker().await;
    let first = worker.claim(3).await;
    (worker.last.want, worker.last.suspects) = (0, 0);
    assert_eq!(ids(&worker.repeat().await.claimed), ids(&first));
}

/// A repeated exchange that had found nothing claims nothing either.
pub(super) async fn an_empty_claim_repeated_stays_empty(stage: &Stage) {
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim(1).await, []);
    let [id] = stage.enqueue([stage.job()]).await;
    assert_eq!(worker.repeat().await.claimed, []);
    assert_eq!(worker.claim_ids(1).await, [id]);
}

/// A repeated exchange settles nothing twice and answers as it did, whatever has become of the jobs since.
pub(super) async fn a_settlement_repeated_is_one(stage: &Stage) {
    stage.enqueue_many(3).await;
    let (mut worker, mut other) = (stage.worker().await, stage.worker().await);
    let runs = worker.claim(3).await;
    let mut settlements =
        vec![settled(&runs[0], completed()), settled(&runs[1], Settlement::Release), settled(&runs[2], completed())];
    settlements[2].fence.0 += 1;
    let first = worker.exchange(settlements, 0, 0).await;
    use SettleAnswer::{Applied, Lost};
    assert_eq!(first.settled, [Applied, Applied, Lost]);
    let taken = other.claim_one().await;
    assert_eq!(taken.job.id, runs[1].job.id);
    assert_eq!(worker.repeat().await.settled, [Applied, Applied, Lost]);
    assert_eq!(stage.counts().await.ended.completed, 1);
    other.finish(&taken, completed()).await;
    assert_eq!(worker.repeat().await.settled, [Applied, Applied, Lost]);
    assert_eq!(stage.counts().await.ended.completed, 2);
}

/// A settlement that was lost when it came stays lost when it is repeated.
pub(super) async fn a_lost_settlement_stays_lost(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    assert_eq!(worker.settle(&run, completed()).await, SettleAnswer::Lost);
    assert_eq!(worker.repeat().await.settled, [SettleAnswer::Lost]);
    assert_eq!(stage.counts().await.ended.total(), 0);
}

/// A repeated exchange hands over no job that was taken back since, by whomever it is held now.
pub(super) async fn a_repeat_skips_what_was_taken_back(stage: &Stage) {
    let [first, second] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let (mut worker, mut other) = (stage.worker().await, stage.worker().await);
    let runs = worker.claim(2).await;
    stage.advance(HALF).await;
    assert_eq!(worker.renew(&[&runs[1]]).await, [Renewed::Held]);
    stage.advance(HALF).await;
    assert_eq!(other.claim_ids(2).await, [first]);
    let again = worker.repeat().await;
    assert_eq!(ids(&again.claimed), [second]);
    assert!(again.claimed[0].job.lease.unwrap().delivered, "a renewal had confirmed it");
}

/// The next number tells that the answer before it was received.
pub(super) async fn the_next_number_acknowledges(stage: &Stage) {
    let ids = stage.enqueue_many(3).await;
    let mut worker = stage.worker().await;
    let delivered = async || {
        let mut told = Vec::new();
        for id in &ids {
            told.push(stage.get(*id).await.lease.map(|lease| lease.delivered));
        }
        told
    };
    worker.claim(1).await;
    worker.claim(1).await;
    assert_eq!(delivered().await, [Some(true), Some(false), None]);
    worker.claim(1).await;
    assert_eq!(delivered().await, [Some(true), Some(true), Some(false)]);
    worker.upkeep().await;
    assert_eq!(delivered().await, [Some(true); 3]);
}

/// Repeating acknowledges nothing: a worker that only ever repeats has received nothing, and its jobs lapse.
pub(super) async fn a_repeat_acknowledges_nothing(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let (mut worker, mut witness) = (stage.worker().await, stage.worker_of(&[]).await);
    worker.claim_one().await;
    stage.advance(HALF).await;
    assert_eq!(worker.repeat().await.claimed.len(), 1);
    stage.advance(HALF).await;
    witness.upkeep().await;
    assert_eq!(stage.state(id).await, State::Running, "the repeat renewed it");
    stage.advance(LENGTH - HALF).await;
    witness.upkeep().await;
    let job = stage.get(id).await;
    assert_eq!((job.state, job.lapses, job.crashes), (State::Ready, 1, 0));
}

/// An exchange that a later one has overtaken is refused and changes nothing.
pub(super) async fn an_overtaken_exchange_is_refused(stage: &Stage) {
    stage.enqueue_many(3).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let lost = worker.next(vec![settled(&run, died())], 1, 1);
    worker.last.number = lost.number + 3;
    let next = worker.claim_one().await;
    assert!(stage.storage().exchange(lost).await.unwrap_err().is_superseded());
    assert_eq!(stage.counts().await.of(State::Running), 2);
    worker.complete_all(&[run, next]).await;
}

/// Numbers belong to one worker at one shard.
pub(super) async fn workers_count_for_themselves(stage: &Stage) {
    let other = stage.beside("other");
    stage.enqueue_many(3).await;
    other.enqueue_many(1).await;
    let (mut a, mut b) = (stage.worker().await, stage.worker().await);
    let mut a_elsewhere = a.at(other.shard());
    let first = a.claim_one().await;
    a.claim_one().await;
    b.claim_one().await;
    a_elsewhere.claim_one().await;
    assert_eq!(a.repeat().await.claimed.len(), 1);
    assert_eq!(a_elsewhere.repeat().await.claimed.len(), 1);
    a.finish(&first, completed()).await;
}

/// An exchange that was refused as invalid has not used its number and acknowledges nothing.
pub(super) async fn an_invalid_exchange_uses_no_number(stage: &Stage) {
    stage.enqueue_many(2).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let twice = vec![settled(&run, completed()), settled(&run, completed())];
    let call = worker.next(twice, 1, 1);
    assert!(worker.make(call).await.unwrap_err().is_invalid());
    assert_eq!(stage.get(run.job.id).await, run.job);
    worker.finish(&run, completed()).await;
}
