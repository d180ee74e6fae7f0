//! Jobs that wait for jobs: reached when the last has completed, cancelled when one ends otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::actors::{ids, settled};
use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, cancel, completed, died, retry_in, returned, secs, terms};
use crate::model::{EndReason, Input, NewJob, Settlement, State, When};
use crate::storage::{Act, Admission, LeaseTerms, Lookup, MAX_UPKEEP, Retention};

/// A job is reached when the last of those it waits for has completed, and gets what they returned, in its own order.
pub(super) async fn the_last_completion_reaches(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job(), stage.job(), stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([c, a, b])]).await;
    let mut worker = stage.worker().await;
    for settlement in [returned(b"a", HOUR), returned(b"", HOUR), completed()] {
        assert_eq!(stage.state(id).await, State::Waiting);
        worker.run_one(settlement).await;
    }
    let run = worker.claim_one().await;
    assert_eq!(run.job.id, id);
    let (a, b) = (Bytes::from_static(b"a"), Bytes::new());
    assert_eq!(run.inputs, [Input::Nothing, Input::Returned(a), Input::Returned(b)]);
    assert_eq!(run.job.waits_for.len(), 3);
}

/// A job may take the same result twice.
pub(super) async fn one_result_may_be_taken_twice(stage: &Stage) {
    let [a] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([a, a])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(returned(b"a", HOUR)).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs.len()), (id, 2));
    assert_eq!(run.inputs[0], run.inputs[1]);
}

/// Steps run one after the other, each reached by the call that completes the one before.
pub(super) async fn a_pipeline_runs_in_order(stage: &Stage) {
    let mut jobs = vec![stage.job()];
    for _ in 0..9 {
        let last = jobs[jobs.len() - 1].id;
        jobs.push(stage.job_after([last]));
    }
    let expected = stage.enqueue_all(jobs).await;
    let mut worker = stage.worker().await;
    let mut run = worker.claim_one().await;
    for id in &expected[1..] {
        let mut answer = worker.exchange(vec![settled(&run, returned(b"on", HOUR))], 5, 5).await;
        run = answer.claimed.pop().expect("the next step is ready");
        assert_eq!((run.job.id, run.inputs.len(), answer.claimed.len()), (*id, 1, 0));
    }
}

/// The time of a waiting job counts from the moment it is reached.
pub(super) async fn a_delay_counts_from_the_reach(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let delayed = NewJob { when: When::In(MINUTE), ..stage.job_after([first]) };
    let [id] = stage.enqueue([delayed]).await;
    assert_eq!(stage.get(id).await.due_at, None);
    stage.advance(HOUR).await;
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    let job = stage.get(id).await;
    assert_eq!(job.state, State::Scheduled);
    stage.assert_same_time(job.due_at.unwrap(), job.enqueued_at + HOUR + MINUTE);
    stage.advance_until_just_before(MINUTE).await;
    assert_eq!(worker.claim(1).await, []);
    stage.advance(stage.tick()).await;
    assert_eq!(worker.claim_ids(1).await, [id]);
}

/// A waiting job for a moment waits for both; a moment that has passed when it is reached holds it no longer.
pub(super) async fn a_moment_may_come_before_the_reach(stage: &Stage) {
    let now = stage.now().await;
    let [first] = stage.enqueue([stage.job()]).await;
    let at = |delay| NewJob { when: When::At(now + delay), ..stage.job_after([first]) };
    let [early, late] = stage.enqueue([at(MINUTE), at(DAY)]).await;
    stage.advance(HOUR).await;
    let mut worker = stage.worker().await;
    worker.upkeep().await;
    assert_eq!(stage.state(early).await, State::Waiting);
    worker.run_one(completed()).await;
    assert_eq!((stage.state(early).await, stage.state(late).await), (State::Ready, State::Scheduled));
    assert_eq!(stage.get(late).await.due_at, Some(now + DAY));
}

/// Reached jobs take their place when they are reached, by priority as any.
pub(super) async fn reached_jobs_get_a_place(stage: &Stage) {
    let [first] = stage.enqueue([stage.job_with(9)]).await;
    let urgent = NewJob { priority: 1, ..stage.job_after([first]) };
    let [urgent, usual] = stage.enqueue([urgent, stage.job_after([first])]).await;
    let [ready] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    let [late] = stage.enqueue([stage.job()]).await;
    assert_eq!(worker.claim_ids(9).await, [urgent, ready, usual, late]);
}

/// A failure that is tried again is no end: who waits goes on waiting.
pub(super) async fn a_retry_is_no_end(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([first])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(retry_in(secs(0))).await;
    worker.run_one(Settlement::Release).await;
    assert_eq!(stage.state(id).await, State::Waiting);
    worker.run_one(completed()).await;
    assert_eq!(worker.claim_ids(1).await, [id]);
}

/// A job that dies cancels who waits for it, and so on, each naming the one that began it.
pub(super) async fn a_death_cancels_who_waits(stage: &Stage) {
    let [a, innocent] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let [b] = stage.enqueue([stage.job_after([a, innocent])]).await;
    let [c, d] = stage.enqueue([stage.job_after([b]), stage.job_after([innocent, b])]).await;
    stage.worker().await.run_one(died()).await;
    for id in [b, c, d] {
        let job = stage.get(id).await;
        assert_eq!((job.state, job.reason), (State::Cancelled, Some(EndReason::Dependency)));
        assert_eq!((job.culprit, job.sequence, job.attempts), (Some(a), None, 0));
        assert!(job.ended_at.is_some());
    }
    let counts = stage.counts().await;
    assert_eq!((counts.ended.dead, counts.ended.cancelled, counts.live()), (1, 3, 1));
    assert_eq!(stage.state(innocent).await, State::Ready);
}

/// A job that dies of a lost lease cancels who waits for it too.
pub(super) async fn a_crash_cancels_who_waits(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([first])]).await;
    let brittle = LeaseTerms { crash_limit: Some(1), ..terms() };
    stage.worker_on(brittle).await.receive_one().await;
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    assert_eq!((stage.state(id).await, stage.get(id).await.culprit), (State::Cancelled, Some(first)));
}

/// What was cancelled stays so when the others it waited for complete.
pub(super) async fn the_cancelled_are_not_reached(stage: &Stage) {
    let [a, b] = stage.enqueue([stage.job(), stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([a, b])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    let before = stage.get(id).await;
    worker.run_one(completed()).await;
    assert_eq!(stage.get(id).await, before);
    assert_eq!(stage.counts().await.ended.cancelled, 1);
}

/// The most edges of one exchange: those of what it settles, and those of what it takes back.
const AT_MOST: u64 = 2 * MAX_UPKEEP as u64;

/// More edges than a call follows are followed by the calls after it, and each says that there is more.
pub(super) async fn reaching_is_bounded(stage: &Stage) {
    let [first] = stage.enqueue([stage.job_with(1)]).await;
    let waiting = stage.enqueue_all((0..250).map(|_| stage.job_after([first])).collect()).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let answer = worker.exchange(vec![settled(&run, returned(b"fan", secs(0)))], 0, 0).await;
    assert_eq!(answer.look_again, Some(secs(0)));
    assert!(stage.counts().await.of(State::Ready) <= AT_MOST);
    worker.work_off().await;
    let runs = worker.claim(250).await;
    let reached: BTreeSet<_> = ids(&runs).into_iter().collect();
    assert_eq!(reached, waiting.into_iter().collect());
    assert!(runs.iter().all(|run| run.inputs == [Input::Returned(Bytes::from_static(b"fan"))]));
}

/// A cascade of any depth and width is carried out by the calls that follow, and nobody is forgotten.
pub(super) async fn cascades_are_bounded(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let wide: Vec<_> = (0..130).map(|_| stage.job_after([first])).collect();
    let mut deep = vec![stage.job_after([first])];
    for _ in 0..130 {
        deep.push(stage.job_after([deep[deep.len() - 1].id]));
    }
    stage.enqueue_all(wide).await;
    stage.enqueue_all(deep).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let answer = worker.exchange(vec![settled(&run, died())], 0, 0).await;
    assert_eq!(answer.look_again, Some(secs(0)));
    assert!(stage.counts().await.ended.cancelled <= AT_MOST);
    worker.work_off().await;
    assert_eq!(stage.counts().await.ended.cancelled, 261);
}

/// A job that arrives while an end is still being followed is told of that end at once, and the others in their turn.
pub(super) async fn late_comers_are_not_forgotten(stage: &Stage) {
    let [good, bad] = stage.enqueue([stage.job_with(1), stage.job_with(1)]).await;
    let crowd = [good, bad].map(|id| (0..150).map(|_| stage.job_after([id])).collect::<Vec<_>>());
    stage.enqueue_all(crowd.concat()).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(2).await;
    worker.exchange(vec![settled(&runs[0], completed()), settled(&runs[1], died())], 0, 0).await;
    let late = vec![stage.job_after([good]), stage.job_after([bad])];
    let answer = stage.caller().enqueue(late).await;
    assert_eq!(answer, [State::Ready, State::Cancelled].map(Admission::Added));
    worker.work_off().await;
    assert_eq!(stage.counts().await.of(State::Waiting), 0);
}

/// A result is kept while a live job waits for it, through its retries, and no longer.
pub(super) async fn results_are_kept_while_needed(stage: &Stage) {
    let prune = async || {
        stage.advance(HOUR).await;
        stage.storage().prune(stage.shard(), at_most(0, 0)).await.unwrap();
    };
    let [first, other] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([first, other])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(returned(b"needed", Duration::ZERO)).await;
    prune().await;
    worker.run_one(returned(b"too", Duration::ZERO)).await;
    prune().await;
    let run = worker.claim_one().await;
    prune().await;
    worker.finish(&run, retry_in(secs(1))).await;
    prune().await;
    let run = worker.claim_one().await;
    let inputs = [&b"needed"[..], b"too"].map(|bytes| Input::Returned(Bytes::from_static(bytes)));
    assert_eq!((run.job.id, run.inputs.as_slice()), (id, &inputs[..]));
    worker.finish(&run, completed()).await;
    prune().await;
    assert_eq!(stage.storage().get(first).await.unwrap(), Lookup::Gone);
}

/// That a job returned nothing is remembered for who waits for it, however short it is kept.
pub(super) async fn nothing_is_remembered_too(stage: &Stage) {
    let [first, other] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let [id] = stage.enqueue([stage.job_after([first, other])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(Settlement::Complete { result: None, keep: Duration::ZERO }).await;
    stage.advance(HOUR).await;
    stage.storage().prune(stage.shard(), at_most(0, 0)).await.unwrap();
    worker.run_one(completed()).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (id, vec![Input::Nothing, Input::Nothing]));
}

/// The result of a job that had already completed is kept for a job that comes to wait for it.
pub(super) async fn a_late_reader_keeps_the_result(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let first = worker.run_one(returned(b"old", MINUTE)).await;
    let delayed = NewJob { when: When::In(HOUR), ..stage.job_after([first]) };
    let [id] = stage.enqueue([delayed]).await;
    stage.advance(HOUR).await;
    stage.storage().prune(stage.shard(), Retention::default()).await.unwrap();
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (id, vec![Input::Returned(Bytes::from_static(b"old"))]));
}

/// A waiting job that is deleted needs nothing any more; one that is cancelled or expired keeps what it may need again.
pub(super) async fn who_is_called_off_keeps_what_it_waited_for(stage: &Stage) {
    for act in [Some(cancel()), Some(Act::Delete), None] {
        let [first, other] = stage.enqueue([stage.job_with(1), stage.job()]).await;
        let deadline = act.is_none().then_some(When::At(stage.now().await + MINUTE));
        let [id] = stage.enqueue([NewJob { deadline, ..stage.job_after([first, other]) }]).await;
        let mut worker = stage.worker().await;
        worker.run_one(returned(b"needed", Duration::ZERO)).await;
        let deleted = act == Some(Act::Delete);
        if let Some(act) = act {
            stage.act(id, &act).await;
        }
        stage.advance(MINUTE).await;
        worker.upkeep().await;
        stage.prune(Retention::default()).await;
        assert_eq!((stage.is_kept(first).await, stage.state(other).await), (!deleted, State::Ready));
        worker.run_one(completed()).await;
        assert_eq!(worker.claim(9).await, []);
    }
}
