//! Editing: jobs that wait are given another time, another priority, other arguments.

use bytes::Bytes;

use super::acts::{at_rest, start};
use super::stage::{DAY, HOUR, MINUTE, Stage, boom, completed, retry_in, secs};
use crate::model::{JobId, NewJob, State, When};
use crate::storage::{Act, Acted, Edit};

/// A job is moved to another time: what was ready is scheduled, what was scheduled is ready at the end of the line.
pub(super) async fn another_time(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job(), stage.job_at(When::In(HOUR)), stage.job()]).await;
    assert_eq!(stage.act(a, &start(When::In(MINUTE))).await, Acted::Done(State::Scheduled));
    assert_eq!(stage.act(b, &start(When::Now)).await, Acted::Done(State::Ready));
    stage.assert_same_time(stage.get(a).await.due_at.unwrap(), stage.now().await + MINUTE);
    let due = stage.get(b).await.due_at;
    assert!(due <= Some(stage.now().await), "it is ready, and due at {due:?}");
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim_ids(9).await, [c, b]);
    let [d] = stage.enqueue([stage.job()]).await;
    stage.advance_until_just_before(MINUTE).await;
    assert_eq!(worker.claim_ids(9).await, [d]);
    stage.advance(stage.tick()).await;
    assert_eq!(worker.claim_ids(9).await, [a]);
}

/// A scheduled job may be put off and brought forward; a moment that has passed means at once.
pub(super) async fn sooner_and_later(stage: &Stage) {
    let [id] = stage.enqueue([stage.job_at(When::In(HOUR))]).await;
    let mut worker = stage.worker().await;
    for delay in [DAY, MINUTE] {
        assert_eq!(stage.act(id, &start(When::In(delay))).await, Acted::Done(State::Scheduled));
        let again = worker.look(1).await.look_again.unwrap();
        assert!(again.abs_diff(delay) < stage.tick(), "{again:?}");
    }
    let past = stage.now().await - HOUR;
    assert_eq!(stage.act(id, &start(When::At(past))).await, Acted::Done(State::Ready));
    assert_eq!(worker.claim_ids(1).await, [id]);
}

/// A retrying job stays one while it is to come later, and keeps what it has counted.
pub(super) async fn a_retry_at_another_time(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let id = worker.run_one(retry_in(HOUR)).await;
    for delay in [DAY, MINUTE] {
        assert_eq!(stage.act(id, &start(When::In(delay))).await, Acted::Done(State::Retrying));
    }
    stage.advance(MINUTE).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.job.attempts, run.job.failure.clone()), (id, 1, Some(boom())));
    worker.finish(&run, retry_in(HOUR)).await;
    assert_eq!(stage.act(id, &start(When::Now)).await, Acted::Done(State::Ready));
    assert_eq!((worker.claim_one().await.job.attempts, stage.counts().await.due), (2, 0));
}

/// The time of a waiting job counts from when it is reached, also when it was changed meanwhile.
pub(super) async fn a_waiting_job_at_another_time(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([first])]).await;
    assert_eq!(stage.act(id, &start(When::In(HOUR))).await, Acted::Done(State::Waiting));
    assert_eq!(stage.get(id).await.due_at, None);
    stage.advance(DAY).await;
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    assert_eq!(stage.state(id).await, State::Scheduled);
    stage.assert_same_time(stage.get(id).await.due_at.unwrap(), stage.now().await + HOUR);
}

/// What expires a job is counted anew from its new time, unless it was a moment; other changes do not move it.
pub(super) async fn what_expires_it_is_counted_anew(stage: &Stage) {
    let counted = NewJob { expires: Some(When::In(MINUTE)), deadline: Some(When::In(HOUR)), ..stage.job() };
    let moment = stage.now().await + DAY;
    let named = NewJob { expires: Some(When::At(moment)), ..stage.job() };
    let scheduled = NewJob { when: When::In(DAY), id: JobId::new(stage.shard()), ..counted.clone() };
    let [counted, scheduled, named] = stage.enqueue([counted, scheduled, named]).await;
    let before = stage.get(counted).await;
    stage.advance(secs(9)).await;
    stage.act(counted, &Act::Edit(Edit::new().priority(1))).await;
    let job = stage.get(counted).await;
    assert_eq!((job.expires_at, job.deadline_at), (before.expires_at, before.deadline_at));
    for (id, when, from) in
        [(counted, When::In(HOUR), HOUR), (counted, When::Now, secs(0)), (scheduled, When::Now, secs(0))]
    {
        stage.act(id, &start(when)).await;
        let (job, now) = (stage.get(id).await, stage.now().await);
        stage.assert_same_time(job.expires_at.unwrap(), now + from + MINUTE);
        stage.assert_same_time(job.deadline_at.unwrap(), now + from + HOUR);
    }
    stage.act(named, &start(When::In(secs(1)))).await;
    assert_eq!(stage.get(named).await.expires_at, Some(moment));
    stage.advance(MINUTE).await;
    assert_eq!(stage.worker().await.claim_ids(9).await, [named]);
}

/// A job's priority and its arguments can be changed in any state in which it is live and does not run; it keeps its
/// place among those of its new priority.
pub(super) async fn other_priorities_and_arguments(stage: &Stage) {
    let (jobs, running) = at_rest(stage).await;
    let envelope = Bytes::from_static(b"other arguments");
    for (id, state) in &jobs {
        let before = stage.get(*id).await;
        let edit = Act::Edit(Edit::new().priority(5).envelope(envelope.clone()));
        assert_eq!(stage.act(*id, &edit).await, Acted::Done(*state));
        let job = stage.get(*id).await;
        assert_eq!((job.priority, &job.envelope), (5, &envelope));
        assert_eq!((job.sequence, job.due_at, job.parked), (before.sequence, before.due_at, before.parked));
    }
    let [a, b, c] = stage.enqueue([stage.job(), stage.job_with(5), stage.job()]).await;
    stage.act_on(&[c, a], &Act::Edit(Edit::new().priority(5))).await;
    stage.act(a, &Act::Edit(Edit::new())).await;
    let mut worker = stage.worker_of(&["t", "strange"]).await;
    let (ready, parked) = (jobs[2].0, jobs[3].0);
    assert_eq!(worker.claim_ids(9).await, [parked, ready, a, b, c]);
    assert_eq!(stage.get(running).await.priority, 0);
}

/// A suspect and a parked job stay what they are when they are changed, and leave no trace of their old place.
pub(super) async fn a_suspect_stays_one(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    stage.worker().await.receive_one().await;
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    stage.act(id, &Act::Edit(Edit::new().priority(-1))).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.exchange(vec![], 9, 0).await.claimed, []);
    stage.act(id, &start(When::In(MINUTE))).await;
    stage.advance(MINUTE).await;
    assert_eq!(worker.exchange(vec![], 9, 0).await.claimed, []);
    assert_eq!(worker.claim_ids(9).await, [id]);
    let [parked] = stage.enqueue([stage.job_of("s")]).await;
    worker.claim(9).await;
    stage.act(parked, &start(When::In(MINUTE))).await;
    let job = stage.get(parked).await;
    assert_eq!((job.parked, job.parked_at, stage.counts().await.parked), (None, None, 0));
    stage.advance(MINUTE).await;
    assert_eq!(stage.worker_of(&["s"]).await.claim_ids(9).await, [parked]);
}

/// What is counted from when a job is due is counted anew for a retrying job too.
pub(super) async fn a_retry_may_have_longer(stage: &Stage) {
    let [id] = stage.enqueue([NewJob { deadline: Some(When::In(HOUR)), ..stage.job() }]).await;
    let mut worker = stage.worker().await;
    worker.run_one(retry_in(MINUTE)).await;
    for delay in [DAY, MINUTE] {
        stage.act(id, &start(When::In(delay))).await;
        let (job, now) = (stage.get(id).await, stage.now().await);
        assert_eq!(job.state, State::Retrying);
        stage.assert_same_time(job.deadline_at.unwrap(), now + delay + HOUR);
    }
}

/// An edit that changes nothing changes nothing.
pub(super) async fn an_empty_edit(stage: &Stage) {
    let (jobs, _) = at_rest(stage).await;
    for (id, state) in jobs {
        let before = stage.get(id).await;
        assert_eq!(stage.act(id, &Act::Edit(Edit::new())).await, Acted::Done(state));
        assert_eq!(stage.get(id).await, before);
    }
}
