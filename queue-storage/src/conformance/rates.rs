//! Rates: in any span of time no more start than the burst and the pace allow, and whoever waits comes as soon as it may.

use std::time::Duration;

use fastrand::Rng;

use super::actors::{TestWorker, ids, settled};
use super::check::all_jobs;
use super::notify::sleeper;
use super::stage::{
    DAY, GRACE, HOUR, MINUTE, Stage, WATCH, boom, cancel, completed, hear, key, rate, rate_at_cost, secs, slots,
    slots_now_or_never, tag,
};
use super::time::assert_again;
use crate::model::{Conflict, JobId, Key, Limit, NewJob, Parked, Settlement, State, Timestamp, Unique, When, Window};
use crate::storage::{Act, Acted, Admission, Control, Edit, MAX_UPKEEP, Retention, Revocation, Usage};

pub(super) fn throttled() -> Option<(Parked, Option<Key>)> {
    Some((Parked::RateWindow, Some(key("r"))))
}

/// Three at once, and then one a minute.
pub(super) fn three() -> [Limit; 1] {
    [rate("r", MINUTE, 3)]
}

/// Claims what it can and completes it at once; what it ran.
pub(super) async fn run(worker: &mut TestWorker, want: u32) -> Vec<JobId> {
    let runs = worker.claim(want).await;
    worker.complete_all(&runs).await;
    ids(&runs)
}

/// To run again in a day, while the rates of the job admit nothing for so long.
pub(super) fn hold(length: Duration) -> Settlement {
    Settlement::Snooze { when: When::In(DAY), hold: Some(length) }
}

/// At once as many start as the burst says, then one as each is paid for, not a tick earlier.
pub(super) async fn the_burst_and_then_the_pace(stage: &Stage) {
    let jobs = stage.enqueue_under(&three(), 8).await;
    let mut worker = stage.worker().await;
    assert_eq!(run(&mut worker, 9).await, jobs[..3]);
    for n in 3..8 {
        stage.advance_until_just_before(MINUTE).await;
        assert_eq!(run(&mut worker, 9).await, [], "too early");
        stage.advance(stage.tick()).await;
        assert_eq!(run(&mut worker, 9).await, jobs[n..=n]);
    }
    assert_eq!(worker.claim(9).await, []);
}

/// Who waits for a rate tells for which and until when, and so does the key.
pub(super) async fn who_waits_tells_until_when(stage: &Stage) {
    let jobs = stage.enqueue_under(&three(), 5).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(9).await;
    let started = runs[0].job.started_at.unwrap();
    assert_eq!((runs.len(), &runs[2].job.parked, runs[2].job.opens_at), (3, &None, None));
    for id in &jobs[3..] {
        let job = stage.get(*id).await;
        assert_eq!((job.state, stage.parked(*id).await), (State::Ready, throttled()));
        stage.assert_same_time(job.opens_at.unwrap(), started + MINUTE);
        stage.assert_same_time(job.parked_at.unwrap(), started);
        let listed = all_jobs(&**stage.storage()).await;
        assert!(listed.contains(&job), "a list shows it as a look-up does");
    }
    let usage = stage.usage("r").await;
    assert_eq!((usage.running, usage.waiting, usage.throttled, usage.unique), (0, 0, 2, None));
    stage.assert_same_time(usage.paid_at.unwrap(), started + MINUTE * 3);
    worker.complete_all(&runs).await;
    stage.advance(MINUTE).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.job.opens_at, &run.job.parked), (jobs[3], None, &None));
    stage.assert_same_time(stage.get(jobs[4]).await.opens_at.unwrap(), started + MINUTE * 2);
    stage.assert_same_time(stage.usage("r").await.paid_at.unwrap(), started + MINUTE * 4);
    worker.finish(&run, completed()).await;
    assert_eq!(stage.act(jobs[4], &cancel()).await, Acted::Done(State::Cancelled));
    let job = stage.get(jobs[4]).await;
    assert_eq!((job.parked, job.parked_at, job.parked_for, job.opens_at), (None, None, None, None));
    stage.advance(MINUTE * 3).await;
    assert_eq!(stage.usage("r").await, Usage::new(), "paid");
}

/// A sleeper is told the moment at which the rate opens, and nothing where nobody waits for it any more.
pub(super) async fn the_opening_is_told(stage: &Stage) {
    let jobs = stage.enqueue_under(&three(), 4).await;
    let mut worker = stage.worker().await;
    assert_eq!(run(&mut worker, 9).await, jobs[..3]);
    assert_again(stage, &worker.look(9).await, Some(MINUTE));
    stage.advance(secs(20)).await;
    assert_again(stage, &worker.upkeep().await, Some(secs(40)));
    stage.cancel(jobs[3]).await;
    assert_again(stage, &worker.look(9).await, None);
    stage.advance(HOUR).await;
    stage.enqueue_under(&three(), 4).await;
    let answer = worker.look(9).await;
    assert_again(stage, &answer, Some(WATCH));
    worker.complete_all(&answer.claimed).await;
    assert_again(stage, &worker.look(9).await, Some(MINUTE));
}

/// Whoever looks when told runs everything at the full pace: no start is lost, and nobody is sent round in circles.
pub(super) async fn looking_when_told_keeps_the_pace(stage: &Stage) {
    stage.enqueue_under(&[rate("r", secs(7), 2)], 20).await;
    let mut worker = stage.worker().await;
    let start = stage.now().await;
    for _ in 0..40 {
        let runs = worker.claim(9).await;
        let settlements = runs.iter().map(|run| settled(run, completed())).collect();
        let Some(again) = worker.exchange(settlements, 0, 0).await.look_again else { break };
        stage.advance(again).await;
    }
    assert_eq!(stage.counts().await.ended.completed, 20);
    stage.assert_same_time(stage.now().await, start + secs(7) * 18);
}

/// However long nothing starts, no more than the burst may start at once afterwards.
pub(super) async fn rest_saves_no_more_than_the_burst(stage: &Stage) {
    let mut worker = stage.worker().await;
    stage.advance(DAY).await;
    for (starts, rest) in [(3, DAY), (3, MINUTE * 2), (2, MINUTE), (1, secs(59)), (0, HOUR), (3, DAY), (3, DAY)] {
        let jobs = stage.enqueue_under(&three(), 5).await;
        assert_eq!(run(&mut worker, 20).await, jobs[..starts]);
        stage.act_on(&jobs[starts..], &cancel()).await;
        stage.advance(rest).await;
    }
}

/// A job may count for several starts: it needs room for all of them, and pays for them.
pub(super) async fn a_dear_job_pays_its_price(stage: &Stage) {
    let of = |cost| stage.job_under([rate_at_cost("r", MINUTE, 4, cost)]);
    let [three, one, two] = stage.enqueue([of(3), of(1), of(2)]).await;
    let mut worker = stage.worker().await;
    let now = stage.now().await;
    assert_eq!(run(&mut worker, 9).await, [three, one]);
    stage.assert_same_time(stage.usage("r").await.paid_at.unwrap(), now + MINUTE * 4);
    stage.assert_same_time(stage.get(two).await.opens_at.unwrap(), now + MINUTE * 2);
    stage.advance_until_just_before(MINUTE * 2).await;
    assert_eq!(run(&mut worker, 9).await, []);
    stage.advance(stage.tick()).await;
    assert_eq!(run(&mut worker, 9).await, [two]);
    let [four] = stage.enqueue([of(4)]).await;
    assert_eq!(run(&mut worker, 9).await, []);
    stage.advance(MINUTE * 4).await;
    assert_eq!(run(&mut worker, 9).await, [four]);
}

/// Of jobs that count for several starts as many come back as there is room for all of their price.
pub(super) async fn dear_jobs_come_back_by_their_price(stage: &Stage) {
    let limits = [rate_at_cost("r", MINUTE, 6, 2)];
    stage.enqueue_under(&limits, 3).await;
    let mut worker = stage.worker().await;
    assert_eq!(run(&mut worker, 9).await.len(), 3);
    let jobs = stage.enqueue_under(&limits, 5).await;
    assert_eq!(worker.claim(9).await, []);
    stage.advance(MINUTE * 5).await;
    for _ in 0..2 {
        worker.upkeep().await;
        assert_eq!(stage.usage("r").await.throttled, 3, "there is room for two and a half");
    }
    stage.advance_until_just_before(MINUTE).await;
    worker.upkeep().await;
    assert_eq!(stage.usage("r").await.throttled, 3);
    stage.advance(stage.tick()).await;
    assert_eq!(run(&mut worker, 9).await, jobs[..3]);
}

/// A cheap job in front of a dear one does not wait until that one may start.
pub(super) async fn the_first_says_how_much_room_it_needs(stage: &Stage) {
    stage.enqueue_under(&three(), 3).await;
    let mut worker = stage.worker().await;
    assert_eq!(run(&mut worker, 9).await.len(), 3);
    let of = |cost| stage.job_under([rate_at_cost("r", MINUTE, 3, cost)]);
    let [cheap, dear] = stage.enqueue([of(1), of(3)]).await;
    assert_eq!(worker.claim(9).await, []);
    stage.advance(MINUTE).await;
    assert_eq!(run(&mut worker, 9).await, [cheap]);
    stage.advance_until_just_before(MINUTE * 3).await;
    assert_eq!(run(&mut worker, 9).await, []);
    stage.advance(stage.tick()).await;
    assert_eq!(run(&mut worker, 9).await, [dear]);
}

/// Whatever workers ask for and whenever: in no span of time t are there more starts than the burst and t / every.
pub(super) async fn no_span_holds_more(stage: &Stage) {
    let mut random = Rng::new();
    println!("seed {}", random.get_seed());
    for (n, (every, burst, cost)) in
        [(secs(1), 1, 1), (Duration::from_millis(700), 5, 1), (secs(10), 60, 1), (secs(3), 14, 4)]
            .into_iter()
            .enumerate()
    {
        let stage = stage.beside(&format!("walk-{n}"));
        let limit = rate_at_cost("r", every, burst, cost);
        stage.enqueue_under(&[limit], 600).await;
        let mut workers = [stage.worker().await, stage.worker().await];
        let mut starts = Vec::new();
        while starts.len() < 600 {
            let worker = &mut workers[random.usize(..2)];
            let runs = worker.claim(random.u32(..40)).await;
            worker.complete_all(&runs).await;
            starts.extend(runs.iter().map(|run| run.job.started_at.unwrap()));
            let rest = if random.u8(..10) == 0 { burst * 2 } else { 3 * cost };
            stage.advance(every.mul_f64(random.f64() * f64::from(rest))).await;
        }
        assert_spans(&starts, every, burst, cost);
    }
}

/// Asserts that any span of time holds no more starts of this cost than it may.
fn assert_spans(starts: &[Timestamp], every: Duration, burst: u32, cost: u32) {
    assert!(starts.is_sorted());
    for (first, from) in starts.iter().enumerate() {
        for (last, to) in starts.iter().enumerate().skip(first) {
            let held = (last - first + 1) as u128 * u128::from(cost);
            let allowed = u128::from(burst) + (*to - *from).as_micros() / every.as_micros();
            assert!(held <= allowed, "{held} starts between {from} and {to}, {allowed} were allowed");
        }
    }
}

/// Jobs that wait for a rate come back in their order, by priority first, as many as there is room for.
pub(super) async fn as_many_come_back_as_may(stage: &Stage) {
    let of = |priority| NewJob { priority, ..stage.job_under(three()) };
    stage.enqueue_under(&three(), 3).await;
    let mut worker = stage.worker().await;
    assert_eq!(run(&mut worker, 9).await.len(), 3);
    let [a, b, c, d, e] = stage.enqueue([of(0), of(1), of(0), of(2), of(-1)]).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!(stage.usage("r").await.throttled, 5);
    stage.advance(MINUTE * 2).await;
    for _ in 0..3 {
        worker.upkeep().await;
        for (id, back) in [(a, false), (b, true), (c, false), (d, true), (e, false)] {
            assert_eq!(stage.is_in_line(id).await, back);
        }
    }
    stage.advance_until_just_before(MINUTE).await;
    worker.upkeep().await;
    assert_eq!(stage.usage("r").await.throttled, 3, "those who came back may start first");
    stage.advance(stage.tick()).await;
    assert_eq!(run(&mut worker, 9).await, [d, b, a]);
    assert_eq!((stage.parked(c).await, stage.parked(e).await), (throttled(), throttled()));
    stage.advance(MINUTE).await;
    assert_eq!(run(&mut worker, 9).await, [c]);
    stage.advance(MINUTE).await;
    assert_eq!(run(&mut worker, 9).await, [e]);
}

/// Who came back stands in its old place, before those who came after it.
pub(super) async fn who_comes_back_keeps_its_place(stage: &Stage) {
    let jobs = stage.enqueue_under(&three(), 4).await;
    let mut worker = stage.worker().await;
    let place = stage.get(jobs[3]).await.sequence;
    assert_eq!(run(&mut worker, 9).await.len(), 3);
    let [after] = stage.enqueue([stage.job()]).await;
    stage.advance(MINUTE).await;
    let runs = worker.claim(9).await;
    assert_eq!((ids(&runs), runs[0].job.sequence), (vec![jobs[3], after], place));
}

/// No call brings back more than the contract says, however much room there is, and in the end everyone has run.
pub(super) async fn coming_back_is_bounded(stage: &Stage) {
    let limits = [rate("r", secs(1), 1_000)];
    stage.enqueue_under(&limits, 1).await;
    let mut worker = stage.worker().await;
    let first = worker.claim_one().await;
    worker.finish(&first, hold(MINUTE)).await;
    stage.enqueue_under(&limits, 250).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!(stage.usage("r").await.throttled, 250);
    stage.advance(MINUTE * 10).await;
    worker.upkeep().await;
    assert_eq!(stage.usage("r").await.throttled, 250 - u64::from(MAX_UPKEEP));
    for _ in 0..20 {
        while !run(&mut worker, 256).await.is_empty() {}
        stage.advance(MINUTE).await;
    }
    assert_eq!(stage.counts().await.ended.completed, 250);
}

/// A price is paid only by who starts: not while a slot is missing, another rate is closed, or the job is turned away.
pub(super) async fn only_who_starts_pays(stage: &Stage) {
    stage.enqueue([stage.job_under([slots("k", 1)]), stage.job_under([rate("closed", MINUTE, 1)])]).await;
    let mut worker = stage.worker().await;
    let others = [slots("k", 1), rate("closed", MINUTE, 1), slots_now_or_never("k", 1)];
    let before = others.clone().map(|other| stage.job_under([rate("r", DAY, 1), other]));
    let after = others.map(|other| stage.job_under([other, rate("r", DAY, 1)]));
    let [a, b, c] = stage.enqueue(before).await;
    let [d, e, f] = stage.enqueue(after).await;
    let [revoked] = stage.enqueue([stage.job_under([rate("r", DAY, 1)])]).await;
    let rule = Revocation { job: Some(revoked), ..Revocation::default() };
    stage.control(Control::Revoke(rule)).await;
    let runs = worker.claim(9).await;
    assert_eq!((runs.len(), stage.usage("r").await.paid_at), (2, None));
    for (id, parked) in
        [(a, Parked::LimitFull), (b, Parked::RateWindow), (d, Parked::LimitFull), (e, Parked::RateWindow)]
    {
        assert_eq!(stage.get(id).await.parked, Some(parked));
    }
    for id in [c, f, revoked] {
        assert_eq!(stage.state(id).await, State::Cancelled);
    }
    worker.finish(&runs[0], completed()).await;
    assert_eq!(run(&mut worker, 9).await, [a]);
    assert!(stage.usage("r").await.paid_at.is_some());
    stage.advance(MINUTE).await;
    assert_eq!(run(&mut worker, 9).await, [], "the other rate is open, this one is not");
    assert_eq!(stage.usage("closed").await.paid_at, None, "nor is it paid by who waits for this one");
}

/// Each start is paid for, also another one of the same job, however the last one ended.
pub(super) async fn every_start_is_paid(stage: &Stage) {
    let [id] = stage.enqueue_under(&[rate("r", HOUR, 4)], 1).await[..] else { panic!("one job") };
    let mut worker = stage.worker().await;
    let now = stage.now().await;
    for settlement in [Settlement::Release, Settlement::Retry { when: When::Now, failure: boom() }] {
        worker.run_one(settlement).await;
    }
    stage.worker().await.receive_one().await;
    stage.run_out(&mut worker).await;
    assert_eq!(worker.claim_ids(9).await, [id]);
    stage.assert_same_time(stage.usage("r").await.paid_at.unwrap(), now + HOUR * 4);
    let run = worker.repeat().await.claimed.remove(0);
    worker.finish(&run, Settlement::Release).await;
    assert_eq!(worker.claim(9).await, []);
    stage.assert_same_time(stage.get(id).await.opens_at.unwrap(), now + HOUR);
}

/// An exchange that is repeated pays nothing twice.
pub(super) async fn a_repeat_pays_nothing(stage: &Stage) {
    let jobs = stage.enqueue_under(&three(), 4).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim_ids(2).await, jobs[..2]);
    let paid = stage.usage("r").await;
    for _ in 0..3 {
        assert_eq!(ids(&worker.repeat().await.claimed), jobs[..2]);
        assert_eq!(stage.usage("r").await, paid);
    }
    assert_eq!(stage.worker().await.claim_ids(9).await, jobs[2..3]);
}

/// An edit of a job that waits for a rate, by hand or by another of its key, leaves it waiting for it, in its new place.
pub(super) async fn an_edit_loses_nobody(stage: &Stage) {
    let unique = Some(Unique::new(key("u"), Window::Finished, Conflict::Replace));
    for count in [1, 2] {
        let stage = stage.beside(&format!("{count}-wait"));
        let mut worker = stage.worker().await;
        stage.enqueue_under(&three(), 3).await;
        assert_eq!(run(&mut worker, 9).await.len(), 3);
        let job = || NewJob { unique: unique.clone(), ..stage.job_under(three()) };
        let [edited] = stage.enqueue([job()]).await;
        stage.enqueue_under(&three(), count - 1).await;
        assert_eq!(worker.claim(9).await, []);
        let edit = Act::Edit(Edit::new().priority(-1));
        assert_eq!(stage.act(edited, &edit).await, Acted::Done(State::Ready));
        assert_again(&stage, &worker.look(9).await, Some(MINUTE));
        let comer = NewJob { priority: 1, ..job() };
        assert_eq!(stage.caller().enqueue_one(comer).await, Admission::Replaced(edited, State::Ready));
        assert_eq!((stage.parked(edited).await, stage.usage("r").await.throttled), (throttled(), count as u64));
        assert_again(&stage, &worker.look(9).await, Some(MINUTE));
        stage.advance(MINUTE).await;
        assert_eq!(worker.claim_ids(9).await, [edited]);
    }
}

/// Who waits for a rate and then waits no more is passed over, and the others come when the rate opens.
pub(super) async fn who_waits_no_more_is_passed_over(stage: &Stage) {
    let expiring = NewJob { expires: Some(When::In(secs(30))), ..stage.job_under(three()) };
    stage.enqueue_under(&three(), 3).await;
    let mut worker = stage.worker().await;
    assert_eq!(run(&mut worker, 9).await.len(), 3);
    let jobs = stage.enqueue_under(&three(), 4).await;
    let [expired] = stage.enqueue([expiring]).await;
    assert_eq!(worker.claim(9).await, []);
    stage.cancel(jobs[0]).await;
    stage.act(jobs[1], &Act::Delete).await;
    stage.act(jobs[2], &Act::Edit(Edit::new().when(When::In(DAY)))).await;
    assert_eq!(stage.usage("r").await.throttled, 2);
    stage.advance(MINUTE).await;
    assert_eq!(worker.claim_ids(9).await, jobs[3..4]);
    assert_eq!((stage.state(expired).await, stage.usage("r").await.throttled), (State::Expired, 0));
}

/// A job whose rate has opened may still have to wait for a slot, and the other way round.
pub(super) async fn a_rate_and_a_slot_in_turn(stage: &Stage) {
    let limits = [rate("r", MINUTE, 1), slots("k", 1)];
    let jobs = stage.enqueue_under(&limits, 3).await;
    let mut worker = stage.worker().await;
    let first = worker.claim(9).await;
    assert_eq!(ids(&first), jobs[..1]);
    assert_eq!(stage.parked(jobs[1]).await, throttled(), "the first limit that holds it back");
    stage.advance(secs(40)).await;
    worker.renew(&[&first[0]]).await;
    stage.advance(secs(20)).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!(stage.parked(jobs[1]).await, Some((Parked::LimitFull, Some(key("k")))));
    worker.finish(&first[0], completed()).await;
    assert_eq!(worker.claim_ids(9).await, jobs[1..2]);
}

/// A sleeper hears of it when another's upkeep brings someone back.
pub(super) async fn who_sleeps_is_told(stage: &Stage) {
    stage.enqueue_under(&three(), 4).await;
    let mut worker = stage.worker().await;
    assert_eq!(run(&mut worker, 9).await.len(), 3);
    let (mut waker, listener) = sleeper(stage, &["t"]).await;
    stage.advance(MINUTE).await;
    stage.worker_of(&[]).await.upkeep().await;
    hear(&listener, "a rate has opened").await;
    assert_eq!(waker.claim(9).await.len(), 1);
}

/// Upkeep forgets what is paid and nothing else: a pruned shard holds back as before.
pub(super) async fn pruning_opens_nothing(stage: &Stage) {
    let jobs = stage.enqueue_under(&three(), 7).await;
    let mut worker = stage.worker().await;
    assert_eq!(run(&mut worker, 9).await.len(), 3);
    stage.prune(Retention::default()).await;
    assert_eq!(worker.claim(9).await, []);
    stage.advance(MINUTE * 2).await;
    stage.prune(Retention::default()).await;
    assert_eq!(run(&mut worker, 9).await, jobs[3..5]);
    stage.advance(MINUTE * 3).await;
    stage.prune(Retention::default()).await;
    assert_eq!(stage.usage("r").await.paid_at, None);
    assert_eq!(run(&mut worker, 9).await, jobs[5..]);
}

/// How fast jobs of a key may start is the word of each job.
pub(super) async fn each_goes_by_its_own_word(stage: &Stage) {
    let slow = stage.enqueue_under(&[rate("r", HOUR, 1)], 2).await;
    let mut worker = stage.worker().await;
    assert_eq!(run(&mut worker, 9).await, slow[..1]);
    let fast = stage.enqueue_under(&[rate("r", HOUR, 3)], 3).await;
    assert_eq!(run(&mut worker, 9).await, fast[..2]);
    assert_eq!((stage.parked(slow[1]).await, stage.parked(fast[2]).await), (throttled(), throttled()));
}

/// A worker that vanishes gives nothing back: what has started was a start.
pub(super) async fn a_lost_lease_gives_nothing_back(stage: &Stage) {
    let limits = [rate("r", DAY, 1)];
    let jobs = stage.enqueue_under(&limits, 2).await;
    let run = stage.worker().await.claim_one().await;
    assert_eq!(run.job.id, jobs[0]);
    let mut witness = stage.worker().await;
    stage.run_out(&mut witness).await;
    stage.advance(GRACE).await;
    assert_eq!(stage.get(jobs[0]).await.lapses, 1);
    assert_eq!(witness.claim(9).await, []);
}

/// Jobs that come back into line when their rate opens, and leave it unstarted, cost those behind them no turn: a thousand
/// that are revoked do not keep the next from its start for a thousand times as long.
pub(super) async fn who_leaves_the_line_gives_its_turn_on(stage: &Stage) {
    let pace = || [rate("r", HOUR, 1)];
    let mut worker = stage.worker().await;
    stage.enqueue([stage.job_under(pace())]).await;
    worker.run_one(completed()).await;
    let bad = |stage: &Stage| NewJob { tags: vec![tag("bad")], ..stage.job_under(pace()) };
    let strange = |stage: &Stage| NewJob { limits: pace().into(), ..stage.job_of("u") };
    let late = |stage: &Stage| NewJob { expires: Some(When::In(HOUR - MINUTE)), ..stage.job_under(pace()) };
    stage.enqueue([bad(stage), strange(stage), late(stage), bad(stage), strange(stage)]).await;
    let good = stage.enqueue_under(&pace(), 2).await;
    let mut both = stage.worker_of(&["t", "u"]).await;
    assert_eq!(both.claim(9).await, []);
    let revoked = Revocation { tag: Some(tag("bad")), ..Revocation::default() };
    stage.control(Control::Revoke(revoked)).await;
    stage.advance(HOUR).await;
    let mut started = Vec::new();
    for _ in 0..9 {
        let answer = worker.look(9).await;
        started.extend(ids(&answer.claimed));
        if answer.look_again != Some(Duration::ZERO) {
            break;
        }
    }
    assert_eq!(started, good[..1]);
    assert_eq!(stage.counts().await.ended.cancelled, 2);
}

/// The same when people call it off, or put it off, before any claim looks at it.
pub(super) async fn who_is_called_off_gives_its_turn_on(stage: &Stage) {
    let later = Act::Edit(Edit::new().when(When::In(DAY)));
    for (act, queue) in [(cancel(), "cancel"), (Act::Delete, "delete"), (later, "edit")] {
        let stage = stage.beside(queue);
        let mut worker = stage.worker().await;
        let jobs = stage.enqueue_under(&[rate("r", HOUR, 1)], 3).await;
        worker.run_one(completed()).await;
        assert_eq!(worker.claim(9).await, []);
        stage.advance(HOUR).await;
        worker.upkeep().await;
        assert!(stage.is_in_line(jobs[1]).await && !stage.is_in_line(jobs[2]).await);
        stage.act(jobs[1], &act).await;
        worker.upkeep().await;
        assert_eq!(worker.claim_ids(9).await, jobs[2..], "{queue}");
    }
}
