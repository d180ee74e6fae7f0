//! Reviving: ended jobs that run again, as if they were new.

use std::time::Duration;

use bytes::Bytes;

use super::acts::{ended, revive};
use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, completed, died, retry_in, returned, secs, snooze_in, terms};
use crate::model::{Input, NewJob, Progress, Settlement, State, Trigger, When};
use crate::storage::{Act, Acted, Edit, JobQuery, LeaseTerms, Retention};

/// An ended job runs again as if it were new: counters at zero, nothing left of its end, and nothing expires it.
pub(super) async fn reviving(stage: &Stage) {
    for (id, state) in ended(stage).await {
        let before = stage.get(id).await;
        let [ready] = stage.enqueue([stage.job()]).await;
        assert_eq!(stage.act(id, &revive()).await, Acted::Done(State::Ready));
        let job = stage.get(id).await;
        assert_eq!((job.attempts, job.crashes, job.lapses, job.suspect), (0, 0, 0, false));
        assert_eq!((job.started_at, job.enqueued_at), (None, before.enqueued_at));
        assert_eq!((job.ended_at, job.keep_until, job.reason.clone(), job.culprit), (None, None, None, None));
        assert_eq!(
            (job.result.clone(), job.failure.clone(), job.progress.clone(), job.worker),
            (None, None, None, None)
        );
        assert_eq!((job.expires, job.deadline, job.expires_at, job.deadline_at), (None, None, None, None));
        assert_eq!(
            (job.envelope.clone(), job.priority, job.tags.clone()),
            (before.envelope, before.priority, before.tags)
        );
        assert_eq!(stage.act(id, &revive()).await, Acted::Refused(State::Ready), "twice is once");
        let mut worker = stage.worker().await;
        stage.advance(HOUR).await;
        assert_eq!(worker.run_one(completed()).await, ready, "a {state} job comes back at the end of the line");
        assert_eq!(worker.run_one(completed()).await, id);
    }
    let counts = stage.counts().await;
    assert_eq!((counts.enqueued, counts.ended.total(), counts.live()), (12, 12, 0));
}

/// A job that had crashed, failed and told of its progress is new when it is revived, but for its history.
pub(super) async fn the_revived_remember(stage: &Stage) {
    let tagged = NewJob { expires: Some(When::In(MINUTE)), deadline: Some(When::In(DAY)), ..stage.job() };
    let [id] = stage.enqueue([tagged]).await;
    stage.worker().await.receive_one().await;
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    worker.tell(&run, Progress::new(1, 2, "half")).await;
    worker.finish(&run, died()).await;
    let before = stage.get(id).await;
    assert_eq!((before.history.len(), before.crashes, before.attempts), (1, 1, 1));
    stage.act(id, &revive()).await;
    let job = stage.get(id).await;
    assert_eq!((job.crashes, job.attempts, job.suspect, job.progress, job.failure), (0, 0, false, None, None));
    assert_eq!(job.history, before.attempts_made());
    assert_eq!(job.first_started_at, None);
    stage.advance(DAY * 2).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.job.first_started_at), (id, run.job.started_at));
}

/// A revived job keeps its place in lists, and is not pruned by what was said of its end.
pub(super) async fn the_revived_live(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job(), stage.job(), stage.job()]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    worker.run_one(Settlement::Complete { result: None, keep: secs(1) }).await;
    assert_eq!(stage.act_on(&[b, a], &revive()).await, [Acted::Done(State::Ready); 2]);
    stage.advance(DAY * 100).await;
    assert_eq!(stage.prune(at_most(0, 0)).await.done, 0);
    let jobs = stage.storage().list(&JobQuery::default()).await.unwrap().jobs;
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [a, b, c]);
    let dead = JobQuery { state: Some(State::Dead), ..JobQuery::default() };
    assert_eq!(stage.storage().list(&dead).await.unwrap().jobs, []);
    assert_eq!(stage.worker().await.claim_ids(9).await, [c, b, a]);
}

/// A revived job may be changed on its way: later, more urgent, with other arguments.
pub(super) async fn reviving_with_changes(stage: &Stage) {
    let [id, other] = stage.enqueue([stage.job(), stage.job()]).await;
    stage.cancel(id).await;
    let envelope = Bytes::from_static(b"mended");
    let edit = Edit::new().when(When::In(MINUTE)).priority(7).envelope(envelope.clone());
    assert_eq!(stage.act(id, &Act::Revive(edit)).await, Acted::Done(State::Scheduled));
    let job = stage.get(id).await;
    stage.assert_same_time(job.due_at.unwrap(), stage.now().await + MINUTE);
    let mut worker = stage.worker().await;
    stage.advance_until_just_before(MINUTE).await;
    assert_eq!(worker.claim_ids(1).await, [other]);
    stage.enqueue_many(1).await;
    stage.advance(stage.tick()).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.job.priority, run.job.envelope), (id, 7, envelope));
}

/// What was revived, or brought forward, gives what waits for it what it returns then.
pub(super) async fn who_comes_after_waits_for_the_new_run(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    stage.act(first, &revive()).await;
    let [id] = stage.enqueue([stage.job_after([first])]).await;
    assert_eq!(stage.state(id).await, State::Waiting);
    worker.run_one(returned(b"at last", HOUR)).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (id, vec![Input::Returned(Bytes::from_static(b"at last"))]));
}

/// A job that a live one needs is not revived: what it returned would be gone.
pub(super) async fn the_needed_are_not_revived(stage: &Stage) {
    let [first, other] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([first, other])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(returned(b"needed", HOUR)).await;
    let before = stage.get(first).await;
    assert_eq!(stage.act(first, &revive()).await, Acted::Refused(State::Completed));
    assert_eq!(stage.get(first).await, before);
    worker.run_one(completed()).await;
    let run = worker.claim_one().await;
    assert_eq!(run.inputs, [Input::Returned(Bytes::from_static(b"needed")), Input::Nothing]);
    worker.finish(&run, snooze_in(HOUR)).await;
    assert_eq!(stage.act(first, &revive()).await, Acted::Refused(State::Completed));
    stage.cancel(id).await;
    assert_eq!(stage.act(first, &revive()).await, Acted::Done(State::Ready));
}

/// A job that takes results is revived only with all of them at hand, and they are kept for it again.
pub(super) async fn the_revived_have_their_inputs(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([first])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(returned(b"kept", MINUTE)).await;
    worker.run_one(died()).await;
    assert_eq!(stage.act(id, &revive()).await, Acted::Done(State::Ready));
    let inputs = [Input::Returned(Bytes::from_static(b"kept"))];
    for settlement in [retry_in(HOUR), died()] {
        stage.advance(HOUR).await;
        stage.prune(Retention::default()).await;
        let run = worker.claim_one().await;
        assert_eq!((run.job.id, run.inputs.as_slice()), (id, &inputs[..]));
        worker.finish(&run, settlement).await;
    }
    stage.act(id, &Act::Delete).await;
    stage.prune(Retention::default()).await;
    assert!(!stage.is_kept(first).await, "nobody needs it any more");
}

/// A job can't be revived once what it waited for is gone: a dead letter is kept for nobody.
pub(super) async fn the_revived_need_their_inputs(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_when(Trigger::Ended, [first])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    worker.work_off().await;
    assert_eq!(stage.prune(at_most(9, 0)).await.done, 1);
    worker.run_one(died()).await;
    let before = stage.get(id).await;
    for act in [revive(), Act::Rearm] {
        assert_eq!(stage.act(id, &act).await, Acted::Refused(State::Dead));
        assert_eq!(stage.get(id).await, before);
    }
}

/// A job that was called off is revived with what it waited for.
pub(super) async fn the_called_off_have_their_inputs(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([first])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(returned(b"kept", Duration::ZERO)).await;
    stage.cancel(id).await;
    stage.advance(secs(1)).await;
    stage.prune(Retention::default()).await;
    assert_eq!(stage.act(id, &revive()).await, Acted::Done(State::Ready));
    assert_eq!(worker.claim_one().await.inputs, [Input::Returned(Bytes::from_static(b"kept"))]);
}

/// A job that was cancelled for the end of another can be revived when that other has completed after all.
pub(super) async fn the_revived_wait_for_nobody(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([first])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    assert_eq!(stage.act(id, &revive()).await, Acted::Refused(State::Cancelled));
    assert_eq!(stage.act(first, &revive()).await, Acted::Done(State::Ready));
    assert_eq!(stage.act(id, &revive()).await, Acted::Refused(State::Cancelled));
    worker.run_one(returned(b"at last", HOUR)).await;
    assert_eq!(stage.act(id, &revive()).await, Acted::Done(State::Ready));
    assert_eq!(worker.claim_one().await.inputs, [Input::Returned(Bytes::from_static(b"at last"))]);
}

/// However often a job is revived and ends, its history holds no more than its runs before the last.
pub(super) async fn the_revived_remember_no_more_than_others(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let terms = LeaseTerms { keep_attempts: 2, ..terms() };
    let mut worker = stage.worker_on(terms).await;
    for _ in 0..5 {
        worker.run_one(died()).await;
        assert!(stage.get(id).await.history.len() <= 2);
        stage.act(id, &revive()).await;
        assert!(stage.get(id).await.history.len() <= 3, "with its last");
    }
    worker.run_one(Settlement::Release).await;
    assert_eq!(stage.get(id).await.history.len(), 2);
}
