//! Calling off: at once what does not run, and by asking what does.

use std::time::Duration;

use super::actors::{TestWorker, ids, settled};
use super::stage::{
    DAY, HALF, HOUR, LENGTH, MINUTE, Stage, boom, cancel, completed, died, hear, retry_in, returned, secs, snooze_in,
    terms,
};
use crate::model::{AttemptEnd, Claimed, EndReason, Failure, FailureKind, JobId, NewJob, Settlement, State, When};
use crate::storage::{Act, Acted, LeaseTerms, MAX_UPKEEP, Renewed, SettleAnswer, Topic};

/// A job that runs and was asked to stop, and who runs it.
async fn asked(stage: &Stage) -> (TestWorker, Claimed) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.receive_one().await;
    assert_eq!(stage.cancel(run.job.id).await, Acted::Asked);
    (worker, run)
}

/// What would make a job live again.
fn comebacks() -> [Settlement; 5] {
    [
        retry_in(HOUR),
        Settlement::Retry { when: When::Now, failure: boom() },
        snooze_in(HOUR),
        snooze_in(Duration::ZERO),
        Settlement::Release,
    ]
}

/// A job that does not run is cancelled at once, whatever it waits for, and never runs.
pub(super) async fn at_once_what_does_not_run(stage: &Stage) {
    let mut worker = stage.worker().await;
    let [parked] = stage.enqueue([stage.job_of("strange")]).await;
    stage.enqueue_many(2).await;
    let retrying = worker.run_one(retry_in(MINUTE)).await;
    let held = worker.claim_one().await;
    let [waiting, scheduled, ready] =
        stage.enqueue([stage.job_after([held.job.id]), stage.job_at(When::In(MINUTE)), stage.job()]).await;
    assert_eq!(stage.counts().await.parked, 1);
    let all = [waiting, scheduled, ready, retrying, parked];
    assert_eq!(stage.act_on(&all, &Act::Cancel { keep: DAY }).await, [Acted::Done(State::Cancelled); 5]);
    for id in all {
        let job = stage.get(id).await;
        assert_eq!((job.state, job.reason), (State::Cancelled, Some(EndReason::Requested)));
        assert_eq!(job.keep_until, job.ended_at.map(|at| at + DAY));
        assert_eq!((job.worker, job.culprit, job.parked, job.cancel_requested), (None, None, None, false));
    }
    let counts = stage.counts().await;
    assert_eq!((counts.ended.cancelled, counts.parked, counts.live()), (5, 0, 1));
    worker.finish(&held, completed()).await;
    stage.advance(HOUR).await;
    assert_eq!(stage.worker_of(&["t", "strange"]).await.claim(9).await, []);
}

/// A job that runs goes on under its lease, and its worker hears of the wish with each renewal.
pub(super) async fn who_runs_is_asked(stage: &Stage) {
    let (mut worker, run) = asked(stage).await;
    let job = stage.get(run.job.id).await;
    assert_eq!((job.state, job.cancel_requested, job.worker), (State::Running, true, Some(worker.id())));
    assert_eq!(job.lease.map(|lease| lease.fence), Some(run.fence));
    for _ in 0..5 {
        stage.advance(HALF).await;
        assert_eq!(worker.renew(&[&run]).await, [Renewed::Stop]);
    }
    let until = stage.get(run.job.id).await.lease.unwrap().until;
    stage.assert_same_time(until, stage.now().await + LENGTH);
    worker.finish(&run, completed()).await;
}

/// Each lease of a renewal is answered on its own: held, asked to stop, lost.
pub(super) async fn only_who_is_meant_is_asked(stage: &Stage) {
    let (mut worker, run) = asked(stage).await;
    stage.enqueue_many(2).await;
    let (ended, other) = (worker.claim_one().await, worker.claim_one().await);
    worker.finish(&ended, completed()).await;
    let answer = worker.renew(&[&other, &run, &ended, &run]).await;
    assert_eq!(answer, [Renewed::Held, Renewed::Stop, Renewed::Lost, Renewed::Stop]);
}

/// A renewal that answers that a run is asked to stop confirms the delivery as any.
pub(super) async fn a_stop_confirms_the_delivery(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    stage.cancel(run.job.id).await;
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Stop]);
    assert!(stage.get(run.job.id).await.lease.unwrap().delivered);
}

/// Whatever would make a job live again that was asked to stop cancels it, and it is kept as long as was said.
pub(super) async fn what_would_live_again_is_cancelled(stage: &Stage) {
    for settlement in comebacks() {
        stage.enqueue_many(1).await;
        let mut worker = stage.worker().await;
        let run = worker.claim_one().await;
        stage.act(run.job.id, &Act::Cancel { keep: DAY }).await;
        let answer = worker.exchange(vec![settled(&run, settlement.clone())], 9, 9).await;
        assert_eq!((answer.settled, answer.claimed), (vec![SettleAnswer::Cancelled], vec![]));
        let job = stage.get(run.job.id).await;
        assert_eq!((job.state, job.reason.clone()), (State::Cancelled, Some(EndReason::Requested)), "{settlement:?}");
        assert_eq!((job.worker, job.cancel_requested, job.lease), (Some(worker.id()), false, None));
        assert_eq!(job.attempts, settled(&run, settlement.clone()).attempts);
        assert_eq!(job.keep_until, job.ended_at.map(|at| at + DAY));
        assert_eq!(job.failure.is_some(), matches!(settlement, Settlement::Retry { .. }), "what went wrong is kept");
        assert_eq!(job.history, [], "the run it ended with is told by its own fields");
        assert_eq!(job.attempts_made().last().map(|last| last.end.clone()), Some(AttemptEnd::Cancelled));
        stage.advance(HOUR).await;
        assert_eq!(worker.claim(9).await, []);
    }
    assert_eq!(stage.counts().await.ended.cancelled, 5);
}

/// A completion stands, and so does a death, and so does what its own task called off.
pub(super) async fn an_end_stands(stage: &Stage) {
    let off = Settlement::Cancel { reason: EndReason::CalledOff, failure: None, keep: DAY };
    let ends = [
        (returned(b"x", HOUR), State::Completed, None),
        (died(), State::Dead, Some(EndReason::Fatal)),
        (off, State::Cancelled, Some(EndReason::CalledOff)),
    ];
    for (settlement, state, reason) in ends {
        let (mut worker, run) = asked(stage).await;
        worker.finish(&run, settlement).await;
        let job = stage.get(run.job.id).await;
        assert_eq!((job.state, job.reason.clone(), job.cancel_requested), (state, reason, false));
        assert_eq!(job.result.is_some(), state == State::Completed);
        assert_eq!(stage.cancel(run.job.id).await, Acted::Refused(state));
        assert_eq!(stage.get(run.job.id).await, job);
    }
}

/// A job that was asked to stop and whose lease is lost is cancelled, whatever it would have become.
pub(super) async fn a_lost_lease_is_the_end(stage: &Stage) {
    for (name, delivered, at_most_once, crash_limit) in [
        ("crashed", true, false, Some(3)),
        ("lapsed", false, false, Some(3)),
        ("once", true, true, Some(3)),
        ("limit", true, false, Some(1)),
    ] {
        let stage = stage.beside(name);
        let [id] = stage.enqueue([NewJob { at_most_once, ..stage.job() }]).await;
        let mut worker = stage.worker_on(LeaseTerms { crash_limit, ..terms() }).await;
        let _run = if delivered { worker.receive_one().await } else { worker.claim_one().await };
        stage.act(id, &Act::Cancel { keep: DAY }).await;
        let mut other = stage.worker().await;
        stage.advance(HALF).await;
        other.upkeep().await;
        stage.advance(HALF).await;
        let answer = other.look(9).await;
        assert_eq!((answer.claimed, answer.upkept), (vec![], vec![(id, State::Cancelled)]), "{name}");
        let job = stage.get(id).await;
        assert_eq!((job.state, job.reason), (State::Cancelled, Some(EndReason::Requested)), "{name}");
        assert_eq!(job.keep_until, job.ended_at.map(|at| at + DAY));
        let counts = stage.counts().await;
        assert_eq!((counts.ended.cancelled, counts.ended.total()), (1, 1));
    }
}

/// A worker that says farewell leaves nothing behind that runs again though it was asked to stop.
pub(super) async fn a_farewell_is_the_end(stage: &Stage) {
    let (worker, run) = asked(stage).await;
    worker.deregister().await;
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    assert_eq!(stage.state(run.job.id).await, State::Cancelled);
}

/// Asking twice is asking once.
pub(super) async fn asking_twice_is_asking_once(stage: &Stage) {
    let (mut worker, run) = asked(stage).await;
    let before = stage.get(run.job.id).await;
    assert_eq!(stage.act_on(&[run.job.id; 2], &Act::Cancel { keep: DAY }).await, [Acted::Asked; 2]);
    assert_eq!(stage.get(run.job.id).await, before);
    worker.finish(&run, Settlement::Release).await;
    let job = stage.get(run.job.id).await;
    assert_eq!(job.keep_until, job.ended_at.map(|at| at + HOUR), "the first wish says so");
    assert_eq!(stage.counts().await.ended.cancelled, 1);
    let [id] = stage.enqueue([stage.job()]).await;
    assert_eq!(
        stage.act_on(&[id; 2], &cancel()).await,
        [Acted::Done(State::Cancelled), Acted::Refused(State::Cancelled)]
    );
    assert_eq!(stage.counts().await.ended.cancelled, 2);
}

/// A job that its worker gave back before it was asked, and another claimed, is asked anew: a wish is for one run.
pub(super) async fn a_wish_is_for_the_run_that_is(stage: &Stage) {
    let (mut worker, run) = asked(stage).await;
    worker.finish(&run, retry_in(Duration::ZERO)).await;
    assert_eq!(stage.act(run.job.id, &Act::Revive(Default::default())).await, Acted::Done(State::Ready));
    let again = worker.claim_one().await;
    assert!(!again.job.cancel_requested);
    assert_eq!(worker.renew(&[&again]).await, [Renewed::Held]);
    worker.finish(&again, Settlement::Release).await;
    assert_eq!(stage.state(run.job.id).await, State::Ready);
}

/// An exchange whose answer was lost is answered the same though its settlement became a cancellation, and so is one
/// whose claims were asked to stop meanwhile.
pub(super) async fn a_repeat_is_answered_the_same(stage: &Stage) {
    stage.enqueue_many(2).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    stage.cancel(run.job.id).await;
    let first = worker.exchange(vec![settled(&run, retry_in(HOUR))], 1, 1).await;
    let before = stage.get(run.job.id).await;
    assert_eq!((first.settled.clone(), before.state), (vec![SettleAnswer::Cancelled], State::Cancelled));
    let next = first.claimed[0].clone();
    assert_eq!(stage.cancel(next.job.id).await, Acted::Asked);
    let again = worker.repeat().await;
    assert_eq!((again.settled, ids(&again.claimed)), (first.settled, vec![next.job.id]));
    assert!(again.claimed[0].job.cancel_requested, "who gets it so late is told at once");
    assert_eq!(stage.get(run.job.id).await, before);
    assert_eq!(stage.counts().await.ended.cancelled, 1);
    assert_eq!(worker.renew(&[&next]).await, [Renewed::Stop]);
}

/// Who waits for a job that is called off is cancelled with it, as many at once as the contract says and the others
/// by the next exchanges, each kept as long as the one it waited for.
pub(super) async fn who_waits_is_cancelled_too(stage: &Stage) {
    let [first] = stage.enqueue([stage.job_at(When::In(DAY))]).await;
    let crowd = stage.enqueue_all((0..250).map(|_| stage.job_after([first])).collect()).await;
    let [last] = stage.enqueue([stage.job_after([crowd[0]])]).await;
    stage.act(first, &Act::Cancel { keep: DAY }).await;
    let ended = stage.counts().await.ended.cancelled;
    assert!(ended > 1 && ended <= 1 + u64::from(MAX_UPKEEP), "{ended} ended at once");
    let mut worker = stage.worker().await;
    worker.work_off().await;
    assert_eq!((stage.counts().await.ended.cancelled, stage.counts().await.live()), (252, 0));
    let keep = stage.get(first).await.keep_until;
    for (id, culprit) in [(crowd[0], first), (crowd[249], first), (last, first)] {
        let job = stage.get(id).await;
        assert_eq!((job.reason, job.culprit), (Some(EndReason::Dependency), Some(culprit)));
        assert_eq!(job.keep_until, keep);
    }
}

/// So is who waits for a run that was asked to stop, once it has.
pub(super) async fn who_waits_for_a_run_waits_for_its_end(stage: &Stage) {
    let (mut worker, run) = asked(stage).await;
    let [id] = stage.enqueue([stage.job_after([run.job.id])]).await;
    worker.upkeep().await;
    assert_eq!(stage.state(id).await, State::Waiting);
    worker.finish(&run, Settlement::Release).await;
    assert_eq!((stage.state(id).await, stage.get(id).await.culprit), (State::Cancelled, Some(run.job.id)));
}

/// Its own task may call a job off, saying why.
pub(super) async fn a_task_may_call_itself_off(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [next] = stage.enqueue([stage.job_after([first])]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let why = Failure::new(FailureKind::Error, "nobody wants this any more");
    let off = Settlement::Cancel { reason: EndReason::CalledOff, failure: Some(why.clone()), keep: DAY };
    worker.finish(&run, off).await;
    let job = stage.get(first).await;
    assert_eq!((job.state, job.reason, job.failure), (State::Cancelled, Some(EndReason::CalledOff), Some(why)));
    assert_eq!((job.worker, job.attempts), (Some(worker.id()), 1));
    assert_eq!(job.keep_until, job.ended_at.map(|at| at + DAY));
    assert_eq!((stage.state(next).await, stage.counts().await.ended.cancelled), (State::Cancelled, 2));
}

/// Who runs a job is told to renew when that job is asked to stop, and who listens for the job when it has.
pub(super) async fn listeners_are_told(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let stop = stage.storage().listen(Topic::Stop(worker.id(), stage.shard().clone()));
    let run = worker.receive_one().await;
    let [ended, progress] = [Topic::Job(run.job.id), Topic::Progress(run.job.id)].map(|on| stage.storage().listen(on));
    stage.cancel(run.job.id).await;
    hear(&stop, "it was asked to stop").await;
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Stop]);
    worker.finish(&run, Settlement::Release).await;
    hear(&ended, "it was cancelled").await;
    hear(&progress, "it was cancelled").await;
    let [id] = stage.enqueue([stage.job()]).await;
    let ended = stage.storage().listen(Topic::Job(id));
    stage.cancel(id).await;
    hear(&ended, "it was cancelled at once").await;
}

/// A wish survives the storage: after it was opened anew the run is still asked to stop.
pub(super) async fn a_wish_is_not_forgotten(stage: &Stage) {
    stage.enqueue_many(2).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(2).await;
    for run in &runs {
        stage.act(run.job.id, &Act::Cancel { keep: DAY }).await;
    }
    let Some(stage) = stage.reopen().await else { return };
    worker.storage = stage.storage().clone();
    assert_eq!(worker.renew(&[&runs[0], &runs[1]]).await, [Renewed::Stop; 2]);
    worker.finish(&runs[0], Settlement::Release).await;
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    for run in &runs {
        let job = stage.get(run.job.id).await;
        assert_eq!((job.state, job.reason), (State::Cancelled, Some(EndReason::Requested)));
        assert_eq!(job.keep_until, job.ended_at.map(|at| at + DAY));
    }
    stage.end().await;
}

/// The cancelled may be kept for no time at all, and are still told of until they are pruned.
pub(super) async fn kept_for_no_time(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    stage.act(id, &Act::Cancel { keep: Duration::ZERO }).await;
    assert_eq!(stage.state(id).await, State::Cancelled);
    stage.advance(secs(5)).await;
    assert_eq!(stage.prune(Default::default()).await.done, 1);
    assert!(!stage.is_kept(id).await);
}

/// What is not there is missing, and so is what lives in another shard.
pub(super) async fn strangers_are_missing(stage: &Stage) {
    let other = stage.beside("other");
    let ([here], [there]) = (stage.enqueue([stage.job()]).await, other.enqueue([other.job()]).await);
    let unknown = JobId::new(stage.shard());
    let answer = stage.act_on(&[unknown, there, here], &cancel()).await;
    assert_eq!(answer, [Acted::Missing, Acted::Missing, Acted::Done(State::Cancelled)]);
    assert_eq!(other.state(there).await, State::Ready);
    let nowhere = stage.beside("nowhere");
    assert_eq!(nowhere.cancel(JobId::new(nowhere.shard())).await, Acted::Missing);
    assert!(!stage.storage().shards().await.unwrap().contains(nowhere.shard()), "asking makes no shard");
}
