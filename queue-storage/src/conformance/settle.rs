//! Settling: what each settlement writes, and what an exchange refuses.

use std::time::Duration;

use bytes::Bytes;

use super::actors::{ids, settled};
use super::stage::{DAY, HOUR, MINUTE, Stage, boom, completed, died, retry_in, returned, snooze_in};
use crate::model::{
    Claimed, EndReason, Failure, FailureKind, Fence, Job, JobId, NewJob, Settled, Settlement, State, Timestamp, When,
};
use crate::storage::{MAX_SETTLEMENTS, SettleAnswer};

/// A completed job shows its result, its end and until when it is kept.
pub(super) async fn completing(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    stage.advance(MINUTE).await;
    worker.finish(&run, returned(b"done", HOUR)).await;
    let job = stage.get(run.job.id).await;
    assert_eq!((job.state, job.attempts, job.lease), (State::Completed, 1, None));
    assert_eq!(job.result, Some(Bytes::from_static(b"done")));
    let ended = job.ended_at.unwrap();
    stage.assert_same_time(ended, run.job.started_at.unwrap() + MINUTE);
    assert_eq!((job.keep_until, job.reason), (Some(ended + HOUR), None));
    assert_eq!(job.started_at, run.job.started_at);
    assert_eq!(stage.counts().await.ended.completed, 1);
}

/// Nothing and an empty result are two things, and bytes are any bytes.
pub(super) async fn results_are_kept_exactly(stage: &Stage) {
    let every_byte: Bytes = (0..=255).collect();
    let mut worker = stage.worker().await;
    for result in [None, Some(Bytes::new()), Some(every_byte)] {
        stage.enqueue_many(1).await;
        let id = worker.run_one(Settlement::Complete { result: result.clone(), keep: HOUR }).await;
        assert_eq!(stage.get(id).await.result, result);
    }
}

/// A failed job waits for its next attempt and shows what went wrong.
pub(super) async fn retrying(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    stage.advance(MINUTE).await;
    worker.finish(&run, retry_in(HOUR)).await;
    let job = stage.get(run.job.id).await;
    assert_eq!((job.state, job.attempts, job.failure), (State::Retrying, 1, Some(boom())));
    stage.assert_same_time(job.due_at.unwrap(), run.job.started_at.unwrap() + MINUTE + HOUR);
    stage.advance(HOUR).await;
    let again = worker.claim_one().await;
    assert_eq!((again.job.id, again.job.attempts), (run.job.id, 1));
    assert!(again.fence > run.fence && again.job.started_at > run.job.started_at);
    worker.finish(&again, completed()).await;
    assert_eq!(stage.get(run.job.id).await.attempts, 2);
}

/// A snoozed job is scheduled, and no attempt is counted.
pub(super) async fn snoozing(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    worker.finish(&run, snooze_in(HOUR)).await;
    let job = stage.get(run.job.id).await;
    assert_eq!((job.state, job.attempts, job.failure), (State::Scheduled, 0, None));
    stage.assert_same_time(job.due_at.unwrap(), run.job.started_at.unwrap() + HOUR);
}

/// A released job is ready as it was.
pub(super) async fn releasing(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    worker.finish(&run, Settlement::Release).await;
    let job = stage.get(run.job.id).await;
    assert_eq!((job.state, job.attempts, job.crashes, job.lapses), (State::Ready, 0, 0, 0));
    assert_eq!((job.sequence, job.lease), (run.job.sequence, None));
}

/// A dead job shows why, and until when it is kept.
pub(super) async fn dying(stage: &Stage) {
    let mut worker = stage.worker().await;
    for word in ["exhausted", "fatal", "undecodable", "unstorable", "a_word_of_tomorrow"] {
        stage.enqueue_many(1).await;
        let reason = EndReason::from(word);
        let failure = Failure::new(FailureKind::Panic, "ça a raté: 失敗").of_type("my::Error");
        let die = Settlement::Die { reason: reason.clone(), failure: failure.clone(), keep: DAY };
        let id = worker.run_one(die).await;
        let job = stage.get(id).await;
        assert_eq!((job.state, job.reason, job.failure), (State::Dead, Some(reason), Some(failure)));
        assert_eq!(job.keep_until, job.ended_at.map(|at| at + DAY));
    }
    assert_eq!(stage.counts().await.ended.dead, 5);
}

/// The count of attempts is the value handed in, whatever it was before.
pub(super) async fn attempts_are_values(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    for (attempts, settlement) in [(7, Settlement::Release), (7, retry_in(Duration::ZERO)), (3, completed())] {
        let run = worker.claim_one().await;
        let settled = Settled { attempts, ..settled(&run, settlement) };
        worker.exchange(vec![settled], 0, 0).await;
        assert_eq!(stage.get(run.job.id).await.attempts, attempts);
    }
}

/// What is due at once is ready when the exchange ends, so that it can be claimed by it.
pub(super) async fn a_retry_at_once_is_ready_at_once(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let past = When::At(Timestamp::EPOCH);
    let at_once = [
        Settlement::Retry { when: When::Now, failure: boom() },
        Settlement::Retry { when: past, failure: boom() },
        Settlement::Snooze { when: When::Now, hold: None },
        snooze_in(Duration::ZERO),
    ];
    let mut run = worker.claim_one().await;
    for settlement in at_once {
        let mut answer = worker.exchange(vec![settled(&run, settlement)], 1, 1).await;
        let again = answer.claimed.pop().expect("it is ready");
        assert_eq!(again.job.id, run.job.id);
        assert!(again.job.sequence > run.job.sequence, "promoted jobs get a new place");
        run = again;
    }
}

/// Settlements are answered in their order, each on its own: one that is lost does not hinder the others.
pub(super) async fn each_settlement_stands_alone(stage: &Stage) {
    stage.enqueue_many(3).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(3).await;
    let mut settlements: Vec<_> = runs.iter().map(|run| settled(run, completed())).collect();
    settlements[1].fence = Fence(settlements[1].fence.0 + 1);
    let never = JobId::new(stage.shard());
    settlements.push(Settled { job: never, ..settlements[0].clone() });
    let answer = worker.exchange(settlements, 0, 0).await;
    use SettleAnswer::{Applied, Lost};
    assert_eq!(answer.settled, [Applied, Lost, Applied, Lost]);
    assert_eq!(stage.get(runs[1].job.id).await, runs_now(&runs[1]));
}

/// The job of a run as it is stored once another exchange has told that it was received.
fn runs_now(run: &Claimed) -> Job {
    let mut job = run.job.clone();
    job.lease.as_mut().expect("it runs").delivered = true;
    job
}

/// An exchange carries as many settlements as the contract says; one more is invalid and changes nothing.
pub(super) async fn an_exchange_has_a_largest_size(stage: &Stage) {
    stage.enqueue_many(MAX_SETTLEMENTS + 1).await;
    let mut worker = stage.worker().await;
    let mut runs = worker.claim(MAX_SETTLEMENTS as u32).await;
    runs.extend(worker.claim(1).await);
    let all: Vec<_> = runs.iter().map(|run| settled(run, completed())).collect();
    let too_many = worker.next(all.clone(), 1, 1);
    assert!(worker.make(too_many).await.unwrap_err().is_invalid());
    assert_eq!(stage.counts().await.ended.total(), 0);
    let answer = worker.exchange(all[1..].to_vec(), 0, 0).await;
    assert_eq!(answer.settled, [SettleAnswer::Applied; MAX_SETTLEMENTS]);
    assert_eq!(stage.counts().await.of(State::Running), 1);
}

/// A job that is settled twice by one exchange makes it invalid, and nothing is changed.
pub(super) async fn a_job_is_settled_once_in_an_exchange(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let twice = vec![settled(&run, completed()), settled(&run, died())];
    let call = worker.next(twice, 1, 1);
    assert!(worker.make(call).await.unwrap_err().is_invalid());
    assert_eq!(stage.get(run.job.id).await, run.job);
    worker.finish(&run, completed()).await;
}

/// A lease that has run out is still held until someone takes it back.
pub(super) async fn late_but_not_too_late(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    stage.advance(DAY / 2).await;
    worker.upkeep().await;
    stage.advance(HOUR).await;
    worker.finish(&run, completed()).await;
}

/// Settlements come before claims: one exchange frees its slot and fills it.
pub(super) async fn one_call_settles_and_claims(stage: &Stage) {
    let [first, second] = stage.enqueue([stage.job(), stage.job()]).await;
    let [after] = stage.enqueue([NewJob { priority: 1, ..stage.job_after([first]) }]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let answer = worker.exchange(vec![settled(&run, completed())], 1, 1).await;
    assert_eq!(ids(&answer.claimed), [after], "reached by this very call");
    assert_eq!(worker.claim_ids(1).await, [second]);
}

/// A time beyond all times is the last one that a storage holds.
pub(super) async fn endless_durations_are_held(stage: &Stage) {
    stage.enqueue_many(2).await;
    let mut worker = stage.worker().await;
    let kept = worker.run_one(returned(b"for ever", Duration::MAX)).await;
    let delayed = worker.run_one(retry_in(Duration::MAX)).await;
    assert_eq!(stage.get(kept).await.keep_until, Some(Timestamp::MAX));
    assert_eq!(stage.get(delayed).await.due_at, Some(Timestamp::MAX));
    let [scheduled] = stage.enqueue([stage.job_at(When::At(Timestamp::MAX))]).await;
    assert_eq!(stage.get(scheduled).await.due_at, Some(Timestamp::MAX));
}
