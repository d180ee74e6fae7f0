//! What is as long, as short, as high or as low as can be said.

use std::time::Duration;

use super::actors::settled;
use super::rates::hold;
use super::stage::{
    DAY, HOUR, MINUTE, Stage, boom, completed, key, pace, rate, rate_at_cost, retry_in, secs, slots, snooze_in, terms,
};
use crate::model::{Conflict, EndReason, Limit, Parked, Rate, Settlement, State, Timestamp, Unique, When, Window};
use crate::storage::{Act, Acted, Admission, Control, Edit, LeaseTerms, Scope};

const MICRO: Duration = Duration::from_micros(1);

/// Times without end are the end of time, wherever they are told, and nothing comes of them before.
pub(super) async fn times_that_do_not_end(stage: &Stage) {
    let ever = Duration::MAX;
    let mut worker = stage.worker_on(LeaseTerms { keep_ended: ever, keep_dead: ever, ..terms() }).await;
    let mut far = stage.job_at(When::In(ever));
    (far.expires, far.deadline) = (Some(When::In(ever)), Some(When::At(Timestamp::MAX)));
    let [far] = stage.enqueue([far]).await;
    let job = stage.get(far).await;
    assert_eq!((job.state, job.due_at), (State::Scheduled, Some(Timestamp::MAX)));
    assert_eq!((job.expires_at, job.deadline_at), (Some(Timestamp::MAX), Some(Timestamp::MAX)));
    for settlement in [retry_in(ever), snooze_in(ever)] {
        let [id] = stage.enqueue([stage.job()]).await;
        worker.run_one(settlement).await;
        assert_eq!(stage.get(id).await.due_at, Some(Timestamp::MAX));
        assert!(matches!(stage.act(id, &Act::Edit(Edit::new().when(When::In(ever)))).await, Acted::Done(_)));
        assert_eq!(stage.get(id).await.due_at, Some(Timestamp::MAX));
    }
    let ends = [
        Settlement::Complete { result: None, keep: ever },
        Settlement::Cancel { reason: EndReason::CalledOff, failure: None, keep: ever },
        Settlement::Die { reason: EndReason::Fatal, failure: boom(), keep: ever },
    ];
    for end in ends {
        let [id] = stage.enqueue([stage.job()]).await;
        worker.run_one(end).await;
        assert_eq!(stage.get(id).await.keep_until, Some(Timestamp::MAX));
    }
    assert_eq!(stage.act(far, &Act::Cancel { keep: ever }).await, Acted::Done(State::Cancelled));
    assert_eq!(stage.get(far).await.keep_until, Some(Timestamp::MAX));
    let unique = |stage: &Stage| stage.job_unique(Window::For(ever), Conflict::Reject);
    let [owner] = stage.enqueue([unique(stage)]).await;
    worker.run_one(completed()).await;
    stage.advance(DAY).await;
    let refused = stage.caller().enqueue_one(unique(stage)).await;
    assert_eq!(refused, Admission::Rejected(owner, Some(State::Completed)));
    stage.control(Control::Pause(Scope::Queue, Some(Timestamp::MAX))).await;
    stage.enqueue([stage.job()]).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!(stage.controls().await.queue.and_then(|pause| pause.until), Some(Timestamp::MAX));
}

/// Times of nothing are over as they begin.
pub(super) async fn times_that_are_nothing(stage: &Stage) {
    let mut worker = stage.worker().await;
    let now = When::In(Duration::ZERO);
    let [id] = stage.enqueue([stage.job_at(now)]).await;
    assert_eq!(stage.state(id).await, State::Ready);
    worker.run_one(completed()).await;
    let (mut late, mut over) = (stage.job(), stage.job());
    (late.expires, over.deadline) = (Some(now), Some(When::Now));
    let ids = stage.enqueue([late, over]).await;
    assert_eq!(worker.claim(9).await, []);
    for id in ids {
        assert_eq!(stage.state(id).await, State::Expired);
    }
    let unique = |stage: &Stage| stage.job_unique(Window::For(Duration::ZERO), Conflict::Reject);
    let both = stage.enqueue([unique(stage), unique(stage)]).await;
    assert_eq!(worker.claim_ids(9).await, both);
    let [limited] = stage.enqueue([stage.job_under([rate("r", HOUR, 1)])]).await;
    let run = worker.claim_one().await;
    worker.finish(&run, hold(Duration::ZERO)).await;
    stage.advance(DAY).await;
    assert_eq!(worker.claim_ids(9).await, [limited]);
    let [snoozed] = stage.enqueue([stage.job()]).await;
    let run = worker.claim_one().await;
    let answer = worker.exchange(vec![settled(&run, snooze_in(Duration::ZERO))], 9, 9).await;
    assert_eq!(answer.claimed.first().map(|run| run.job.id), Some(snoozed));
}

/// The shortest and the longest rate, the largest burst and the highest price.
pub(super) async fn rates_at_their_bounds(stage: &Stage) {
    let mut worker = stage.worker().await;
    let fast = [rate("fast", MICRO, u32::MAX)];
    let jobs = stage.enqueue_under(&fast, 9).await;
    assert_eq!(worker.claim_ids(99).await, jobs);
    let dear = [rate_at_cost("dear", MICRO, u32::MAX, u32::MAX)];
    let dear = stage.enqueue_under(&dear, 2).await;
    assert_eq!(worker.claim_ids(99).await, dear[..1]);
    assert_eq!(stage.get(dear[1]).await.parked, Some(Parked::RateWindow));
    stage.advance(MICRO * u32::MAX).await;
    stage.advance(stage.tick()).await;
    worker.upkeep().await;
    assert_eq!(worker.claim_ids(99).await, dear[1..]);
    let slow = stage.enqueue_under(&[rate("slow", DAY * 365 * 99, 1)], 2).await;
    assert_eq!(worker.claim_ids(99).await, slow[..1]);
    stage.advance(DAY * 300).await;
    worker.work_off().await;
    assert_eq!(worker.claim(99).await, []);
    let many = stage.enqueue_under(&[slots("many", u32::MAX)], 9).await;
    assert_eq!(worker.claim_ids(99).await, many);
    stage.control(Control::Slots(Some(u32::MAX))).await;
    stage.control(Control::Rate(Some(pace(MICRO, u32::MAX)))).await;
    let more = stage.enqueue_many(9).await;
    assert_eq!(worker.claim_ids(99).await, more);
}

/// A rate that can't be kept is refused, for a job and for a queue.
pub(super) async fn rates_that_can_not_be(stage: &Stage) {
    let mut none = Rate::per(HOUR, 1);
    none.every = Duration::from_nanos(999);
    let rates = [none, pace(HOUR, 0), pace(Duration::MAX, 1), pace(DAY * 365, 101), pace(Duration::MAX, u32::MAX)];
    for rate in rates {
        let job = stage.job_under([Limit::Rate { key: key("r"), rate, cost: 1 }]);
        let mut caller = stage.caller();
        let call = caller.next(vec![job]);
        assert!(caller.make(call).await.unwrap_err().is_invalid(), "{rate:?}");
        let refused = stage.storage().control(stage.shard(), &Control::Rate(Some(rate))).await;
        assert!(refused.unwrap_err().is_invalid(), "{rate:?}");
    }
}

/// A hold without end lets nothing start, and nobody looks for it all the time.
pub(super) async fn a_hold_without_end(stage: &Stage) {
    let jobs = stage.enqueue_under(&[rate("r", secs(1), 3)], 3).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    worker.finish(&run, hold(Duration::MAX)).await;
    for _ in 0..3 {
        assert_eq!(worker.claim(9).await, []);
        stage.advance(DAY * 100).await;
    }
    worker.work_off().await;
    assert_eq!(stage.get(jobs[1]).await.parked, Some(Parked::RateWindow));
}

/// The highest runs before all others and the lowest after them, also when they come back out of a park.
pub(super) async fn priorities_at_their_ends(stage: &Stage) {
    let of = |priority| crate::model::NewJob { limits: vec![slots("k", 1)], ..stage.job_with(priority) };
    let [first] = stage.enqueue([stage.job_under([slots("k", 1)])]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    assert_eq!(run.job.id, first);
    let priorities = [i32::MIN, 0, i32::MAX, -1, i32::MIN + 1, 1, i32::MAX - 1];
    let jobs = stage.enqueue(priorities.map(of)).await;
    worker.finish(&run, completed()).await;
    let mut order = Vec::new();
    for _ in 0..jobs.len() {
        let run = worker.claim_one().await;
        order.push(run.job.priority);
        worker.finish(&run, completed()).await;
    }
    let mut sorted = priorities;
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(order, sorted);
}

/// A key may be unique, have slots and a rate, all for one job, and its like in another queue is another.
pub(super) async fn one_key_for_everything(stage: &Stage) {
    let of = |stage: &Stage| {
        let mut job = stage.job_under([slots("\u{fc}:/x", 1), rate("\u{fc}:/x", MINUTE, 1)]);
        job.unique = Some(Unique::new(key("\u{fc}:/x"), Window::Started, Conflict::Existing));
        job
    };
    let [one] = stage.enqueue([of(stage)]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let [two] = stage.enqueue([of(stage)]).await;
    let existing = stage.caller().enqueue_one(of(stage)).await;
    assert_eq!(existing, Admission::Existing(two, Some(State::Ready)));
    let usage = stage.usage("\u{fc}:/x").await;
    assert_eq!((usage.unique, usage.running, usage.waiting, usage.throttled), (Some(two), 1, 1, 0));
    worker.finish(&run, retry_in(secs(1))).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!(stage.parked(two).await, Some((Parked::RateWindow, Some(key("\u{fc}:/x")))));
    let other = stage.beside("other");
    let mut there = other.worker().await;
    let [elsewhere] = other.enqueue([of(&other)]).await;
    assert_eq!(there.claim_ids(9).await, [elsewhere]);
    stage.advance(MINUTE).await;
    let run = worker.claim_one().await;
    // Promoted meanwhile, the retry is behind it.
    assert_eq!(run.job.id, two);
    assert_eq!(worker.claim(9).await, []);
    assert_eq!(stage.parked(one).await, Some((Parked::LimitFull, Some(key("\u{fc}:/x")))));
}
