//! Holds: a run that says so closes the rates that it is under, for everyone and for a while.

use super::actors::settled;
use super::rates::{hold, run, three, throttled};
use super::stage::{DAY, HOUR, MINUTE, Stage, rate, rate_at_cost, secs, slots};
use super::time::assert_again;
use crate::model::{Parked, State};
use crate::storage::SettleAnswer;

/// A hold closes the rate for everyone, at once and until it is over, and then lets one start, and then the pace.
pub(super) async fn a_hold_closes_for_everyone(stage: &Stage) {
    let jobs = stage.enqueue_under(&three(), 6).await;
    let mut worker = stage.worker().await;
    let run_now = worker.claim_one().await;
    worker.finish(&run_now, hold(HOUR)).await;
    let mut other = stage.worker().await;
    assert_eq!(other.claim(9).await, []);
    let held = stage.get(jobs[1]).await;
    assert_eq!(held.parked, Some(Parked::RateWindow));
    stage.assert_same_time(held.opens_at.unwrap(), stage.now().await + HOUR);
    assert_again(stage, &other.look(9).await, Some(HOUR));
    stage.advance_until_just_before(HOUR).await;
    assert_eq!(run(&mut other, 9).await, []);
    stage.advance(stage.tick()).await;
    assert_eq!(run(&mut other, 9).await, jobs[1..2], "and then exactly one");
    assert_eq!(run(&mut worker, 9).await, []);
    for n in 2..4 {
        stage.advance_until_just_before(MINUTE).await;
        assert_eq!(run(&mut other, 9).await, []);
        stage.advance(stage.tick()).await;
        assert_eq!(run(&mut worker, 9).await, jobs[n..=n]);
    }
}

/// Who was waiting for the rate already waits for the end of the hold; when it opens is told anew.
pub(super) async fn a_hold_is_for_who_waits_too(stage: &Stage) {
    let jobs = stage.enqueue_under(&three(), 5).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(9).await;
    worker.complete_all(&runs[..2]).await;
    stage.assert_same_time(stage.get(jobs[3]).await.opens_at.unwrap(), stage.now().await + MINUTE);
    worker.finish(&runs[2], hold(HOUR)).await;
    stage.assert_same_time(stage.get(jobs[3]).await.opens_at.unwrap(), stage.now().await + HOUR);
    assert_again(stage, &worker.look(9).await, Some(HOUR));
    stage.advance(MINUTE).await;
    assert_eq!(worker.claim(9).await, []);
    assert!(!stage.is_in_line(jobs[3]).await);
    stage.advance(HOUR - MINUTE).await;
    assert_eq!(worker.claim_ids(9).await, jobs[3..4]);
}

/// A hold by a dear job does not keep a cheap one longer than it says, and a hold by a cheap one opens for a dear one
/// when that has room.
pub(super) async fn a_hold_is_the_same_for_dear_and_cheap(stage: &Stage) {
    for (held, waits, opens) in [(3, 1, HOUR), (1, 3, HOUR + MINUTE * 2)] {
        let stage = stage.beside(&format!("cost-{held}-{waits}"));
        let of = |cost| stage.job_under([rate_at_cost("r", MINUTE, 3, cost)]);
        stage.enqueue([of(held)]).await;
        let mut worker = stage.worker().await;
        let run = worker.claim_one().await;
        let [next] = stage.enqueue([of(waits)]).await;
        assert_eq!(worker.claim(9).await, []);
        assert_eq!(stage.parked(next).await, throttled());
        worker.finish(&run, hold(HOUR)).await;
        stage.assert_same_time(stage.get(next).await.opens_at.unwrap(), stage.now().await + opens);
        stage.advance_until_just_before(opens).await;
        assert_eq!(worker.claim(9).await, []);
        stage.advance(stage.tick()).await;
        assert_eq!(worker.claim_ids(9).await, [next]);
    }
}

/// A hold closes every rate of its job and no other.
pub(super) async fn a_hold_closes_what_its_job_is_under(stage: &Stage) {
    let of = |name: &str| stage.job_under([rate(name, secs(1), 9)]);
    stage.enqueue([stage.job_under([rate("a", secs(1), 9), slots("b", 9), rate("c", secs(1), 9)])]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    worker.finish(&run, hold(HOUR)).await;
    let other = stage.beside("other");
    let [elsewhere] = other.enqueue([other.job_under([rate("a", secs(1), 9)])]).await;
    assert_eq!(other.worker().await.claim_ids(9).await, [elsewhere]);
    let slot = stage.job_under([slots("b", 9)]);
    let [a, b, c, d, slot] = stage.enqueue([of("a"), of("b"), of("c"), of("d"), slot]).await;
    assert_eq!(worker.claim_ids(9).await, [b, d, slot]);
    for id in [a, c] {
        assert_eq!(stage.get(id).await.parked, Some(Parked::RateWindow));
    }
}

/// A hold that is shorter than what is unpaid opens nothing early, and of two holds the longer stands.
pub(super) async fn a_short_hold_opens_nothing(stage: &Stage) {
    let jobs = stage.enqueue_under(&[rate("r", DAY, 2)], 3).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(9).await;
    worker.finish(&runs[0], hold(MINUTE)).await;
    stage.advance(MINUTE).await;
    assert_eq!(worker.claim(9).await, []);
    stage.assert_same_time(stage.get(jobs[2]).await.opens_at.unwrap(), runs[0].job.started_at.unwrap() + DAY);
    worker.finish(&runs[1], hold(DAY * 2)).await;
    let opens = stage.get(jobs[2]).await.opens_at;
    stage.assert_same_time(opens.unwrap(), stage.now().await + DAY * 2);
}

/// A hold that was lost with its lease closes nothing; one whose answer was lost is not made anew by the repeat; one by
/// a job that was asked to stop, and is cancelled instead, is a hold.
pub(super) async fn a_hold_is_written_once(stage: &Stage) {
    stage.enqueue_under(&[rate("r", secs(1), 9)], 9).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(3).await;
    let mut stale = runs[0].clone();
    stale.fence.0 += 1;
    let lost = settled(&stale, hold(HOUR));
    assert_eq!(worker.exchange(vec![lost], 1, 1).await.settled, [SettleAnswer::Lost]);
    assert_eq!(worker.repeat().await.claimed.len(), 1, "nothing was closed");
    stage.cancel(runs[1].job.id).await;
    worker.finish(&runs[1], hold(MINUTE)).await;
    assert_eq!(stage.state(runs[1].job.id).await, State::Cancelled);
    let closed = stage.usage("r").await.paid_at;
    stage.advance(secs(20)).await;
    worker.repeat().await;
    assert_eq!(stage.usage("r").await.paid_at, closed);
    assert_eq!(worker.claim(9).await, []);
    stage.advance(secs(40)).await;
    assert_eq!(worker.claim(9).await.len(), 1);
}
