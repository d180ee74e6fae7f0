//! Rearming: ended jobs that waited for others wait for them again.

use std::time::Duration;

use super::acts::{ended, revive};
use super::flows::{How, call_off, gone, value};
use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, boom, cancel, completed, died, returned, secs, tag};
use crate::model::{Conflict, Ending, Input, JobId, NewJob, Node, State, Trigger, When, Window};
use crate::storage::{Act, Acted, Admission, JobQuery, MAX_UPKEEP};

/// Lets a job wait again, which must be possible; the state it is in then.
async fn rearm(stage: &Stage, id: JobId) -> State {
    match stage.act(id, &Act::Rearm).await {
        Acted::Done(state) => state,
        other => panic!("{other:?}"),
    }
}

async fn refused(stage: &Stage, id: JobId) {
    let before = stage.get(id).await;
    let counts = stage.counts().await;
    assert_eq!(stage.act(id, &Act::Rearm).await, Acted::Refused(before.state));
    assert_eq!((stage.get(id).await, stage.counts().await), (before, counts));
}

/// A job that was cancelled for another waits again as if it were new: nothing is left of its end, it counts once more,
/// its time is to be counted anew, and it keeps its place in lists. Then it is reached like any.
pub(super) async fn the_cancelled_wait_again(stage: &Stage) {
    let [bad, good] = stage.enqueue([stage.job(), stage.job()]).await;
    let timed = NewJob {
        when: When::In(MINUTE),
        expires: Some(When::In(HOUR)),
        tags: vec![tag("a")],
        ..stage.job_after([bad, good])
    };
    let [id, last] = stage.enqueue([timed, stage.job_at(When::In(DAY))]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    let before = stage.get(id).await;
    stage.act(bad, &revive()).await;
    assert_eq!(rearm(stage, id).await, State::Waiting);
    let job = stage.get(id).await;
    assert_eq!((job.state, &job.reason, job.culprit, job.ended_at), (State::Waiting, &None, None, None));
    assert_eq!((job.keep_until, job.expires_at, job.due_at, job.sequence), (None, None, None, None));
    assert_eq!((job.enqueued_at, job.when, job.expires), (before.enqueued_at, before.when, before.expires));
    assert_eq!((&job.envelope, &job.waits_for, &job.tags), (&before.envelope, &before.waits_for, &before.tags));
    let counts = stage.counts().await;
    assert_eq!((counts.enqueued, counts.ended.cancelled, counts.ended.dead, counts.live()), (6, 1, 1, 4));
    refused(stage, id).await;
    let listed = stage.storage().list(&JobQuery::default()).await.unwrap().jobs;
    assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), [bad, good, id, last]);
    assert_eq!(worker.run_one(completed()).await, good, "what was revived comes at the end of the line");
    stage.advance(HOUR).await;
    worker.run_one(returned(b"mended", HOUR)).await;
    let job = stage.get(id).await;
    assert_eq!(job.state, State::Scheduled);
    stage.assert_same_time(job.due_at.unwrap(), stage.now().await + MINUTE);
    stage.assert_same_time(job.expires_at.unwrap(), stage.now().await + MINUTE + HOUR);
    stage.advance(MINUTE).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (id, vec![value(b"mended"), Input::Nothing]));
}

/// What has ended meanwhile is followed at once: completions reach it, and a job that is dead still cancels it again.
pub(super) async fn what_has_ended_is_followed_at_once(stage: &Stage) {
    let [bad, good] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([good, bad])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    worker.run_one(gone()).await;
    stage.advance(MINUTE).await;
    stage.prune_all().await;
    assert!(stage.is_kept(good).await, "it may still be needed");
    for times in 2..4 {
        assert_eq!(rearm(stage, id).await, State::Cancelled);
        stage.assert_cancelled_for(id, bad).await;
        let counts = stage.counts().await;
        assert_eq!((counts.enqueued, counts.ended.cancelled), (times + 2, times));
    }
    stage.assert_same_time(stage.get(id).await.ended_at.unwrap(), stage.now().await);
    stage.act(bad, &revive()).await;
    worker.run_one(returned(b"bad", secs(0))).await;
    assert_eq!(rearm(stage, id).await, State::Ready, "all have completed");
    stage.advance(MINUTE).await;
    stage.prune_all().await;
    assert_eq!(worker.claim_one().await.inputs, [Input::Nothing, value(b"bad")], "they are kept for it");
}

/// Who was not needed waits again, and is there when a failure comes this time.
pub(super) async fn who_was_not_needed_waits_again(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_when(Trigger::Failed, [first])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    assert_eq!(rearm(stage, id).await, State::Cancelled, "it is not needed still");
    assert_eq!(stage.act(first, &revive()).await, Acted::Done(State::Ready));
    assert_eq!(rearm(stage, id).await, State::Waiting);
    worker.run_one(died()).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (id, vec![stage.failed(first).await]));
}

/// A gather waits again for its members, and completes with them.
pub(super) async fn a_gather_waits_again(stage: &Stage) {
    let [bad, good] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let [id] = stage.enqueue([stage.gather(Trigger::Completed, [good, bad])]).await;
    let [next] = stage.enqueue([stage.job_after([id])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    worker.run_one(returned(b"good", HOUR)).await;
    stage.act(bad, &revive()).await;
    assert_eq!(stage.act_on(&[id, next], &Act::Rearm).await, [Acted::Done(State::Waiting); 2]);
    worker.run_one(returned(b"mended", HOUR)).await;
    assert_eq!(stage.states([id, next]).await, [State::Completed, State::Ready]);
    assert_eq!(stage.inputs(id).await, [value(b"good"), value(b"mended")]);
    refused(stage, id).await;
}

/// A hold that was told of a failure waits for another delivery: it knows nothing of the first, and what expires it
/// counts from now.
pub(super) async fn a_hold_waits_again(stage: &Stage) {
    let hold = NewJob { expires: Some(When::In(HOUR)), ..stage.hold() };
    let [id] = stage.enqueue([hold]).await;
    let [next] = stage.enqueue([stage.job_after([id])]).await;
    let mut ending = Ending::new(stage.job().id, stage.job().task, State::Dead);
    (ending.failure, ending.keep_until) = (Some(boom()), Some(stage.now().await + DAY));
    stage.deliver(id, Input::Failed(Box::new(ending))).await;
    stage.advance(MINUTE).await;
    assert_eq!(stage.act_on(&[id, next], &Act::Rearm).await, [Acted::Done(State::Waiting); 2]);
    let job = stage.get(id).await;
    assert_eq!((job.state, job.failure, job.culprit), (State::Waiting, None, None));
    stage.assert_same_time(job.expires_at.unwrap(), stage.now().await + HOUR);
    assert_eq!(stage.deliver(id, value(b"after all")).await, Some(State::Completed));
    let run = stage.worker().await.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (next, vec![value(b"after all")]));
    refused(stage, id).await;
}

/// A relay that was sent is reached again by what it told of, once that is to run again, and stands in the outbox anew.
/// Its hold must wait by then: what is delivered to one that does not is lost, until the relay is rearmed once more.
pub(super) async fn a_relay_is_reached_again(stage: &Stage) {
    let there = stage.beside("there");
    let [hold] = there.enqueue([there.hold()]).await;
    let [first] = stage.enqueue([stage.job()]).await;
    let [relay] = stage.enqueue([stage.relay(first, &there, hold)]).await;
    let mut worker = stage.worker().await;
    let carry = async || {
        let parcel = stage.outbox(&[]).await.parcels.pop().expect("it stands there");
        assert_eq!((parcel.relay, parcel.to), (relay, hold));
        let state = there.deliver(hold, parcel.input).await;
        stage.outbox(&[relay]).await;
        state
    };
    worker.run_one(died()).await;
    assert_eq!(carry().await, Some(State::Cancelled));
    assert_eq!(rearm(stage, relay).await, State::Ready, "what it waits for is dead still");
    refused(stage, relay).await;
    assert_eq!(carry().await, Some(State::Cancelled), "told of the same");
    stage.act(first, &revive()).await;
    assert_eq!(rearm(stage, relay).await, State::Waiting);
    let job = stage.get(relay).await;
    assert_eq!((job.parked, job.sequence, job.ended_at), (None, None, None));
    worker.run_one(returned(b"at last", HOUR)).await;
    assert_eq!(carry().await, Some(State::Cancelled), "the hold waits no more: it is lost");
    assert_eq!(rearm(&there, hold).await, State::Waiting);
    assert_eq!(rearm(stage, relay).await, State::Ready);
    assert_eq!(carry().await, Some(State::Completed));
    assert_eq!(there.get(hold).await.result.as_deref(), Some(&b"at last"[..]));
    assert_eq!(stage.counts().await.enqueued, 2 + 1 + 3);
}

/// A diamond is rearmed from the top down: each waits for those above it, and it runs through. From below, who still has
/// a cancelled job above it is cancelled again.
pub(super) async fn from_the_top_down(stage: &Stage) {
    let [top] = stage.enqueue([stage.job()]).await;
    let [left, right] = stage.enqueue([stage.job_after([top]), stage.job_after([top])]).await;
    let [bottom] = stage.enqueue([stage.job_after([left, right])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    stage.act(top, &revive()).await;
    assert_eq!(rearm(stage, bottom).await, State::Cancelled);
    stage.assert_cancelled_for(bottom, top).await;
    let answer = stage.act_on(&[left, right, bottom], &Act::Rearm).await;
    assert_eq!(answer, [Acted::Done(State::Waiting); 3]);
    refused(stage, left).await;
    for id in [top, left, right] {
        assert_eq!(worker.run_one(returned(b"on", HOUR)).await, id);
    }
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (bottom, vec![value(b"on"), value(b"on")]));
    let counts = stage.counts().await;
    assert_eq!((counts.enqueued, counts.ended.cancelled, counts.ended.dead, counts.live()), (9, 4, 1, 1));
}

/// However a job ended that did not complete, it waits again, knows nothing of its runs but their history, and is reached
/// with what it waited for, which it kept. Nothing expires any more what had expired.
pub(super) async fn however_it_ended(stage: &Stage) {
    for how in How::ALL.into_iter().filter(|how| !how.is_good()) {
        let stage = stage.beside(&format!("rearm-{how:?}"));
        let mut worker = stage.worker().await;
        let [first] = stage.enqueue([stage.job_with(9)]).await;
        let limited = NewJob { deadline: Some(When::In(DAY)), waits_for: vec![first], ..how.job(&stage) };
        let [id] = stage.enqueue([limited]).await;
        worker.run_one(returned(b"x", Duration::ZERO)).await;
        how.end(&stage, &mut worker, id).await;
        let before = stage.get(id).await;
        stage.advance(MINUTE).await;
        stage.prune_all().await;
        assert_eq!(rearm(&stage, id).await, State::Ready, "{how:?}: what it waits for has completed");
        let job = stage.get(id).await;
        assert_eq!((job.attempts, job.crashes, job.lapses, job.suspect), (0, 0, 0, false), "{how:?}");
        assert_eq!((job.first_started_at, job.started_at, job.worker), (None, None, None), "{how:?}");
        assert_eq!((&job.failure, &job.reason, job.culprit, job.ended_at), (&None, &None, None, None), "{how:?}");
        assert_eq!(job.history, before.attempts_made(), "{how:?}");
        let expired = how == How::Expired;
        assert_eq!(
            (job.deadline, job.deadline_at.is_none()),
            (before.deadline.filter(|_| !expired), expired),
            "{how:?}"
        );
        stage.advance(MINUTE * 2).await;
        let run = worker.claim_one().await;
        assert_eq!((run.job.id, &run.inputs[..]), (id, &[value(b"x")][..]), "{how:?}");
        assert_eq!(run.job.first_started_at, run.job.started_at, "{how:?}");
        worker.finish(&run, completed()).await;
        refused(&stage, id).await;
    }
}

/// Who was called off, or expired, while it still waited waits on for those that have not ended.
pub(super) async fn who_still_waited_waits_again(stage: &Stage) {
    let [good, open] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let late = NewJob { deadline: Some(When::At(stage.now().await + MINUTE)), ..stage.job_after([good, open]) };
    let keep = NewJob { node: Node::Gather { keep: MINUTE }, ..stage.gather(Trigger::Completed, [good, open]) };
    let ids: [JobId; 3] = stage.enqueue([late, stage.job_after([good, open]), keep]).await;
    let mut worker = stage.worker().await;
    worker.run_one(returned(b"good", Duration::ZERO)).await;
    for id in &ids[1..] {
        call_off(stage, *id).await;
    }
    stage.advance(MINUTE).await;
    worker.upkeep().await;
    stage.prune_all().await;
    assert_eq!(stage.states(ids).await, [State::Expired, State::Cancelled, State::Cancelled]);
    for id in ids {
        assert_eq!(rearm(stage, id).await, State::Waiting);
        refused(stage, id).await;
    }
    worker.upkeep().await;
    assert_eq!(stage.states(ids).await, [State::Waiting; 3]);
    worker.run_one(returned(b"at last", HOUR)).await;
    assert_eq!(stage.states(ids).await, [State::Ready, State::Ready, State::Completed]);
    let inputs = [value(b"good"), value(b"at last")];
    assert_eq!(stage.inputs(ids[2]).await, inputs);
    for run in worker.claim(9).await {
        assert_eq!(run.inputs, inputs);
    }
}

/// Who took ends and failed over them waits for the ends that those come to next; what it was told of is forgotten.
pub(super) async fn who_took_ends_waits_for_them_again(stage: &Stage) {
    let [bad, other] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let [id] = stage.enqueue([stage.job_when(Trigger::Ended, [bad, other])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    worker.run_one(returned(b"kept", Duration::ZERO)).await;
    assert_eq!(worker.run_one(died()).await, id);
    assert_eq!(stage.act(bad, &revive()).await, Acted::Done(State::Ready));
    assert_eq!(rearm(stage, id).await, State::Waiting);
    assert_eq!(stage.act(bad, &revive()).await, Acted::Refused(State::Ready));
    worker.run_one(returned(b"mended", Duration::ZERO)).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (id, vec![value(b"mended"), value(b"kept")]));
}

/// A flow that was called off from its end back waits again from its beginning on, and runs through; with a hold in it.
pub(super) async fn what_was_called_off_is_put_together_again(stage: &Stage) {
    let [first, hold] = stage.enqueue([stage.job(), stage.hold()]).await;
    let [second] = stage.enqueue([stage.job_after([first])]).await;
    let [all] = stage.enqueue([stage.gather(Trigger::Completed, [second, hold])]).await;
    let [last] = stage.enqueue([stage.job_after([all])]).await;
    for id in [last, all, second, hold, first] {
        call_off(stage, id).await;
    }
    let waiting = [hold, second, all, last];
    assert_eq!(stage.act(first, &revive()).await, Acted::Done(State::Ready));
    assert_eq!(stage.act_on(&waiting, &Act::Rearm).await, [Acted::Done(State::Waiting); 4]);
    let mut worker = stage.worker().await;
    assert_eq!(worker.run_one(completed()).await, first);
    assert_eq!(worker.run_one(returned(b"here", HOUR)).await, second);
    assert_eq!(stage.deliver(hold, value(b"there")).await, Some(State::Completed));
    assert_eq!(worker.claim_one().await.inputs, [Input::Gathered(all)]);
    assert_eq!(stage.inputs(all).await, [value(b"here"), value(b"there")]);
    let counts = stage.counts().await;
    assert_eq!((counts.enqueued, counts.ended.cancelled, counts.live()), (10, 5, 1));
}

/// Those that were called off need nothing, however many they are, and though no worker has followed them yet.
pub(super) async fn what_is_not_followed_yet_hinders_nobody(stage: &Stage) {
    let firsts = stage.enqueue_many(150).await;
    let gathers = [(); 3].map(|()| stage.gather(Trigger::Completed, firsts.clone()));
    let gathers = stage.enqueue(gathers).await;
    let all = [&gathers[..], &firsts].concat();
    for some in all.chunks(100) {
        stage.act_on(some, &cancel()).await;
    }
    for some in firsts.chunks(100) {
        assert_eq!(stage.act_on(some, &revive()).await, vec![Acted::Done(State::Ready); some.len()]);
    }
    assert_eq!(stage.act_on(&gathers, &Act::Rearm).await, [Acted::Done(State::Waiting); 3]);
    let mut worker = stage.worker().await;
    let runs = worker.claim(150).await;
    worker.exchange(runs.iter().map(|run| super::actors::settled(run, completed())).collect(), 0, 0).await;
    worker.work_off().await;
    assert_eq!(stage.states(gathers).await, [State::Completed; 3]);
    assert_eq!(stage.counts().await.live(), 0);
}

/// Nobody is to deliver any more to a hold that expired: it does not wait again. One that was called off does.
pub(super) async fn an_expired_hold_is_refused(stage: &Stage) {
    let hold = || NewJob { expires: Some(When::In(HOUR)), ..stage.hold() };
    let [expired, off] = stage.enqueue([hold(), hold()]).await;
    let [next] = stage.enqueue([stage.job_after([expired])]).await;
    call_off(stage, off).await;
    stage.advance(HOUR).await;
    stage.worker().await.upkeep().await;
    assert_eq!(stage.states([expired, off]).await, [State::Expired, State::Cancelled]);
    refused(stage, expired).await;
    assert_eq!(rearm(stage, next).await, State::Cancelled, "what it waits for has expired still");
    assert_eq!(rearm(stage, off).await, State::Waiting);
    stage.assert_same_time(stage.get(off).await.expires_at.unwrap(), stage.now().await + HOUR);
    assert_eq!(stage.deliver(off, Input::Nothing).await, Some(State::Completed));
}

/// A job that completed does not wait again, nor one that has not ended, nor one that never waited.
pub(super) async fn others_are_refused(stage: &Stage) {
    for (id, _) in ended(stage).await {
        refused(stage, id).await;
    }
    let [running] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    worker.receive_one().await;
    let later = stage.job_at(When::In(DAY));
    let [waiting, ready, later] = stage.enqueue([stage.job_after([running]), stage.job(), later]).await;
    for id in [running, waiting, ready, later] {
        refused(stage, id).await;
    }
    assert_eq!(stage.act(stage.job().id, &Act::Rearm).await, Acted::Missing);
}

/// A job that another needs, or whose inputs are not all stored, does not wait again.
pub(super) async fn who_is_needed_is_refused(stage: &Stage) {
    let [bad, other] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let [id, lone] = stage.enqueue([stage.job_after([bad]), stage.job_after([bad])]).await;
    let [told] = stage.enqueue([stage.job_when(Trigger::Ended, [id, other])]).await;
    let keep = Node::Gather { keep: MINUTE };
    let [all] = stage.enqueue([NewJob { node: keep, ..stage.gather(Trigger::Ended, [lone]) }]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    assert_eq!(stage.states([told, all]).await, [State::Waiting, State::Completed]);
    refused(stage, id).await;
    refused(stage, lone).await;
    call_off(stage, told).await;
    assert_eq!(rearm(stage, id).await, State::Cancelled);
    stage.advance(MINUTE * 2).await;
    stage.prune_all().await;
    assert_eq!(rearm(stage, lone).await, State::Cancelled);
    assert_eq!(stage.prune(at_most(9, 0)).await.done, 1, "the dead letter goes");
    refused(stage, id).await;
    assert_eq!(stage.act(id, &revive()).await, Acted::Refused(State::Cancelled));
}

/// Who waits again is unique no more, and its key is free.
pub(super) async fn its_key_is_free(stage: &Stage) {
    let [bad] = stage.enqueue([stage.job()]).await;
    let unique = stage.job_unique(Window::Forever, Conflict::Reject);
    let [id] = stage.enqueue([NewJob { waits_for: vec![bad], ..unique.clone() }]).await;
    stage.worker().await.run_one(died()).await;
    assert_eq!(stage.usage("u").await.unique, Some(id));
    stage.act(bad, &revive()).await;
    assert_eq!(rearm(stage, id).await, State::Waiting);
    assert_eq!((stage.get(id).await.unique, stage.usage("u").await.unique), (None, None));
    let next = NewJob { id: stage.job().id, ..unique };
    assert_eq!(stage.caller().enqueue_one(next).await, Admission::Added(State::Ready));
}

/// Rearming that cancels again, or reaches, what many wait for is followed within the bounds of a call.
pub(super) async fn followed_in_bounds(stage: &Stage) {
    let [bad] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.gather(Trigger::Completed, [bad])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    stage.act(bad, &revive()).await;
    assert_eq!(rearm(stage, id).await, State::Waiting);
    stage.enqueue_all((0..250).map(|_| stage.job_after([id])).collect()).await;
    assert_eq!(stage.act(bad, &cancel()).await, Acted::Done(State::Cancelled));
    let cancelled = stage.counts().await.ended.cancelled;
    assert!(cancelled <= 2 + u64::from(MAX_UPKEEP), "{cancelled} at once");
    worker.work_off().await;
    assert_eq!((stage.counts().await.ended.cancelled, stage.counts().await.of(State::Waiting)), (253, 0));
}
