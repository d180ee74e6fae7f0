//! What people do to jobs: how many at once, whom it may concern, and deleting.

use bytes::Bytes;

use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, cancel, completed, died, hear, retry_in, returned, secs};
use crate::model::{EndReason, Input, JobId, NewJob, State, When};
use crate::storage::{Act, Acted, Edit, JobQuery, Lookup, MAX_ACT, MAX_UPKEEP, Retention, Topic};

/// To run an ended job again as it was.
pub(super) fn revive() -> Act {
    Act::Revive(Edit::new())
}

/// To start a job then.
pub(super) fn start(when: When) -> Act {
    Act::Edit(Edit::new().when(when))
}

/// A job in each state that is live and does not run, and one that they wait for and that runs.
pub(super) async fn at_rest(stage: &Stage) -> (Vec<(JobId, State)>, JobId) {
    let mut worker = stage.worker().await;
    stage.enqueue_many(1).await;
    let retrying = worker.run_one(retry_in(DAY)).await;
    let [running] = stage.enqueue([stage.job()]).await;
    worker.receive_one().await;
    let [parked] = stage.enqueue([stage.job_of("strange")]).await;
    assert_eq!(worker.claim(1).await, []);
    let jobs = [stage.job_after([running]), stage.job_at(When::In(DAY)), stage.job()];
    let [waiting, scheduled, ready] = stage.enqueue(jobs).await;
    use State::{Ready, Retrying, Scheduled, Waiting};
    let states = [(waiting, Waiting), (scheduled, Scheduled), (ready, Ready), (parked, Ready), (retrying, Retrying)];
    (states.into(), running)
}

/// An ended job of each sort.
pub(super) async fn ended(stage: &Stage) -> [(JobId, State); 4] {
    let mut worker = stage.worker().await;
    let [late, cancelled] = stage.enqueue([NewJob { expires: Some(When::Now), ..stage.job() }, stage.job()]).await;
    stage.cancel(cancelled).await;
    worker.upkeep().await;
    let mut end = async |settlement| {
        stage.enqueue_many(1).await;
        worker.run_one(settlement).await
    };
    let (completed, dead) = (end(returned(b"result", HOUR)).await, end(died()).await);
    use State::{Cancelled, Completed, Dead, Expired};
    [(completed, Completed), (cancelled, Cancelled), (late, Expired), (dead, Dead)]
}

/// An act holds as many jobs as the contract says, and one more is invalid and changes nothing.
pub(super) async fn an_act_has_a_largest_size(stage: &Stage) {
    let ids = stage.enqueue_many(MAX_ACT + 1).await;
    let error = stage.storage().act(stage.shard(), &ids, &cancel()).await.unwrap_err();
    assert!(error.is_invalid());
    assert_eq!(stage.counts().await.of(State::Ready), MAX_ACT as u64 + 1);
    let answer = stage.act_on(&ids[..MAX_ACT], &cancel()).await;
    assert_eq!(answer, [Acted::Done(State::Cancelled); MAX_ACT]);
    assert_eq!(stage.act_on(&[], &cancel()).await, []);
}

/// Each job of an act is treated on its own, in the order of the call: who is refused hinders nobody.
pub(super) async fn each_job_is_treated_alone(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job(), stage.job(), stage.job()]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let unknown = JobId::new(stage.shard());
    let answer = stage.act_on(&[c, unknown, a, b, c], &Act::Delete).await;
    let (done, running) = (Acted::Done(State::Cancelled), Acted::Refused(State::Running));
    assert_eq!(answer, [done, Acted::Missing, running, done, Acted::Missing]);
    assert_eq!(stage.get(a).await, run.job);
}

/// What is live and does not run is cancelled, counted so, and gone; its id may be used anew.
pub(super) async fn deleting_the_live(stage: &Stage) {
    let (jobs, _) = at_rest(stage).await;
    let before = stage.counts().await;
    for (id, state) in &jobs {
        assert_eq!(stage.state(*id).await, *state);
        assert_eq!(stage.act(*id, &Act::Delete).await, Acted::Done(State::Cancelled));
        assert_eq!(stage.storage().get(*id).await.unwrap(), Lookup::Gone);
        assert_eq!(stage.act(*id, &Act::Delete).await, Acted::Missing);
    }
    let counts = stage.counts().await;
    assert_eq!((counts.enqueued, counts.ended.cancelled, counts.live()), (before.enqueued, 5, 1));
    assert_eq!((counts.parked, counts.of(State::Cancelled)), (0, 0));
    stage.advance(DAY).await;
    assert_eq!(stage.worker_of(&["t", "strange"]).await.claim(9).await, []);
    let again = NewJob { id: jobs[0].0, ..stage.job() };
    stage.enqueue([again]).await;
}

/// What has ended is gone at once, however long it was to be kept, and stays counted.
pub(super) async fn deleting_the_ended(stage: &Stage) {
    let jobs = ended(stage).await;
    let before = stage.counts().await;
    for (id, state) in jobs {
        assert_eq!(stage.act(id, &Act::Delete).await, Acted::Done(state));
        assert_eq!(stage.storage().get(id).await.unwrap(), Lookup::Gone);
    }
    let after = stage.counts().await;
    assert_eq!((after.enqueued, after.ended, after.stored.len()), (before.enqueued, before.ended, 0));
    assert_eq!(stage.prune(at_most(0, 0)).await.done, 0);
    assert_eq!(stage.storage().list(&JobQuery::default()).await.unwrap().jobs, []);
}

/// A job that runs is not deleted, asked to stop or not.
pub(super) async fn who_runs_is_not_deleted(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.receive_one().await;
    assert_eq!(stage.act(run.job.id, &Act::Delete).await, Acted::Refused(State::Running));
    stage.cancel(run.job.id).await;
    assert_eq!(stage.act(run.job.id, &Act::Delete).await, Acted::Refused(State::Running));
    worker.finish(&run, completed()).await;
}

/// A job whose result a live one needs stays until that has ended, and then nothing keeps it.
pub(super) async fn the_needed_stay(stage: &Stage) {
    let [first] = stage.enqueue([stage.job_with(1)]).await;
    let [id] = stage.enqueue([stage.job_after([first])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(returned(b"needed", DAY)).await;
    let run = worker.claim_one().await;
    worker.finish(&run, retry_in(secs(1))).await;
    for _ in 0..2 {
        assert_eq!(stage.act(first, &Act::Delete).await, Acted::Done(State::Completed));
    }
    stage.advance(MINUTE).await;
    stage.prune(at_most(0, 0)).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs.clone()), (id, vec![Input::Returned(Bytes::from_static(b"needed"))]));
    worker.finish(&run, returned(b"done", DAY)).await;
    worker.upkeep().await;
    stage.advance(secs(1)).await;
    stage.prune(Retention::default()).await;
    assert_eq!(stage.storage().get(first).await.unwrap(), Lookup::Gone);
    assert!(stage.is_kept(id).await);
}

/// Who waits for a job that is deleted is cancelled for it, and then nothing keeps either but what was said.
pub(super) async fn who_waits_for_the_deleted_is_cancelled(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let crowd = stage.enqueue_all((0..250).map(|_| stage.job_after([first])).collect()).await;
    assert_eq!(stage.act(first, &Act::Delete).await, Acted::Done(State::Cancelled));
    let mut worker = stage.worker().await;
    worker.work_off().await;
    let counts = stage.counts().await;
    assert_eq!((counts.ended.cancelled, counts.live()), (251, 0));
    for id in [crowd[0], crowd[249]] {
        if let Lookup::Found(job) = stage.storage().get(id).await.unwrap() {
            assert_eq!((job.reason, job.culprit), (Some(EndReason::Dependency), Some(first)));
        }
    }
    stage.advance(secs(1)).await;
    while stage.prune(Retention::default()).await.more {}
    assert_eq!(stage.storage().get(first).await.unwrap(), Lookup::Gone);
}

/// Who listens for a job that is deleted is told, as of any end.
pub(super) async fn a_deletion_is_told(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let listener = stage.storage().listen(Topic::Job(id));
    stage.act(id, &Act::Delete).await;
    hear(&listener, "it was deleted").await;
}

/// What has not ended is not revived, and what has ended, or runs, is not changed.
pub(super) async fn who_is_refused_is_as_before(stage: &Stage) {
    let (jobs, running) = at_rest(stage).await;
    let live = jobs.into_iter().chain([(running, State::Running)]);
    for (id, state) in live {
        let before = stage.get(id).await;
        assert_eq!(stage.act(id, &revive()).await, Acted::Refused(state));
        assert_eq!(stage.get(id).await, before);
    }
    let edit = Act::Edit(Edit::new().when(When::In(HOUR)).priority(9).envelope(Bytes::from_static(b"x")));
    for (id, state) in ended(&stage.beside("ended")).await.into_iter().chain([(running, State::Running)]) {
        let before = stage.get(id).await;
        let answer = stage.storage().act(&before.shard, &[id], &edit).await.unwrap();
        assert_eq!(answer, [Acted::Refused(state)]);
        assert_eq!(stage.get(id).await, before);
    }
    assert_eq!(stage.counts().await.enqueued, 6);
}

/// One act follows no more edges than one exchange, however many jobs it ends.
pub(super) async fn an_act_follows_so_many_edges(stage: &Stage) {
    let [a, b] = stage.enqueue([stage.job(), stage.job()]).await;
    for first in [a, b] {
        stage.enqueue_all((0..150).map(|_| stage.job_after([first])).collect()).await;
    }
    for (id, act) in [(a, cancel()), (b, Act::Delete)] {
        let before = stage.counts().await.ended.cancelled;
        stage.act(id, &act).await;
        let ended = stage.counts().await.ended.cancelled - before;
        assert!(ended <= 1 + u64::from(MAX_UPKEEP), "{ended} at once");
    }
    let mut worker = stage.worker().await;
    worker.work_off().await;
    assert_eq!((stage.counts().await.ended.cancelled, stage.counts().await.live()), (302, 0));
}

/// Who sleeps is told of a job that is ready, or due before it meant to look again.
pub(super) async fn acts_wake(stage: &Stage) {
    let jobs = [stage.job(), stage.job_at(When::In(DAY)), stage.job_at(When::In(DAY))];
    let [ended, soon, now] = stage.enqueue(jobs).await;
    stage.cancel(ended).await;
    let mut worker = stage.worker().await;
    let listener = stage.storage().listen(Topic::Worker(worker.id(), stage.shard().clone()));
    let acts = [(ended, revive(), 1), (soon, start(When::In(HOUR)), 0), (now, start(When::Now), 1)];
    for (id, act, claimed) in acts {
        assert_eq!(worker.claim(1).await, []);
        stage.act(id, &act).await;
        hear(&listener, "something may be done sooner").await;
        let runs = worker.claim(9).await;
        assert_eq!(runs.len(), claimed);
        worker.complete_all(&runs).await;
    }
}
