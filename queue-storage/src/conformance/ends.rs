//! Ends by the clock: who has not started by its moment, or not ended by its deadline, is expired.

use std::time::Duration;

use super::actors::{TestWorker, ids};
use super::stage::{DAY, HALF, HOUR, LENGTH, MINUTE, Stage, completed, died, hear, retry_in, secs, snooze_in, terms};
use crate::model::{EndReason, JobId, NewJob, Settlement, State, Timestamp, When};
use crate::storage::{Admission, LeaseTerms, Lookup, MAX_HEADS, MAX_UPKEEP, Retention, Topic};

/// A job that is to start by this moment.
fn expiring(stage: &Stage, when: When) -> NewJob {
    NewJob { expires: Some(when), ..stage.job() }
}

/// A job that is to end by this moment.
fn limited(stage: &Stage, when: When) -> NewJob {
    NewJob { deadline: Some(when), ..stage.job() }
}

/// A worker that takes nothing, but keeps the shard in order.
async fn keeper(stage: &Stage) -> TestWorker {
    stage.worker_of(&[]).await
}

/// Asserts that the job is not expired a tick before `delay` has passed and is when it has.
async fn assert_expires_in(stage: &Stage, id: JobId, delay: Duration, reason: EndReason) {
    let mut keeper = keeper(stage).await;
    stage.advance_until_just_before(delay).await;
    keeper.upkeep().await;
    assert!(!stage.state(id).await.is_end(), "too early: {:?}", stage.get(id).await);
    stage.advance(stage.tick()).await;
    keeper.upkeep().await;
    let job = stage.get(id).await;
    assert_eq!((job.state, job.reason), (State::Expired, Some(reason)));
}

/// A job that has not started by its moment is expired, not a tick earlier.
pub(super) async fn who_has_not_started_in_time_is_expired(stage: &Stage) {
    let [id] = stage.enqueue([expiring(stage, When::In(MINUTE))]).await;
    let job = stage.get(id).await;
    assert_eq!((job.expires_at, job.deadline_at), (Some(job.enqueued_at + MINUTE), None));
    assert_expires_in(stage, id, MINUTE, EndReason::Overdue).await;
    let job = stage.get(id).await;
    assert_eq!((job.worker, job.culprit, job.failure, job.attempts), (None, None, None, 0));
    assert_eq!(job.keep_until, job.ended_at.map(|at| at + terms().keep_ended));
    let counts = stage.counts().await;
    assert_eq!((counts.ended.expired, counts.ended.total(), counts.live()), (1, 1, 0));
}

/// The exchange that finds a job overdue does not claim it, and one that comes in time does.
pub(super) async fn nobody_starts_too_late(stage: &Stage) {
    let [late] = stage.enqueue([expiring(stage, When::In(MINUTE))]).await;
    stage.advance(HALF).await;
    let [early] = stage.enqueue([expiring(stage, When::In(MINUTE))]).await;
    stage.advance(MINUTE - HALF).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim_ids(9).await, [early]);
    assert_eq!((stage.state(late).await, worker.claim_ids(9).await), (State::Expired, vec![]));
    stage.advance(HOUR).await;
    worker.upkeep().await;
    assert_eq!(stage.state(early).await, State::Running);
}

/// A moment is taken as it is, also one that has passed: the job is taken in and expired by the next exchange.
pub(super) async fn a_moment_is_a_moment(stage: &Stage) {
    let now = stage.now().await;
    let [id] = stage.enqueue([expiring(stage, When::At(now + HOUR))]).await;
    assert_eq!(stage.get(id).await.expires_at, Some(now + HOUR));
    assert_expires_in(stage, id, HOUR, EndReason::Overdue).await;
    for passed in [expiring(stage, When::At(now)), limited(stage, When::At(Timestamp::EPOCH))] {
        let id = passed.id;
        assert_eq!(stage.caller().enqueue_one(passed).await, Admission::Added(State::Ready));
        assert_eq!(stage.worker().await.claim_ids(9).await, []);
        assert_eq!(stage.state(id).await, State::Expired);
    }
}

/// What is counted is counted from when the job is due; a moment may come before that.
pub(super) async fn it_is_counted_from_when_the_job_is_due(stage: &Stage) {
    let when = When::In(HOUR);
    let counted = NewJob { when, expires: Some(When::In(MINUTE)), deadline: Some(When::In(DAY)), ..stage.job() };
    let now = stage.now().await;
    let named = NewJob { when, expires: Some(When::At(now + MINUTE)), ..stage.job() };
    let [counted, named] = stage.enqueue([counted, named]).await;
    let job = stage.get(counted).await;
    let due = job.due_at.unwrap();
    assert_eq!((job.expires_at, job.deadline_at), (Some(due + MINUTE), Some(due + DAY)));
    assert_expires_in(stage, named, MINUTE, EndReason::Overdue).await;
    assert_expires_in(stage, counted, HOUR, EndReason::Overdue).await;
}

/// A job that has started in time is not expired however late it starts again: its moment is not moved, and has done
/// its work.
pub(super) async fn a_start_is_a_start(stage: &Stage) {
    let mut worker = stage.worker().await;
    for settlement in [retry_in(HOUR), snooze_in(HOUR), Settlement::Release] {
        let [id] = stage.enqueue([expiring(stage, When::In(MINUTE))]).await;
        let moment = stage.get(id).await.expires_at;
        worker.run_one(settlement).await;
        stage.advance(DAY).await;
        worker.upkeep().await;
        assert_eq!((stage.state(id).await, stage.get(id).await.expires_at), (State::Ready, moment));
        assert_eq!(worker.run_one(completed()).await, id);
    }
    for delivered in [true, false] {
        let stage = stage.beside(if delivered { "crashed" } else { "lapsed" });
        let [id] = stage.enqueue([expiring(&stage, When::In(MINUTE))]).await;
        let mut worker = stage.worker().await;
        let _run = if delivered { worker.receive_one().await } else { worker.claim_one().await };
        stage.run_out(&mut keeper(&stage).await).await;
        assert_eq!(stage.worker().await.claim_ids(1).await, [id], "past its moment, but not for the first time");
    }
}

/// The moment of a waiting job is counted from when it is reached, and not known before; one that was named holds from
/// the start.
pub(super) async fn who_waits_is_not_hurried(stage: &Stage) {
    let [first] = stage.enqueue([stage.job_with(1)]).await;
    let after = |when, expires, deadline| NewJob { when, expires, deadline, ..stage.job_after([first]) };
    let now = stage.now().await;
    let counted = after(When::Now, Some(When::In(MINUTE)), Some(When::In(DAY)));
    let delayed = after(When::In(HOUR), Some(When::In(MINUTE)), None);
    let named = after(When::Now, Some(When::At(now + HOUR)), None);
    let limited = after(When::Now, None, Some(When::At(now + HOUR * 2)));
    let [counted, delayed, named, limited] = stage.enqueue([counted, delayed, named, limited]).await;
    let job = stage.get(counted).await;
    assert_eq!((job.expires_at, job.deadline_at), (None, None));
    assert_eq!((job.expires, job.deadline), (Some(When::In(MINUTE)), Some(When::In(DAY))));
    assert_expires_in(stage, named, HOUR, EndReason::Overdue).await;
    assert_expires_in(stage, limited, HOUR, EndReason::Deadline).await;
    assert_eq!((stage.state(counted).await, stage.state(delayed).await), (State::Waiting, State::Waiting));
    stage.worker().await.run_one(completed()).await;
    let reached = stage.now().await;
    let (counted_at, delayed_at) = (stage.get(counted).await.expires_at, stage.get(delayed).await.expires_at);
    stage.assert_same_time(counted_at.unwrap(), reached + MINUTE);
    stage.assert_same_time(stage.get(counted).await.deadline_at.unwrap(), reached + DAY);
    stage.assert_same_time(delayed_at.unwrap(), reached + HOUR + MINUTE);
    assert_expires_in(stage, counted, MINUTE, EndReason::Overdue).await;
    assert_expires_in(stage, delayed, HOUR, EndReason::Overdue).await;
}

/// A waiting job that was expired is not reached when the one it waited for completes.
pub(super) async fn the_expired_are_not_reached(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let now = stage.now().await;
    let [id] = stage.enqueue([NewJob { expires: Some(When::At(now + MINUTE)), ..stage.job_after([first]) }]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    stage.advance(MINUTE).await;
    worker.upkeep().await;
    let before = stage.get(id).await;
    assert_eq!(before.state, State::Expired);
    worker.finish(&run, completed()).await;
    worker.work_off().await;
    assert_eq!((stage.get(id).await, worker.claim_ids(9).await), (before, vec![]));
}

/// Past its deadline a job that does not run is expired, whatever it waits for, started or not; one that runs is not
/// touched.
pub(super) async fn a_deadline_ends_what_does_not_run(stage: &Stage) {
    let moment = stage.now().await + HOUR;
    let job = || limited(stage, When::At(moment));
    stage.enqueue([job()]).await;
    let mut worker = stage.worker().await;
    let running = worker.receive_one().await.job.id;
    let mut ended = Vec::new();
    for settlement in [retry_in(DAY), retry_in(MINUTE), snooze_in(DAY), Settlement::Release] {
        stage.enqueue([job()]).await;
        ended.push(worker.run_one(settlement).await);
    }
    let waiting = NewJob { waits_for: vec![running], ..job() };
    ended.extend(stage.enqueue([waiting, NewJob { when: When::In(DAY), ..job() }, job()]).await);
    stage.advance(HOUR).await;
    worker.upkeep().await;
    for id in ended {
        let job = stage.get(id).await;
        assert_eq!((job.state, job.reason, job.worker), (State::Expired, Some(EndReason::Deadline), None));
    }
    assert_eq!(stage.state(running).await, State::Running);
}

/// A run that ends past the deadline ends the job, unless it completes it: no other run starts.
pub(super) async fn no_run_starts_past_a_deadline(stage: &Stage) {
    for settlement in [retry_in(Duration::ZERO), retry_in(HOUR), snooze_in(Duration::ZERO), Settlement::Release] {
        let [id] = stage.enqueue([limited(stage, When::In(MINUTE))]).await;
        let mut worker = stage.worker().await;
        let run = worker.claim_one().await;
        stage.advance(MINUTE).await;
        let settled = super::actors::settled(&run, settlement);
        assert_eq!(worker.exchange(vec![settled], 9, 9).await.claimed, []);
        let job = stage.get(id).await;
        assert_eq!((job.state, job.reason.clone()), (State::Expired, Some(EndReason::Deadline)));
        assert_eq!(job.history.len(), 1, "its run is remembered: {job:?}");
    }
    for (settlement, state) in [(completed(), State::Completed), (died(), State::Dead)] {
        let [id] = stage.enqueue([limited(stage, When::In(MINUTE))]).await;
        let mut worker = stage.worker().await;
        let run = worker.claim_one().await;
        stage.advance(MINUTE).await;
        worker.finish(&run, settlement).await;
        assert_eq!(stage.state(id).await, state);
    }
}

/// A lease that is lost past the deadline brings no other run, not even in the exchange that takes it back.
pub(super) async fn a_crash_past_the_deadline_is_the_end(stage: &Stage) {
    for delivered in [true, false] {
        let stage = stage.beside(if delivered { "crashed" } else { "lapsed" });
        let [id] = stage.enqueue([limited(&stage, When::In(MINUTE))]).await;
        let mut worker = stage.worker().await;
        let _run = if delivered { worker.receive_one().await } else { worker.claim_one().await };
        let mut other = stage.worker().await;
        stage.advance(HALF).await;
        other.upkeep().await;
        stage.advance(HALF).await;
        assert_eq!(other.claim(9).await, []);
        other.work_off().await;
        let job = stage.get(id).await;
        assert_eq!((job.state, job.reason), (State::Expired, Some(EndReason::Deadline)));
    }
}

/// Retries and snoozes move no deadline.
pub(super) async fn a_deadline_stays(stage: &Stage) {
    let [id] = stage.enqueue([limited(stage, When::In(HOUR))]).await;
    let moment = stage.get(id).await.deadline_at;
    let mut worker = stage.worker().await;
    for settlement in [retry_in(secs(1)), snooze_in(secs(1)), Settlement::Release] {
        worker.run_one(settlement).await;
        stage.advance(secs(1)).await;
        worker.upkeep().await;
        assert_eq!(stage.get(id).await.deadline_at, moment);
    }
    assert_expires_in(stage, id, HOUR - secs(3), EndReason::Deadline).await;
}

/// The moment that comes first gives the reason; of two that are one, that of the start.
pub(super) async fn the_first_moment_is_the_reason(stage: &Stage) {
    let both = |expires, deadline| {
        let (expires, deadline) = (Some(When::In(expires)), Some(When::In(deadline)));
        NewJob { expires, deadline, ..stage.job() }
    };
    let [start, end, same] = stage.enqueue([both(MINUTE, HOUR), both(HOUR, MINUTE), both(MINUTE, MINUTE)]).await;
    stage.advance(MINUTE).await;
    keeper(stage).await.upkeep().await;
    for (id, reason) in [(start, EndReason::Overdue), (end, EndReason::Deadline), (same, EndReason::Overdue)] {
        assert_eq!(stage.get(id).await.reason, Some(reason));
    }
}

/// More overdue jobs than a call expires come with the calls that follow, the earliest first, and the call says so.
pub(super) async fn expiring_is_bounded(stage: &Stage) {
    let mut jobs: Vec<_> = (0..250).map(|n| expiring(stage, When::In(secs(10 + n)))).collect();
    jobs.reverse();
    let mut expected = stage.enqueue_all(jobs).await;
    expected.reverse();
    stage.advance(HOUR).await;
    let mut keeper = keeper(stage).await;
    for expired in [100, 200] {
        assert_eq!(keeper.upkeep().await.look_again, Some(secs(0)));
        assert_eq!(stage.counts().await.ended.expired, expired);
        let (gone, left) = expected.split_at(usize::try_from(expired).unwrap());
        assert_eq!(stage.state(gone[gone.len() - 1]).await, State::Expired);
        assert_eq!(stage.state(left[0]).await, State::Ready);
    }
    assert_eq!(keeper.upkeep().await.look_again, None);
    assert_eq!((stage.counts().await.ended.expired, stage.counts().await.live()), (250, 0));
}

/// A head that is overdue is not claimed, though the call had more to expire than it may.
pub(super) async fn an_overdue_head_is_not_claimed(stage: &Stage) {
    let crowd = (MAX_HEADS + MAX_UPKEEP) as usize + 90;
    stage.enqueue_all((0..crowd).map(|_| expiring(stage, When::In(MINUTE))).collect()).await;
    let [punctual] = stage.enqueue([stage.job_with(-1)]).await;
    stage.advance(MINUTE).await;
    let mut worker = stage.worker().await;
    let first = worker.look(5).await;
    assert_eq!((ids(&first.claimed), first.look_again), (vec![], Some(secs(0))));
    assert_eq!(worker.claim_ids(5).await, [punctual]);
    assert_eq!(stage.counts().await.ended.expired, crowd as u64);
}

/// Nor is one that was parked, or is suspect.
pub(super) async fn an_overdue_job_is_not_claimed_from_elsewhere(stage: &Stage) {
    let crowd = MAX_UPKEEP as usize + 30;
    let strange = |_| NewJob { expires: Some(When::In(MINUTE)), ..stage.job_of("s") };
    stage.enqueue_all((0..crowd).map(strange).collect()).await;
    stage.worker().await.claim(1).await;
    assert_eq!(stage.counts().await.parked, crowd as u64);
    stage.advance(MINUTE).await;
    assert_eq!(stage.worker_of(&["s"]).await.claim(256).await, []);
    let stage = stage.beside("suspects");
    stage.enqueue_all((0..crowd).map(|_| limited(&stage, When::In(HOUR))).collect()).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim(256).await.len(), crowd);
    worker.upkeep().await;
    stage.run_out(&mut keeper(&stage).await).await;
    keeper(&stage).await.work_off().await;
    assert_eq!(stage.counts().await.of(State::Ready), crowd as u64);
    stage.advance(HOUR).await;
    let mut other = stage.worker().await;
    assert_eq!(other.claim(256).await, []);
    other.work_off().await;
    assert_eq!(stage.counts().await.ended.expired, crowd as u64);
}

/// A sleeper is told the next moment at which a job is overdue, and is not sent round in circles by one that is not.
pub(super) async fn the_next_overdue_job_is_told(stage: &Stage) {
    let again = async |worker: &mut TestWorker, expected: Option<Duration>| {
        let told = worker.look(1).await.look_again;
        let near = told.zip(expected).is_some_and(|(told, expected)| told.abs_diff(expected) < stage.tick());
        assert!(near || told.or(expected).is_none(), "told {told:?}, expected {expected:?}");
    };
    let mut worker = stage.worker_of(&["other"]).await;
    stage.enqueue([limited(stage, When::In(HOUR))]).await;
    again(&mut worker, Some(HOUR)).await;
    stage.enqueue([expiring(stage, When::In(MINUTE))]).await;
    again(&mut worker, Some(MINUTE)).await;
    let mut holder = stage.worker().await;
    let runs = holder.claim(2).await;
    holder.complete_all(&runs).await;
    again(&mut worker, None).await;
    stage.enqueue([expiring(stage, When::In(MINUTE))]).await;
    holder.run_one(retry_in(Duration::ZERO)).await;
    again(&mut worker, None).await;
    stage.advance(DAY).await;
    again(&mut worker, None).await;
}

/// Who waits for a job that is expired is cancelled for it.
pub(super) async fn who_waits_for_the_expired_is_cancelled(stage: &Stage) {
    let [first] = stage.enqueue([expiring(stage, When::In(MINUTE))]).await;
    let [id] = stage.enqueue([stage.job_after([first])]).await;
    stage.advance(MINUTE).await;
    let mut keeper = keeper(stage).await;
    keeper.upkeep().await;
    let (first, job) = (stage.get(first).await, stage.get(id).await);
    assert_eq!((job.state, job.reason), (State::Cancelled, Some(EndReason::Dependency)));
    assert_eq!((job.culprit, job.keep_until), (Some(first.id), first.keep_until));
}

/// The expired are kept as long as the terms of the worker say whose call it was, and pruned then.
pub(super) async fn the_expired_are_kept_on_the_callers_terms(stage: &Stage) {
    let [id] = stage.enqueue([expiring(stage, When::In(MINUTE))]).await;
    stage.advance(MINUTE).await;
    stage.worker_on(LeaseTerms { keep_ended: DAY, ..terms() }).await.upkeep().await;
    let job = stage.get(id).await;
    assert_eq!(job.keep_until, job.ended_at.map(|at| at + DAY));
    stage.advance_until_just_before(DAY).await;
    assert_eq!(stage.prune(Retention::default()).await.done, 0);
    stage.advance(stage.tick() * 2).await;
    assert_eq!(stage.prune(Retention::default()).await.done, 1);
    assert_eq!(stage.storage().get(id).await.unwrap(), Lookup::Gone);
}

/// Who listens for a job is told that it was expired.
pub(super) async fn its_listeners_are_told(stage: &Stage) {
    let [id] = stage.enqueue([expiring(stage, When::In(LENGTH))]).await;
    let listener = stage.storage().listen(Topic::Job(id));
    stage.advance(LENGTH).await;
    keeper(stage).await.upkeep().await;
    hear(&listener, "it was expired").await;
}
