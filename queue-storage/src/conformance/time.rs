//! Moments: nothing comes early, everything that is due comes, and a sleeper is told when to look.

use std::time::Duration;

use super::actors::TestWorker;
use super::stage::{DAY, HALF, HOUR, LENGTH, MINUTE, Stage, WATCH, completed, retry_in, secs, snooze_in};
use crate::model::{JobId, Settlement, State, Timestamp, When};
use crate::storage::{Exchanged, LeaseTerms};

/// Asserts that the job can't be claimed a tick before `delay` has passed and can when it has.
async fn assert_due_in(stage: &Stage, worker: &mut TestWorker, id: JobId, delay: Duration) {
    stage.advance_until_just_before(delay).await;
    assert_eq!(worker.claim(1).await, [], "too early");
    assert_eq!(stage.counts().await.due, 0);
    stage.advance(stage.tick()).await;
    assert_eq!(stage.counts().await.due, 1);
    assert_eq!(worker.claim_ids(1).await, [id]);
}

/// A delayed job comes when its delay has passed, not a tick earlier.
pub(super) async fn a_delay_is_exact(stage: &Stage) {
    let [id] = stage.enqueue([stage.job_at(When::In(MINUTE))]).await;
    assert_due_in(stage, &mut stage.worker().await, id, MINUTE).await;
}

/// A job for a moment comes at that moment, not a tick earlier.
pub(super) async fn a_moment_is_exact(stage: &Stage) {
    let moment = stage.now().await + HOUR;
    let [id] = stage.enqueue([stage.job_at(When::At(moment))]).await;
    assert_eq!(stage.get(id).await.due_at, Some(moment));
    assert_due_in(stage, &mut stage.worker().await, id, HOUR).await;
}

/// A moment that has passed, or is now, means at once.
pub(super) async fn a_passed_moment_is_at_once(stage: &Stage) {
    let now = stage.now().await;
    let times = [Timestamp::EPOCH, now - DAY, now].map(|at| stage.job_at(When::At(at)));
    let expected = stage.enqueue(times).await;
    for id in expected {
        assert_eq!(stage.state(id).await, State::Ready);
    }
    assert_eq!(stage.worker().await.claim_ids(9).await, expected);
}

/// Delays of settlements count from the moment the storage writes them, by its own clock.
pub(super) async fn settlements_count_from_their_writing(stage: &Stage) {
    let mut worker = stage.worker().await;
    for settlement in [retry_in(MINUTE), snooze_in(MINUTE)] {
        let [id] = stage.enqueue([stage.job()]).await;
        let run = worker.claim_one().await;
        stage.advance(HALF).await;
        worker.finish(&run, settlement).await;
        assert_due_in(stage, &mut worker, id, MINUTE).await;
    }
}

/// A settlement for a moment waits for that moment.
pub(super) async fn settlements_name_moments(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    let moment = stage.now().await + HOUR;
    worker.run_one(Settlement::Snooze { when: When::At(moment), hold: None }).await;
    assert_eq!(stage.get(id).await.due_at, Some(moment));
    assert_due_in(stage, &mut worker, id, HOUR).await;
}

/// What was due keeps the moment when it was due.
pub(super) async fn the_due_moment_is_kept(stage: &Stage) {
    let [id] = stage.enqueue([stage.job_at(When::In(MINUTE))]).await;
    let due = stage.get(id).await.due_at;
    stage.advance(HOUR).await;
    let mut worker = stage.worker().await;
    worker.upkeep().await;
    assert_eq!((stage.state(id).await, stage.get(id).await.due_at), (State::Ready, due));
    assert_eq!(worker.claim_one().await.job.due_at, due);
}

/// A lease is taken back when it has ended, not a tick earlier.
pub(super) async fn a_lease_end_is_exact(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let (mut worker, mut other) = (stage.worker().await, stage.worker().await);
    worker.claim_one().await;
    stage.advance(HALF).await;
    other.upkeep().await;
    stage.advance_until_just_before(LENGTH - HALF).await;
    assert_eq!(other.claim(1).await, []);
    stage.advance(stage.tick()).await;
    assert_eq!(other.claim_ids(1).await, [id]);
}

/// The length of a lease is its holder's.
pub(super) async fn a_lease_is_as_long_as_its_holder_says(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let mut brief = stage.worker_on(LeaseTerms::of(secs(10))).await;
    let run = brief.claim_one().await;
    assert_eq!(run.job.lease.unwrap().until, run.job.started_at.unwrap() + secs(10));
    stage.advance(secs(10)).await;
    let mut patient = stage.worker_on(LeaseTerms::of(DAY)).await;
    let run = patient.claim_one().await;
    assert_eq!((run.job.id, run.job.lapses), (id, 1));
    assert_eq!(run.job.lease.unwrap().until, run.job.started_at.unwrap() + DAY);
}

/// Asserts when another look is worth while.
#[track_caller]
pub(super) fn assert_again(stage: &Stage, answer: &Exchanged, expected: Option<Duration>) {
    let apart = match (answer.look_again, expected) {
        (Some(told), Some(expected)) => told.abs_diff(expected) < stage.tick(),
        (told, expected) => told == expected,
    };
    assert!(apart, "told {:?}, expected {expected:?}", answer.look_again);
}

/// Where nothing is to come, nothing is told.
pub(super) async fn nothing_to_come(stage: &Stage) {
    let mut worker = stage.worker().await;
    assert_again(stage, &worker.look(1).await, None);
    stage.enqueue_many(1).await;
    worker.run_one(completed()).await;
    assert_again(stage, &worker.look(1).await, None);
}

/// A sleeper is told the earliest due time, scheduled or retrying.
pub(super) async fn the_next_due_job_is_told(stage: &Stage) {
    let mut worker = stage.worker().await;
    stage.enqueue([stage.job()]).await;
    worker.run_one(retry_in(HOUR)).await;
    assert_again(stage, &worker.look(1).await, Some(HOUR));
    stage.enqueue([stage.job_at(When::In(DAY)), stage.job_at(When::In(MINUTE))]).await;
    assert_again(stage, &worker.look(1).await, Some(MINUTE));
    stage.advance(HALF).await;
    assert_again(stage, &worker.upkeep().await, Some(MINUTE - HALF));
}

/// A sleeper is told the next end of a lease, and to watch over leases that last.
pub(super) async fn the_next_lease_end_is_told(stage: &Stage) {
    stage.enqueue_many(1).await;
    stage.worker().await.claim_one().await;
    let mut other = stage.worker().await;
    assert_again(stage, &other.look(1).await, Some(WATCH));
    stage.advance(WATCH).await;
    assert_again(stage, &other.look(1).await, Some(WATCH));
    stage.advance(WATCH).await;
    assert_again(stage, &other.look(1).await, Some(LENGTH - WATCH * 2));
}

/// A lease of the caller's own that has run out hides no end of another's.
pub(super) async fn an_own_late_lease_hides_no_other(stage: &Stage) {
    stage.enqueue_many(2).await;
    let (mut late, mut other) = (stage.worker().await, stage.worker().await);
    late.claim_one().await;
    stage.advance(secs(10)).await;
    other.claim_one().await;
    stage.advance(HALF).await;
    late.upkeep().await;
    stage.advance(HALF - secs(5)).await;
    assert_again(stage, &late.look(1).await, Some(secs(5)));
}

/// Whoever looks when told finds what it was told of, and is not sent round in circles.
pub(super) async fn looking_when_told_finds_it(stage: &Stage) {
    stage.enqueue_many(1).await;
    stage.worker().await.claim_one().await;
    stage.enqueue([stage.job_at(When::In(MINUTE)), stage.job_at(When::In(HOUR))]).await;
    let mut worker = stage.worker().await;
    for _ in 0..HOUR.as_secs() / WATCH.as_secs() + 10 {
        let answer = worker.look(1).await;
        worker.complete_all(&answer.claimed).await;
        match answer.look_again {
            None => break,
            Some(again) => stage.advance(again).await,
        }
    }
    assert_eq!(stage.counts().await.ended.completed, 3);
}
