//! Triggers: each way in which the jobs before may end, and what becomes of who waits for them.

use super::flows::{How, call_off, value};
use super::stage::{DAY, HOUR, MINUTE, Stage, completed, died, returned};
use crate::model::{EndReason, Input, JobId, NewJob, Settlement, State, Trigger, When};
use crate::storage::{Admission, MAX_UPKEEP};

const ALL: [Trigger; 3] = [Trigger::Completed, Trigger::Ended, Trigger::Failed];

/// What becomes of a job when one that it waits for ends, as the first of two or as the last, the other one completed.
fn outcome(trigger: Trigger, how: How, is_last: bool) -> (State, Option<EndReason>) {
    match (trigger, how.is_good()) {
        (Trigger::Completed, false) => (State::Cancelled, Some(EndReason::Dependency)),
        (Trigger::Failed, false) => (State::Ready, None),
        (Trigger::Failed, true) if is_last => (State::Cancelled, Some(EndReason::NotNeeded)),
        _ if is_last => (State::Ready, None),
        _ => (State::Waiting, None),
    }
}

/// One that waits by each trigger for the one that ends so and for another, which is in line behind it, or completed.
async fn an_end(stage: &Stage, how: How, is_last: bool) {
    let mut worker = stage.worker().await;
    let [other] = stage.enqueue([stage.job()]).await;
    if is_last {
        worker.run_one(completed()).await;
    }
    let [first] = stage.enqueue([how.job(stage)]).await;
    let waiting = stage.enqueue(ALL.map(|trigger| stage.job_when(trigger, [first, other]))).await;
    how.end(stage, &mut worker, first).await;
    worker.upkeep().await;
    for (id, trigger) in waiting.into_iter().zip(ALL) {
        let (state, reason) = outcome(trigger, how, is_last);
        let job = stage.get(id).await;
        assert_eq!((job.state, &job.reason), (state, &reason), "{trigger:?}, {how:?}, last: {is_last}");
        assert_eq!(job.culprit, (reason == Some(EndReason::Dependency)).then_some(first));
        assert_eq!((job.sequence.is_some(), job.trigger), (state == State::Ready, trigger));
        let handed = if how.is_good() { value(b"good") } else { stage.failed(first).await };
        assert_eq!(stage.inputs(id).await[0], handed, "{how:?}");
    }
}

/// Every end of the first of two that a job waits for.
pub(super) async fn every_end_of_the_first(stage: &Stage) {
    for how in How::ALL {
        an_end(&stage.beside(&format!("first-{how:?}")), how, false).await;
    }
}

/// Every end of the last of two that a job waits for.
pub(super) async fn every_end_of_the_last(stage: &Stage) {
    for how in How::ALL {
        an_end(&stage.beside(&format!("last-{how:?}")), how, true).await;
    }
}

/// What has ended when a job comes is followed at once, and the answer tells the state.
pub(super) async fn every_end_that_came_before(stage: &Stage) {
    for how in How::ALL {
        let stage = stage.beside(&format!("before-{how:?}"));
        let mut worker = stage.worker().await;
        let [first] = stage.enqueue([how.job(&stage)]).await;
        how.end(&stage, &mut worker, first).await;
        let [other] = stage.enqueue([stage.job()]).await;
        for (waits_for, is_last) in [(vec![first], true), (vec![first, other], false), (vec![other, first], false)] {
            let jobs: Vec<_> = ALL.iter().map(|trigger| stage.job_when(*trigger, waits_for.clone())).collect();
            let mut caller = stage.caller();
            let answer = caller.enqueue(jobs.clone()).await;
            let expected = ALL.map(|trigger| Admission::Added(outcome(trigger, how, is_last).0));
            assert_eq!(answer, expected, "{how:?}, last: {is_last}");
            assert_eq!(caller.repeat().await, answer, "a lost answer is given again");
            for (job, trigger) in jobs.iter().zip(ALL) {
                assert_eq!(stage.get(job.id).await.reason, outcome(trigger, how, is_last).1, "{trigger:?}, {how:?}");
            }
        }
    }
}

/// A job named twice is one edge and two inputs, by every trigger, whether it has ended or is to end.
pub(super) async fn the_same_twice(stage: &Stage) {
    for how in [How::Completed, How::Dead] {
        let stage = stage.beside(&format!("twice-{how:?}"));
        let mut worker = stage.worker().await;
        let [first] = stage.enqueue([how.job(&stage)]).await;
        let twice = || ALL.map(|trigger| stage.job_when(trigger, [first, first]));
        let before = stage.enqueue(twice()).await;
        how.end(&stage, &mut worker, first).await;
        let after = stage.enqueue(twice()).await;
        for (id, trigger) in before.into_iter().chain(after).zip(ALL.into_iter().chain(ALL)) {
            assert_eq!(stage.state(id).await, outcome(trigger, how, true).0, "{trigger:?}, {how:?}");
            let inputs = stage.inputs(id).await;
            assert_eq!((inputs.len(), &inputs[0]), (2, &inputs[1]));
        }
        let ready = stage.counts().await.of(State::Ready);
        assert_eq!((ready, worker.claim(9).await.len()), (4, 4), "each is reached once");
    }
}

/// Of several, each must end for who waits for their ends, in any order, and each hands on how it ended.
pub(super) async fn all_must_end(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job_with(3), stage.job_with(2), stage.job_with(1)]).await;
    let [id] = stage.enqueue([stage.job_when(Trigger::Ended, [c, a, b, a])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    call_off(stage, c).await;
    assert_eq!(stage.state(id).await, State::Waiting);
    worker.run_one(returned(b"b", HOUR)).await;
    let run = worker.claim_one().await;
    let (a, c) = (stage.failed(a).await, stage.failed(c).await);
    assert_eq!((run.job.id, run.inputs), (id, vec![c, a.clone(), value(b"b"), a]));
    assert_eq!(b, stage.get(id).await.waits_for[2]);
}

/// Of several, one failure is enough for who waits for one: it is reached once, whatever the others do, and they are
/// still open when it runs.
pub(super) async fn one_failure_is_enough(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job_with(3), stage.job_with(2), stage.job_with(1)]).await;
    let [id] = stage.enqueue([NewJob { priority: 5, ..stage.job_when(Trigger::Failed, [a, b, c]) }]).await;
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    assert_eq!(stage.state(id).await, State::Waiting);
    worker.run_one(died()).await;
    let run = worker.claim_one().await;
    let expected = vec![Input::Nothing, stage.failed(b).await, Input::Open(State::Ready)];
    assert_eq!((run.job.id, &run.inputs), (id, &expected));
    worker.upkeep().await;
    let before = stage.get(id).await;
    worker.run_one(died()).await;
    assert_eq!(stage.get(id).await, before, "nothing reaches or cancels it any more");
    worker.finish(&run, completed()).await;
    assert_eq!((stage.counts().await.ended.total(), stage.counts().await.live()), (4, 0));
}

/// Who was there for a failure that never came is cancelled without anyone to blame, kept as long as the last that
/// completed, and who waits for it is cancelled for it.
pub(super) async fn who_is_not_needed(stage: &Stage) {
    let [a, b] = stage.enqueue([stage.job(), stage.job()]).await;
    let [id] = stage.enqueue([stage.job_when(Trigger::Failed, [a, b])]).await;
    let [after, always] = stage.enqueue([stage.job_after([id]), stage.job_when(Trigger::Ended, [id])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(returned(b"a", DAY)).await;
    worker.run_one(Settlement::Complete { result: None, keep: MINUTE }).await;
    let job = stage.get(id).await;
    assert_eq!((job.state, job.reason, job.culprit), (State::Cancelled, Some(EndReason::NotNeeded), None));
    assert_eq!(job.keep_until, stage.get(b).await.keep_until);
    stage.assert_cancelled_for(after, id).await;
    assert_eq!(stage.states([always]).await, [State::Ready]);
    assert_eq!(worker.claim_one().await.inputs, [stage.failed(id).await]);
    let counts = stage.counts().await;
    assert_eq!((counts.ended.cancelled, counts.ended.completed, counts.live()), (2, 2, 1));
    worker.upkeep().await;
    stage.advance_until_just_before(MINUTE).await;
    stage.prune_all().await;
    assert!(stage.is_kept(id).await && stage.is_kept(after).await && stage.is_kept(a).await);
}

/// Who was not needed is gone when its time is up, and needs nothing meanwhile.
pub(super) async fn who_was_not_needed_goes(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_when(Trigger::Failed, [first])]).await;
    stage.worker().await.run_one(returned(b"x", MINUTE)).await;
    stage.advance(MINUTE + stage.tick() * 2).await;
    stage.prune_all().await;
    assert!(!stage.is_kept(first).await && !stage.is_kept(id).await);
}

/// However it is reached, its delay counts from then, and so does what expires it.
pub(super) async fn the_reached_are_timed_from_then(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let timed =
        |trigger| NewJob { when: When::In(MINUTE), expires: Some(When::In(HOUR)), ..stage.job_when(trigger, [first]) };
    let [ended, failed] = stage.enqueue([timed(Trigger::Ended), timed(Trigger::Failed)]).await;
    stage.advance(DAY).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    for id in [ended, failed] {
        let job = stage.get(id).await;
        assert_eq!(job.state, State::Scheduled);
        stage.assert_same_time(job.due_at.unwrap(), stage.now().await + MINUTE);
        stage.assert_same_time(job.expires_at.unwrap(), stage.now().await + MINUTE + HOUR);
    }
    stage.advance(MINUTE).await;
    assert_eq!(worker.claim(9).await.len(), 2);
}

/// Whoever is cancelled down the line names the one that began it: through jobs, gathers and holds, but not past one
/// that ended for a reason of its own.
pub(super) async fn the_one_that_began_it_is_named(stage: &Stage) {
    let [root, hold] = stage.enqueue([stage.job(), stage.hold()]).await;
    let [a] = stage.enqueue([stage.job_after([root])]).await;
    let [b] = stage.enqueue([stage.gather(Trigger::Completed, [a])]).await;
    let [c, d] = stage.enqueue([stage.job_after([b]), stage.job_after([hold])]).await;
    let [e] = stage.enqueue([stage.gather(Trigger::Completed, [d, c])]).await;
    stage.worker().await.run_one(died()).await;
    for id in [a, b, c, e] {
        stage.assert_cancelled_for(id, root).await;
    }
    assert_eq!(stage.states([d, hold]).await, [State::Waiting; 2]);
    let told = stage.failed(c).await;
    assert_eq!(stage.deliver(hold, told).await, Some(State::Cancelled));
    stage.assert_cancelled_for(hold, root).await;
    stage.assert_cancelled_for(d, root).await;
    let [f] = stage.enqueue([stage.job()]).await;
    let [g] = stage.enqueue([stage.job_after([f])]).await;
    let [h] = stage.enqueue([stage.job_after([g])]).await;
    call_off(stage, g).await;
    stage.assert_cancelled_for(h, g).await;
}

/// What reaches many, or spares many, is followed within the bounds of a call, and nobody is forgotten.
pub(super) async fn many_are_followed_in_bounds(stage: &Stage) {
    for (trigger, how) in [(Trigger::Ended, How::Dead), (Trigger::Failed, How::Dead), (Trigger::Failed, How::Completed)]
    {
        let stage = stage.beside(&format!("many-{trigger:?}-{how:?}"));
        let [first] = stage.enqueue([how.job(&stage)]).await;
        let crowd: Vec<NewJob> = (0..250).map(|_| stage.job_when(trigger, [first])).collect();
        let crowd: Vec<JobId> = stage.enqueue_all(crowd).await;
        let mut worker = stage.worker().await;
        how.end(&stage, &mut worker, first).await;
        let waiting = stage.counts().await.of(State::Waiting);
        assert!(waiting >= 250 - 2 * u64::from(MAX_UPKEEP), "{waiting} wait still");
        worker.work_off().await;
        let expected = outcome(trigger, how, true).0;
        assert_eq!((stage.counts().await.of(expected), stage.counts().await.of(State::Waiting)), (250, 0));
        assert_eq!(stage.state(crowd[249]).await, expected);
    }
}
