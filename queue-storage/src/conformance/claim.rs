//! Claiming: who gets which jobs, in which order, and how many.

use bytes::Bytes;

use super::actors::{ids, settled};
use super::stage::{HOUR, MINUTE, Stage, completed, retry_in, secs, snooze_in};
use crate::model::{NewJob, Settlement, State, When};
use crate::storage::{MAX_CLAIM, MAX_CLAIM_BYTES, SettleAnswer};

/// Higher priorities come first, over the whole range, and equal ones in the order in which they came.
pub(super) async fn priority_then_order(stage: &Stage) {
    let priorities = [0, i32::MIN, 7, i32::MAX, -1, 0, i32::MAX, 1, i32::MIN, i32::MIN + 1, i32::MAX - 1];
    let jobs = priorities.map(|priority| stage.job_with(priority));
    let mut expected = jobs.clone();
    stage.enqueue(jobs).await;
    expected.sort_by_key(|job| std::cmp::Reverse(job.priority));
    let expected = expected.map(|job| job.id);
    assert_eq!(stage.worker().await.claim_ids(20).await, expected);
}

/// The order holds from claim to claim, whatever comes in between.
pub(super) async fn order_holds_across_claims(stage: &Stage) {
    let mut worker = stage.worker().await;
    let [a, b, c] = stage.enqueue([stage.job(), stage.job(), stage.job()]).await;
    assert_eq!(worker.claim_ids(1).await, [a]);
    let [urgent] = stage.enqueue([stage.job_with(1)]).await;
    let [last] = stage.enqueue([stage.job()]).await;
    assert_eq!(worker.claim_ids(2).await, [urgent, b]);
    assert_eq!(worker.claim_ids(9).await, [c, last]);
}

/// A claimed job is running, under a lease of this worker, and is handed over as it is stored.
pub(super) async fn a_claim_is_a_lease(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let lease = run.job.lease.expect("it is leased");
    assert_eq!((run.job.id, run.job.state), (id, State::Running));
    assert_eq!((lease.worker, lease.fence, lease.delivered), (worker.id(), run.fence, false));
    assert_eq!(Some(lease.until), run.job.started_at.map(|at| at + worker.record.lease.length));
    assert_eq!(run.inputs, []);
    assert_eq!(stage.get(id).await, run.job);
}

/// Who wants nothing gets nothing, and a claimed job is nobody else's.
pub(super) async fn a_job_is_claimed_once(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let (mut a, mut b) = (stage.worker().await, stage.worker().await);
    assert_eq!(a.claim_ids(0).await, []);
    assert_eq!(a.claim_ids(5).await, [id]);
    assert_eq!(b.claim_ids(5).await, []);
    assert_eq!(a.claim_ids(5).await, []);
}

/// An exchange claims as many as are wanted, and never more than the contract says.
pub(super) async fn a_claim_has_a_largest_size(stage: &Stage) {
    let expected = stage.enqueue_many(MAX_CLAIM as usize + 50).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim_ids(3).await, expected[..3]);
    assert_eq!(worker.claim_ids(u32::MAX).await, expected[3..MAX_CLAIM as usize + 3]);
    assert_eq!(worker.claim_ids(u32::MAX).await, expected[MAX_CLAIM as usize + 3..]);
}

/// A claim ends with the job that fills its bytes, and says that there is more.
pub(super) async fn a_claim_has_a_largest_weight(stage: &Stage) {
    let heavy = |share| {
        let envelope = Bytes::from(vec![7; MAX_CLAIM_BYTES / 4 * share]);
        NewJob { envelope, ..stage.job() }
    };
    let [a, b, c, d] = stage.enqueue([heavy(1), heavy(3), heavy(3), heavy(5)]).await;
    let mut worker = stage.worker().await;
    let full = worker.look(9).await;
    assert_eq!((ids(&full.claimed), full.look_again), (vec![a, b], Some(secs(0))));
    let over = worker.look(9).await;
    assert_eq!(ids(&over.claimed), [c, d]);
    assert_eq!(over.claimed[1].job.envelope.len(), MAX_CLAIM_BYTES / 4 * 5);
    let [e, _] = stage.enqueue([heavy(5), heavy(1)]).await;
    assert_eq!(worker.claim_ids(9).await, [e]);
    assert_eq!(worker.claim(9).await.len(), 1);
}

/// All jobs of an exchange bear one number, and numbers rise and are no less than the time in microseconds.
pub(super) async fn fences_rise(stage: &Stage) {
    let mut last = None;
    let (mut a, mut b) = (stage.worker().await, stage.worker().await);
    for round in 0..6 {
        stage.enqueue_many(3).await;
        let worker = if round % 2 == 0 { &mut a } else { &mut b };
        let runs = worker.claim(3).await;
        let fence = runs[0].fence;
        assert!(runs.iter().all(|run| run.fence == fence) && runs.len() == 3);
        assert!(Some(fence) > last, "{fence} after {last:?}");
        let started = runs[0].job.started_at.unwrap().as_micros();
        assert!(i128::from(fence.0) >= i128::from(started), "{fence} at {started} µs");
        last = Some(fence);
    }
}

/// A job that is given back keeps its place, and can be claimed by the exchange that gives it back.
pub(super) async fn a_released_job_keeps_its_place(stage: &Stage) {
    let [a, b] = stage.enqueue([stage.job(), stage.job()]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let [c] = stage.enqueue([stage.job()]).await;
    worker.finish(&run, Settlement::Release).await;
    assert_eq!(stage.get(a).await.sequence, run.job.sequence);
    let run = worker.claim_one().await;
    let answer = worker.exchange(vec![settled(&run, Settlement::Release)], 3, 3).await;
    assert_eq!(answer.settled, [SettleAnswer::Applied]);
    assert_eq!(ids(&answer.claimed), [a, b, c]);
}

/// A job that was promoted, from a delay or a failure or a snooze, comes after those that were ready before.
pub(super) async fn a_promoted_job_gets_a_new_place(stage: &Stage) {
    let mut worker = stage.worker().await;
    let [failed, snoozed] = stage.enqueue([stage.job(), stage.job()]).await;
    let runs = worker.claim(2).await;
    worker.finish(&runs[0], retry_in(MINUTE)).await;
    worker.finish(&runs[1], snooze_in(MINUTE + secs(10))).await;
    let [delayed] = stage.enqueue([stage.job_at(When::In(MINUTE + secs(20)))]).await;
    let [ready] = stage.enqueue([stage.job()]).await;
    stage.advance(HOUR).await;
    assert_eq!(worker.claim_ids(9).await, [ready, failed, snoozed, delayed]);
}

/// Jobs that are due together become ready in the order of their times, each after its priority.
pub(super) async fn the_earliest_is_promoted_first(stage: &Stage) {
    let at = |seconds, priority| NewJob { priority, ..stage.job_at(When::In(secs(seconds))) };
    let [late, early, middle, urgent] = stage.enqueue([at(30, 0), at(10, 0), at(20, 0), at(40, 1)]).await;
    stage.advance(MINUTE).await;
    assert_eq!(stage.worker().await.claim_ids(9).await, [urgent, early, middle, late]);
}

/// More due jobs than a call promotes come with the calls that follow, the earliest first, and the call says so.
pub(super) async fn promotion_is_bounded(stage: &Stage) {
    let due = |n: u64| stage.job_at(When::In(secs(10 + n)));
    let mut backwards: Vec<_> = (0..250).map(due).collect();
    backwards.reverse();
    let mut expected = stage.enqueue_all(backwards).await;
    expected.reverse();
    stage.advance(HOUR).await;
    assert_eq!((stage.counts().await.due, stage.counts().await.pending()), (250, 250));
    let mut worker = stage.worker().await;
    for promoted in [100, 200] {
        assert_eq!(worker.upkeep().await.look_again, Some(secs(0)));
        assert_eq!(stage.counts().await.of(State::Ready), promoted);
    }
    worker.upkeep().await;
    assert_eq!((stage.counts().await.due, stage.counts().await.pending()), (0, 250));
    assert_eq!(worker.claim_ids(250).await, expected);
}

/// What was ready before a call is not held up by what it promotes.
pub(super) async fn due_jobs_are_claimed_by_the_call_that_promotes_them(stage: &Stage) {
    let [due] = stage.enqueue([stage.job_at(When::In(MINUTE))]).await;
    stage.advance(MINUTE).await;
    let [ready] = stage.enqueue([stage.job()]).await;
    assert_eq!(stage.state(due).await, State::Scheduled);
    assert_eq!(stage.worker().await.claim_ids(9).await, [ready, due]);
}

/// Shards know nothing of each other.
pub(super) async fn shards_are_apart(stage: &Stage) {
    let other = stage.beside("other");
    let [here] = stage.enqueue([stage.job()]).await;
    let [there] = other.enqueue([other.job()]).await;
    let mut at_here = stage.worker().await;
    let mut at_there = at_here.at(other.shard());
    assert_eq!(at_there.claim_ids(9).await, [there]);
    let run = at_here.claim_one().await;
    assert_eq!(run.job.id, here);
    assert_eq!(at_there.settle(&run, completed()).await, SettleAnswer::Lost);
    at_here.finish(&run, completed()).await;
    assert_eq!(other.counts().await.of(State::Running), 1);
}

/// A worker that is not registered is told so, nothing is changed, and its number is still free.
pub(super) async fn who_is_unknown_registers_first(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    worker.deregister().await;
    let call = worker.next(vec![], 1, 1);
    assert!(worker.make(call.clone()).await.unwrap_err().is_unknown_worker());
    assert_eq!(stage.state(id).await, State::Ready);
    worker.register().await;
    assert_eq!(ids(&worker.make(call).await.unwrap().claimed), [id]);
}
