//! Slots: of a key never more run than may, the others wait in their places, and nobody else waits with them.

use super::actors::ids;
use super::keys::MIXED;
use super::stage::{
    DAY, HALF, HOUR, MINUTE, Stage, completed, key, rate, rate_at_cost, retry_in, secs, slots, slots_now_or_never,
    terms,
};
use crate::model::{
    Conflict, EndReason, JobId, Key, Limit, MAX_LIMITS, NewJob, Parked, Rate, State, Unique, When, Window,
};
use crate::storage::{Act, Acted, Admission, Control, Edit, JobQuery, LeaseTerms, MAX_HEADS, Revocation, Scope, Usage};

fn full(name: &str) -> Option<(Parked, Option<Key>)> {
    Some((Parked::LimitFull, Some(key(name))))
}

/// What a job is under is stored as it came, and comes with a claim.
pub(super) async fn limits_are_stored_as_they_came(stage: &Stage) {
    let limits = [
        slots("a", 3),
        slots_now_or_never("évènement/é.b", u32::MAX),
        rate_at_cost("a", secs(7), 9, 4),
        rate("c", std::time::Duration::from_micros(1), u32::MAX),
    ];
    let [id] = stage.enqueue([stage.job_under(limits.clone())]).await;
    assert_eq!(stage.get(id).await.limits, limits);
    let run = stage.worker().await.claim_one().await;
    assert_eq!(run.job.limits, limits);
}

/// Limits under which nothing could ever run, too many, or one kind and key twice refuse the whole call.
pub(super) async fn impossible_limits_are_invalid(stage: &Stage) {
    let mut caller = stage.caller();
    let many = |count| (0..count).map(|n| slots(&format!("k{n}"), 1)).collect::<Vec<_>>();
    let rate_of = |every, burst| Limit::Rate { key: key("r"), rate: Rate { every, burst }, cost: 1 };
    let impossible = [
        vec![slots("k", 0)],
        vec![slots_now_or_never("k", 0)],
        vec![rate_of(MINUTE, 0)],
        vec![rate_of(secs(0), 1)],
        vec![rate_at_cost("r", MINUTE, 3, 0)],
        vec![rate_at_cost("r", MINUTE, 3, 4)],
        vec![slots("k", 1), rate("k", MINUTE, 1), slots_now_or_never("k", 2)],
        vec![rate("k", MINUTE, 1), slots("k", 1), rate("k", HOUR, 1)],
        many(MAX_LIMITS + 1),
    ];
    for limits in impossible {
        let call = caller.next(vec![stage.job(), stage.job_under(limits.clone())]);
        assert!(caller.make(call).await.unwrap_err().is_invalid(), "{limits:?}");
    }
    assert_eq!(stage.counts().await.enqueued, 0);
    let possible = [many(MAX_LIMITS), vec![slots("k", 1), rate("k", MINUTE, 1)], vec![rate_at_cost("r", MINUTE, 3, 3)]];
    caller.add(possible.map(|limits| stage.job_under(limits)).into()).await;
}

/// No more jobs of a key run than it has slots, whoever asks; the others are parked, and tell for what.
pub(super) async fn never_more_than_there_are(stage: &Stage) {
    let jobs = stage.enqueue_under(&[slots("k", 2)], 5).await;
    let mut worker = stage.worker().await;
    let answer = worker.look(9).await;
    assert_eq!(ids(&answer.claimed), jobs[..2]);
    assert!(answer.parked.is_empty(), "their task is known");
    for id in &jobs[2..] {
        let job = stage.get(*id).await;
        assert_eq!((job.state, stage.parked(*id).await), (State::Ready, full("k")));
        assert_eq!((job.opens_at, job.attempts, job.started_at), (None, 0, None));
        stage.assert_same_time(job.parked_at.unwrap(), answer.claimed[0].job.started_at.unwrap());
    }
    let usage = stage.usage("k").await;
    assert_eq!((usage.running, usage.waiting, usage.throttled), (2, 3, 0));
    assert_eq!((usage.unique, usage.unique_until, usage.paid_at), (None, None, None));
    assert_eq!((stage.counts().await.parked, stage.counts().await.pending()), (3, 3));
    assert_eq!(worker.claim(9).await, []);
    assert_eq!(stage.worker().await.claim(9).await, [], "nor for another");
    worker.complete_all(&answer.claimed[..1]).await;
    let next = stage.worker().await.claim(9).await;
    assert_eq!(ids(&next), jobs[2..3]);
    assert_eq!((&next[0].job.parked, next[0].job.parked_at, &next[0].job.parked_for), (&None, None, &None));
    assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (2, 2));
}

/// A key that nobody uses is not used.
pub(super) async fn an_unused_key_is_empty(stage: &Stage) {
    assert_eq!(stage.usage("k").await, Usage::new());
    stage.enqueue([stage.job_under([slots("k", 1), rate("k", MINUTE, 1)])]).await;
    assert_eq!(stage.usage("k").await, Usage::new(), "who is in line uses nothing");
    stage.worker().await.run_one(completed()).await;
    stage.advance(MINUTE).await;
    assert_eq!(stage.usage("k").await, Usage::new());
}

/// A job that would be ready while no slot is free is parked as it is taken in, and hides nobody behind it.
pub(super) async fn who_comes_while_it_is_full_is_parked_at_once(stage: &Stage) {
    let [runner] = stage.enqueue([stage.job_under([slots("k", 1)])]).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim_ids(1).await, [runner]);
    let jobs = [
        stage.job_under([slots("k", 1)]),
        stage.job_under([slots("other", 1)]),
        stage.job_under([slots("other", 1), rate("r", MINUTE, 1), slots("k", 1)]),
        NewJob { when: When::In(HOUR), ..stage.job_under([slots("k", 1)]) },
        NewJob { waits_for: vec![runner], ..stage.job_under([slots("k", 1)]) },
        stage.job_under([slots("k", 2)]),
        stage.job_under([slots_now_or_never("k", 1)]),
    ];
    let ids = jobs.each_ref().map(|job| job.id);
    let answer = stage.caller().enqueue(jobs.into()).await;
    use State::{Ready, Scheduled, Waiting};
    assert_eq!(answer, [Ready, Ready, Ready, Scheduled, Waiting, Ready, Ready].map(Admission::Added));
    let parked = [full("k"), None, full("k"), None, None, None, None];
    for (id, parked) in ids.into_iter().zip(parked) {
        assert_eq!(stage.parked(id).await, parked);
        let job = stage.get(id).await;
        assert_eq!(job.parked_at, job.parked.is_some().then_some(job.enqueued_at));
        assert_eq!(job.sequence.is_some(), job.state == Ready, "it has its place all the same");
    }
    assert_eq!((stage.counts().await.parked, stage.usage("k").await.waiting), (2, 2));
}

/// A job that becomes ready later, by its time or by being reached, is held back when it comes to run.
pub(super) async fn who_comes_later_is_held_back_too(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    let before = worker.claim_one().await;
    let limits = [slots("k", 1)];
    stage.enqueue_under(&limits, 1).await;
    let runner = worker.claim_one().await;
    let due = NewJob { when: When::In(secs(9)), ..stage.job_under(limits.clone()) };
    let [reached, due] = stage.enqueue([NewJob { waits_for: vec![first], ..stage.job_under(limits) }, due]).await;
    worker.finish(&before, completed()).await;
    stage.advance(secs(9)).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!((stage.parked(reached).await, stage.parked(due).await), (full("k"), full("k")));
    worker.finish(&runner, completed()).await;
    assert_eq!(worker.claim_ids(9).await, [reached]);
}

/// Those who wait come by priority, then in their order, each in its old place.
pub(super) async fn the_first_by_priority_comes_first(stage: &Stage) {
    let under = |priority| NewJob { priority, ..stage.job_under([slots("k", 1)]) };
    stage.enqueue([under(0)]).await;
    let mut worker = stage.worker().await;
    let mut run = worker.claim_one().await;
    let [a, b, c, d] = stage.enqueue([under(-1), under(0), under(7), under(0)]).await;
    let place = stage.get(b).await.sequence;
    for (n, next) in [c, b, d, a].into_iter().enumerate() {
        worker.finish(&run, completed()).await;
        assert_eq!(stage.usage("k").await.waiting, 3 - n as u64, "one came back, not more");
        assert!(stage.is_in_line(next).await);
        run = worker.claim(9).await.remove(0);
        assert_eq!(run.job.id, next);
    }
    assert_eq!(stage.get(b).await.sequence, place);
}

/// A job that waits for a slot stands behind whoever comes before it once it is back: places are kept, not given anew.
pub(super) async fn who_comes_back_stands_in_its_old_place(stage: &Stage) {
    let limits = [slots("k", 1)];
    stage.enqueue_under(&limits, 1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let [before] = stage.enqueue([stage.job()]).await;
    let waited = stage.enqueue_under(&limits, 1).await[0];
    let [after, urgent] = stage.enqueue([stage.job(), stage.job_with(1)]).await;
    worker.finish(&run, completed()).await;
    assert_eq!(worker.claim_ids(9).await, [urgent, before, waited, after]);
}

/// An edit moves a job among those who wait for a slot.
pub(super) async fn who_waits_may_be_moved_up(stage: &Stage) {
    let limits = [slots("k", 1)];
    stage.enqueue_under(&limits, 1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let waiting = stage.enqueue_under(&limits, 3).await;
    let edit = Act::Edit(Edit::new().priority(1));
    assert_eq!(stage.act(waiting[2], &edit).await, Acted::Done(State::Ready));
    assert_eq!((stage.parked(waiting[2]).await, stage.usage("k").await.waiting), (full("k"), 3));
    worker.finish(&run, completed()).await;
    assert_eq!(worker.claim_ids(9).await, [waiting[2]]);
}

/// Of several keys a job waits for the first that is full, and when it runs it has a slot of each.
pub(super) async fn of_two_keys_it_waits_for_the_first_that_is_full(stage: &Stage) {
    let mut worker = stage.worker().await;
    let mut run = Vec::new();
    for name in ["a", "b"] {
        stage.enqueue_under(&[slots(name, 1)], 1).await;
        run.push(worker.claim_one().await);
    }
    let [ab, ba] = [["a", "b"], ["b", "a"]].map(|names| stage.job_under(names.map(|name| slots(name, 1))));
    let [ab, ba] = stage.enqueue([ab, ba]).await;
    assert_eq!((stage.parked(ab).await, stage.parked(ba).await), (full("a"), full("b")));
    worker.finish(&run[0], completed()).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!((stage.parked(ab).await, stage.parked(ba).await), (full("b"), full("b")));
    let free = stage.enqueue_under(&[slots("a", 1)], 1).await;
    assert_eq!(worker.claim_ids(9).await, free, "who waits for the one keeps no slot of the other");
    worker.complete_all(&[run.remove(1)]).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!((stage.parked(ab).await, stage.parked(ba).await), (full("a"), full("a")));
}

/// A job with two keys takes a slot of each with its claim, and frees both with its end.
pub(super) async fn two_keys_are_taken_and_freed_together(stage: &Stage) {
    let both = stage.enqueue_under(&[slots("a", 1), slots("b", 1)], 1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    assert_eq!([run.job.id], both[..]);
    let [a, b] = stage.enqueue(["a", "b"].map(|name| stage.job_under([slots(name, 1)]))).await;
    for (name, id) in [("a", a), ("b", b)] {
        assert_eq!((stage.usage(name).await.running, stage.parked(id).await), (1, full(name)));
    }
    worker.finish(&run, completed()).await;
    assert!(stage.is_in_line(a).await && stage.is_in_line(b).await);
    assert_eq!(worker.claim_ids(9).await, [a, b]);
}

/// Slots of a key, its rate, its uniqueness, and the same key in another queue have nothing to do with each other.
pub(super) async fn keys_are_apart(stage: &Stage) {
    let other = stage.beside("other");
    for stage in [stage, &other] {
        let jobs = stage.enqueue_under(&[slots("k", 1)], 2).await;
        assert_eq!(stage.worker().await.claim_ids(9).await, jobs[..1]);
        assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, 1));
        assert_eq!(stage.usage("k2").await.running, 0);
    }
    let unique = Unique::new(key("k"), Window::Finished, Conflict::Existing);
    let jobs = [
        stage.job_under([slots("k2", 1)]),
        stage.job_under([rate("k", MINUTE, 1)]),
        NewJob { unique: Some(unique), ..stage.job() },
    ];
    let expected = stage.enqueue(jobs).await;
    assert_eq!(stage.worker().await.claim_ids(9).await, expected);
}

/// How many slots there are is the word of each job: the one with more of them starts where the other waits.
pub(super) async fn each_goes_by_its_own_word(stage: &Stage) {
    let mut worker = stage.worker().await;
    stage.enqueue_under(&[slots(MIXED, 3)], 2).await;
    let mut runs = worker.claim(9).await;
    let two = stage.enqueue_under(&[slots(MIXED, 2)], 1).await[0];
    let three = stage.enqueue_under(&[slots(MIXED, 3)], 1).await[0];
    assert_eq!((stage.parked(two).await, stage.parked(three).await), (full(MIXED), None));
    runs.extend(worker.claim(9).await);
    assert_eq!((runs.len(), runs[2].job.id), (3, three));
    for left in [2, 1] {
        assert_eq!(worker.claim(9).await, []);
        worker.complete_all(&[runs.pop().unwrap()]).await;
        assert_eq!(stage.usage(MIXED).await.running, left);
    }
    assert_eq!(worker.claim_ids(9).await, [two]);
}

/// Whatever words jobs of one key have, each starts where fewer run than it says, and none waits for ever.
pub(super) async fn mixed_words_all_get_their_turn(stage: &Stage) {
    let mut random = fastrand::Rng::with_seed(7);
    let jobs: Vec<_> = (0..60).map(|_| stage.job_under([slots(MIXED, random.u32(1..5))])).collect();
    stage.enqueue_all(jobs).await;
    let mut worker = stage.worker().await;
    let mut running = Vec::new();
    while stage.counts().await.live() > 0 {
        for run in worker.claim(random.u32(1..9)).await {
            let Limit::Slots { most, .. } = run.job.limits[0] else { panic!("it has slots") };
            assert!(running.len() < most as usize, "{} ran when one of {most} came", running.len());
            running.push(run);
        }
        assert!(!running.is_empty(), "someone may always run");
        let ended = running.swap_remove(random.usize(..running.len()));
        worker.finish(&ended, completed()).await;
    }
}

/// A job that is not to wait is cancelled when it comes to run while no slot is free, and not before.
pub(super) async fn who_is_not_to_wait_is_cancelled(stage: &Stage) {
    let lease = LeaseTerms { keep_ended: DAY, ..terms() };
    let mut worker = stage.worker_on(lease).await;
    let limits = [slots_now_or_never("k", 1)];
    let jobs = stage.enqueue_under(&limits, 2).await;
    let [behind] = stage.enqueue([stage.job()]).await;
    let answer = worker.look(9).await;
    assert_eq!(ids(&answer.claimed), [jobs[0], behind]);
    let job = stage.get(jobs[1]).await;
    assert_eq!((job.state, job.reason, job.worker), (State::Cancelled, Some(EndReason::Full), None));
    assert_eq!((job.keep_until, job.started_at), (job.ended_at.map(|at| at + DAY), None));
    assert_eq!((stage.counts().await.ended.cancelled, stage.usage("k").await.running), (1, 1));
    let late = stage.enqueue_under(&limits, 1).await[0];
    assert!(stage.is_in_line(late).await, "it has not come to run yet");
    worker.finish(&answer.claimed[0], completed()).await;
    assert_eq!(worker.claim_ids(9).await, [late], "and finds one free when it does");
}

/// Who waits for a job that found no slot is cancelled after it, like after any end.
pub(super) async fn who_waits_for_the_cancelled_is_cancelled(stage: &Stage) {
    let jobs = stage.enqueue_under(&[slots_now_or_never("k", 1)], 2).await;
    let [next] = stage.enqueue([stage.job_after([jobs[1]])]).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim_ids(9).await, jobs[..1]);
    worker.work_off().await;
    let next = stage.get(next).await;
    assert_eq!((next.state, next.culprit), (State::Cancelled, Some(jobs[1])));
}

/// Fifty full keys in front of a free job hide it from nobody.
pub(super) async fn fifty_full_keys_hide_nobody(stage: &Stage) {
    let under = |n: usize| stage.job_under([slots(&format!("k{}", n % 50), 1)]);
    let jobs = stage.enqueue_all((0..200).map(under).collect()).await;
    let [free] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    let mut expected = jobs[..50].to_vec();
    expected.push(free);
    let runs = worker.claim(60).await;
    assert_eq!(ids(&runs), expected);
    assert_eq!(stage.counts().await.parked, 150);
    worker.complete_all(&runs).await;
    assert_eq!(worker.claim_ids(60).await, jobs[50..100], "each key brought its next");
}

/// A crowd of one key, larger than a call looks at, is set aside by and by, and looked at once.
pub(super) async fn a_crowd_is_set_aside_by_and_by(stage: &Stage) {
    let crowd = stage.enqueue_under(&[slots("k", 1)], 600).await;
    let [free] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    let first = worker.look(9).await;
    assert_eq!((ids(&first.claimed), first.look_again), (crowd[..1].to_vec(), Some(secs(0))));
    assert!(stage.counts().await.parked < u64::from(MAX_HEADS));
    let mut found = Vec::new();
    for _ in 0..3 {
        found.extend(worker.claim_ids(9).await);
    }
    assert_eq!((found, stage.usage("k").await.waiting), (vec![free], 599));
    assert_ne!(worker.look(9).await.look_again, Some(secs(0)), "a parked crowd is no work");
    worker.finish(&first.claimed[0], completed()).await;
    assert_eq!(stage.usage("k").await.waiting, 598);
    assert_eq!(worker.claim_ids(9).await, crowd[1..2]);
}

/// An exchange that is repeated takes no slot twice, and what it took is held though its answer was lost.
pub(super) async fn a_repeat_takes_no_slot_twice(stage: &Stage) {
    let jobs = stage.enqueue_under(&[slots("k", 2)], 4).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim_ids(1).await, jobs[..1]);
    for _ in 0..3 {
        assert_eq!(ids(&worker.repeat().await.claimed), jobs[..1]);
        assert_eq!(stage.usage("k").await.running, 1);
    }
    let mut other = stage.worker().await;
    assert_eq!(other.claim_ids(9).await, jobs[1..2]);
    assert_eq!(ids(&worker.repeat().await.claimed), jobs[..1]);
    assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (2, 2));
}

/// A settlement that is repeated frees no slot twice: who got the slot keeps it.
pub(super) async fn a_repeat_frees_no_slot_twice(stage: &Stage) {
    let jobs = stage.enqueue_under(&[slots("k", 1)], 3).await;
    let (mut worker, mut other) = (stage.worker().await, stage.worker().await);
    let run = worker.claim_one().await;
    worker.finish(&run, retry_in(DAY)).await;
    assert_eq!(other.claim_ids(9).await, jobs[1..2]);
    for _ in 0..3 {
        worker.repeat().await;
        assert_eq!((stage.usage("k").await.running, stage.parked(jobs[2]).await), (1, full("k")));
    }
    assert_eq!(worker.claim(9).await, []);
}

/// A revived job is under its limits still.
pub(super) async fn a_revived_job_keeps_its_limits(stage: &Stage) {
    let limits = [slots("k", 1), rate("r", secs(9), 2)];
    let jobs = stage.enqueue_under(&limits, 2).await;
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    let runner = worker.claim_one().await;
    stage.advance(secs(9)).await;
    assert_eq!(stage.act(jobs[0], &Act::Revive(Edit::new())).await, Acted::Done(State::Ready));
    assert_eq!(worker.claim(9).await, []);
    assert_eq!((stage.get(jobs[0]).await.limits, stage.parked(jobs[0]).await), (limits.into(), full("k")));
    worker.finish(&runner, completed()).await;
    assert_eq!(worker.claim_ids(9).await, jobs[..1]);
}

/// What is held back stays so in a storage that is opened anew.
pub(super) async fn opened_anew_it_holds_back(stage: &Stage) {
    let jobs = stage.enqueue_under(&[slots("k", 1)], 3).await;
    let rated = stage.enqueue_under(&[rate("r", HALF, 2)], 5).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(9).await;
    assert_eq!(ids(&runs), [jobs[0], rated[0], rated[1]]);
    let before = (stage.usage("k").await, stage.usage("r").await);
    let Some(stage) = stage.reopen().await else { return };
    worker.storage = stage.storage().clone();
    assert_eq!((stage.usage("k").await, stage.usage("r").await), before);
    assert_eq!(worker.claim(9).await, []);
    stage.advance(HALF).await;
    assert_eq!(worker.claim_ids(9).await, rated[2..3]);
    worker.finish(&runs[0], completed()).await;
    assert_eq!(worker.claim_ids(9).await, jobs[1..2]);
    stage.end().await;
}

/// How many slots are free says nothing of a queue that is paused: it holds what came back until it goes on.
pub(super) async fn a_pause_holds_who_came_back(stage: &Stage) {
    let jobs = stage.enqueue_under(&[slots("k", 1)], 3).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    assert_eq!(worker.claim(9).await, []);
    stage.pause(Scope::Queue).await;
    worker.finish(&run, completed()).await;
    assert_eq!(worker.claim(9).await, []);
    assert!(stage.is_in_line(jobs[1]).await);
    assert_eq!(stage.parked(jobs[2]).await, full("k"));
    stage.resume(Scope::Queue).await;
    assert_eq!(worker.claim_ids(9).await, jobs[1..2]);
}

/// The jobs of a key are found by it, whatever the key is for, and called off by it.
pub(super) async fn jobs_are_found_by_their_keys(stage: &Stage) {
    let unique =
        |name| NewJob { unique: Some(Unique::new(key(name), Window::Finished, Conflict::Existing)), ..stage.job() };
    let jobs = [
        stage.job_under([slots("k", 9)]),
        stage.job_under([slots("other", 1), rate("k", MINUTE, 9)]),
        unique("k"),
        unique("other"),
        stage.job(),
    ];
    let jobs = stage.enqueue(jobs).await;
    let query = |name| JobQuery { key: Some(key(name)), ..JobQuery::default() };
    let found = async |name| -> Vec<JobId> {
        stage.storage().list(&query(name)).await.unwrap().jobs.iter().map(|job| job.id).collect()
    };
    assert_eq!(found("k").await, jobs[..3]);
    assert_eq!(found("other").await, [jobs[1], jobs[3]]);
    assert_eq!(found("nowhere").await, []);
    let rule = Revocation { key: Some(key("k")), ..Revocation::default() };
    assert!(stage.control(Control::Revoke(rule)).await);
    assert_eq!(stage.worker().await.claim_ids(9).await, jobs[3..]);
    for id in &jobs[..3] {
        assert_eq!(stage.get(*id).await.reason, Some(EndReason::Revoked));
    }
    for name in ["k", "other"] {
        assert_eq!((stage.usage(name).await.running, stage.usage(name).await.paid_at), (0, None), "{name}");
    }
}

/// A job that comes back for a slot and is overdue itself expires in the same call, and stands in no line then.
pub(super) async fn who_comes_back_overdue_expires(stage: &Stage) {
    let [first] = stage.enqueue([stage.job_under([slots("k", 1)])]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    assert_eq!(run.job.id, first);
    let short = || NewJob { expires: Some(When::In(MINUTE)), ..stage.job_under([slots("k", 1)]) };
    let waiting = stage.enqueue([short(), short()]).await;
    worker.finish(&run, completed()).await;
    stage.advance(HOUR).await;
    worker.upkeep().await;
    for id in waiting {
        assert_eq!(stage.state(id).await, State::Expired);
    }
    assert_eq!((stage.counts().await.live(), worker.claim_ids(9).await), (0, Vec::new()));
}
