//! Holds, and what is delivered to them: things that happen elsewhere.

use std::time::Duration;

use super::flows::{gone, value};
use super::notify::sleeper;
use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, boom, cancel, completed, died, hear, secs};
use crate::model::{EndReason, Ending, Input, JobId, NewJob, State, Trigger, When};
use crate::storage::{Act, Acted, Admission, Edit, KEEP_TOLD, MAX_DELIVER, MAX_UPKEEP, Topic};

/// How a job of some other shard ended, for the fault of another.
fn ending(stage: &Stage) -> Ending {
    let mut ending = Ending::new(stage.job().id, stage.job().task, State::Cancelled);
    (ending.reason, ending.culprit) = (Some(EndReason::Dependency), Some(stage.job().id));
    ending.failure = Some(boom().of_type("a::Type").of_version(Some("1.2.3".into())));
    ending
}

fn failure(ending: &Ending) -> Input {
    Input::Failed(Box::new(ending.clone()))
}

/// A hold waits for no job, and nothing but a delivery ends its wait: no worker, and no time.
pub(super) async fn a_hold_waits(stage: &Stage) {
    let mut caller = stage.caller();
    let hold = NewJob { when: When::In(secs(1)), ..stage.hold() };
    assert_eq!(caller.enqueue_one(hold.clone()).await, Admission::Added(State::Waiting));
    assert_eq!(caller.repeat().await, [Admission::Added(State::Waiting)]);
    assert_eq!(caller.enqueue_one(hold.clone()).await, Admission::Duplicate(State::Waiting));
    let [next] = stage.enqueue([stage.job_after([hold.id])]).await;
    let mut worker = stage.worker().await;
    for _ in 0..3 {
        stage.advance(DAY).await;
        assert_eq!(worker.claim(9).await, []);
        assert_eq!(stage.prune(at_most(0, 0)).await.done, 0);
    }
    assert_eq!((stage.states([hold.id, next]).await, stage.counts().await.live()), ([State::Waiting; 2], 2));
    assert_eq!(stage.inputs(next).await, [Input::Open(State::Waiting)]);
}

/// What expires a hold counts from when it came, or came to wait again; who waits for it is cancelled for it.
pub(super) async fn a_hold_expires(stage: &Stage) {
    let hold = NewJob { expires: Some(When::In(HOUR)), ..stage.hold() };
    let [id] = stage.enqueue([hold]).await;
    let [next, always] = stage.enqueue([stage.job_after([id]), stage.job_when(Trigger::Ended, [id])]).await;
    let job = stage.get(id).await;
    stage.assert_same_time(job.expires_at.unwrap(), job.enqueued_at + HOUR);
    let mut worker = stage.worker().await;
    let told = worker.upkeep().await.look_again.unwrap();
    assert!(told <= HOUR && told + stage.tick() >= HOUR, "{told:?}");
    stage.advance_until_just_before(HOUR).await;
    worker.upkeep().await;
    assert_eq!(stage.state(id).await, State::Waiting);
    stage.advance(stage.tick()).await;
    worker.upkeep().await;
    let job = stage.get(id).await;
    assert_eq!((job.state, job.reason), (State::Expired, Some(EndReason::Overdue)));
    stage.assert_cancelled_for(next, id).await;
    assert_eq!(worker.claim_ids(9).await, [always]);
    assert_eq!(stage.deliver(id, Input::Nothing).await, Some(State::Expired), "too late");
}

/// A delivered hold completes, with the result if there is one, and hands it on; it is kept for a while, and while it is
/// needed.
pub(super) async fn a_delivery_completes_it(stage: &Stage) {
    let mut worker = stage.worker().await;
    for input in [Input::Nothing, value(b"from afar"), value(b"")] {
        let [id, other] = stage.enqueue([stage.hold(), stage.hold()]).await;
        let [next] = stage.enqueue([stage.job_after([id])]).await;
        let listener = stage.storage().listen(Topic::Job(id));
        assert_eq!(stage.deliver(id, input.clone()).await, Some(State::Completed));
        hear(&listener, "it was delivered to").await;
        let job = stage.get(id).await;
        let result = if let Input::Returned(result) = &input { Some(result.clone()) } else { None };
        assert_eq!((job.state, job.result, job.reason, job.started_at), (State::Completed, result, None, None));
        let kept = job.ended_at.map(|ended| ended + KEEP_TOLD);
        assert_eq!((job.keep_until, job.worker, job.sequence), (kept, None, None));
        stage.advance(HOUR).await;
        stage.prune_all().await;
        let run = worker.claim_one().await;
        assert_eq!((run.job.id, &run.inputs), (next, &vec![input]));
        worker.finish(&run, completed()).await;
        stage.advance(secs(1)).await;
        stage.prune_all().await;
        assert!(!stage.is_kept(id).await, "nobody needs it any more");
        assert_eq!(stage.state(other).await, State::Waiting);
        stage.act(other, &Act::Delete).await;
    }
}

/// A failure that is delivered cancels the hold, and is carried on: who began it, and what went wrong last; it is kept as
/// long as what failed.
pub(super) async fn a_delivered_failure_is_carried(stage: &Stage) {
    let now = stage.now().await;
    let with_time = |keep| Ending { keep_until: keep, ..ending(stage) };
    let own = Ending { reason: Some(EndReason::Fatal), culprit: None, state: State::Dead, ..ending(stage) };
    for told in [with_time(Some(now + DAY)), with_time(None), with_time(Some(now - DAY)), own] {
        let [id] = stage.enqueue([stage.hold()]).await;
        let [next, always] = stage.enqueue([stage.job_after([id]), stage.job_when(Trigger::Ended, [id])]).await;
        assert_eq!(stage.deliver(id, failure(&told)).await, Some(State::Cancelled));
        let job = stage.get(id).await;
        assert_eq!((job.state, &job.reason), (State::Cancelled, &Some(EndReason::Dependency)));
        assert_eq!((job.culprit, &job.failure, &job.result), (Some(told.origin()), &told.failure, &None));
        let (kept, ended) = (job.keep_until.unwrap(), job.ended_at.unwrap());
        stage.assert_same_time(kept, told.keep_until.unwrap_or(ended).max(ended + KEEP_TOLD));
        stage.assert_cancelled_for(next, told.origin()).await;
        let run = stage.worker().await.claim_one().await;
        assert_eq!((run.job.id, &run.inputs), (always, &vec![stage.failed(id).await]));
        let Input::Failed(handed) = &run.inputs[0] else { panic!("{:?}", run.inputs) };
        assert_eq!((handed.job, &handed.failure, handed.origin()), (id, &told.failure, told.origin()));
    }
}

/// What is delivered to first counts, and whatever comes later changes nothing: to a hold that was delivered to, was
/// called off, or is to be found nowhere, and to what is no hold. Each is answered in its place.
pub(super) async fn later_deliveries_change_nothing(stage: &Stage) {
    let [a, b, c, job] = stage.enqueue([stage.hold(), stage.hold(), stage.hold(), stage.job()]).await;
    let [gather] = stage.enqueue([stage.gather(Trigger::Completed, [job])]).await;
    stage.act(c, &cancel()).await;
    let told = ending(stage);
    let all = [
        (a, value(b"first")),
        (b, failure(&told)),
        (stage.job().id, Input::Nothing),
        (job, Input::Nothing),
        (gather, value(b"x")),
        (c, value(b"late")),
        (a, failure(&told)),
        (b, value(b"second")),
    ];
    use State::{Cancelled, Completed, Ready, Waiting};
    let first = [Completed, Cancelled, Ready, Ready, Waiting, Cancelled, Completed, Cancelled].map(Some);
    let expected: Vec<_> = first.iter().enumerate().map(|(at, state)| state.filter(|_| at != 2)).collect();
    assert_eq!(stage.storage().deliver(stage.shard(), &all).await.unwrap(), expected);
    let before = [stage.get(a).await, stage.get(b).await, stage.get(c).await, stage.get(job).await];
    stage.advance(secs(5)).await;
    assert_eq!(stage.storage().deliver(stage.shard(), &all).await.unwrap(), expected, "a lost answer is given again");
    assert_eq!([stage.get(a).await, stage.get(b).await, stage.get(c).await, stage.get(job).await], before);
    assert_eq!(before[0].result.as_deref(), Some(&b"first"[..]));
    assert_eq!((stage.counts().await.ended.completed, stage.counts().await.ended.cancelled), (1, 2));
    let nowhere = stage.beside("nowhere");
    assert_eq!(nowhere.deliver(a, Input::Nothing).await, None, "each shard has its own");
    assert_eq!(stage.storage().deliver(stage.shard(), &[]).await.unwrap(), []);
}

/// A call delivers to as many as the contract says; more, or what no hold can be given, is invalid and delivers nothing.
pub(super) async fn a_delivery_has_a_largest_size(stage: &Stage) {
    let holds = stage.enqueue_all((0..=MAX_DELIVER).map(|_| stage.hold()).collect()).await;
    let all: Vec<(JobId, Input)> = holds.iter().map(|id| (*id, value(b"x"))).collect();
    let refused = async |all: &[(JobId, Input)]| {
        let error = stage.storage().deliver(stage.shard(), all).await.unwrap_err();
        assert!(error.is_invalid(), "{error}");
        assert_eq!(stage.counts().await.of(State::Waiting), MAX_DELIVER as u64 + 1);
    };
    refused(&all).await;
    for input in [Input::Open(State::Ready), Input::Gone, Input::Gathered(holds[0])] {
        refused(&[all[0].clone(), (holds[1], input)]).await;
    }
    let answer = stage.storage().deliver(stage.shard(), &all[1..]).await.unwrap();
    assert_eq!(answer, [Some(State::Completed); MAX_DELIVER]);
    assert_eq!(stage.states([holds[0]]).await, [State::Waiting]);
}

/// Who waits for a hold is followed within the bound of a call, and nobody is forgotten.
pub(super) async fn followed_in_bounds(stage: &Stage) {
    for good in [true, false] {
        let stage = stage.beside(&format!("bounds-{good}"));
        let [a, b] = stage.enqueue([stage.hold(), stage.hold()]).await;
        for hold in [a, b] {
            stage.enqueue_all((0..150).map(|_| stage.job_after([hold])).collect()).await;
        }
        let input = if good { value(b"x") } else { failure(&ending(&stage)) };
        let all = [(a, input.clone()), (b, input)];
        stage.storage().deliver(stage.shard(), &all).await.unwrap();
        let waiting = stage.counts().await.of(State::Waiting);
        assert!(waiting >= 300 - u64::from(MAX_UPKEEP), "{waiting} wait still");
        stage.worker().await.work_off().await;
        let counts = stage.counts().await;
        assert_eq!((counts.of(State::Waiting), counts.of(State::Ready)), (0, if good { 300 } else { 0 }));
        assert_eq!(counts.ended.cancelled, if good { 0 } else { 302 });
    }
}

/// Who sleeps is told of a job that a delivery reaches, or makes due.
pub(super) async fn a_delivery_wakes(stage: &Stage) {
    let [a, b] = stage.enqueue([stage.hold(), stage.hold()]).await;
    let soon = NewJob { when: When::In(MINUTE), ..stage.job_after([b]) };
    let [next, soon] = stage.enqueue([stage.job_after([a]), soon]).await;
    let (mut worker, listener) = sleeper(stage, &["t"]).await;
    stage.deliver(a, Input::Nothing).await;
    hear(&listener, "a job was reached").await;
    let run = worker.claim_one().await;
    assert_eq!(run.job.id, next);
    worker.finish(&run, gone()).await;
    assert_eq!(worker.claim(1).await, []);
    stage.deliver(b, Input::Nothing).await;
    hear(&listener, "a job is due sooner").await;
    assert_eq!(stage.state(soon).await, State::Scheduled);
}

/// People call a hold off and delete it as any job, and who waits for it is cancelled; edited or run again it is not, but
/// waits again.
pub(super) async fn people_act_on_it(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.hold(), stage.hold(), stage.hold()]).await;
    let [after_a, after_b] = stage.enqueue([stage.job_after([a]), stage.job_after([b])]).await;
    for act in [Act::Edit(Edit::new().when(When::Now)), Act::Revive(Edit::new()), Act::Rearm] {
        let before = stage.get(a).await;
        assert_eq!(stage.act(a, &act).await, Acted::Refused(State::Waiting), "{act:?}");
        assert_eq!(stage.get(a).await, before);
    }
    assert_eq!(stage.act(a, &cancel()).await, Acted::Done(State::Cancelled));
    assert_eq!(stage.act(b, &Act::Delete).await, Acted::Done(State::Cancelled));
    stage.assert_cancelled_for(after_a, a).await;
    stage.assert_cancelled_for(after_b, b).await;
    stage.deliver(c, value(b"x")).await;
    for act in [Act::Edit(Edit::new()), Act::Revive(Edit::new()), cancel()] {
        for id in [a, c] {
            let state = stage.state(id).await;
            assert_eq!(stage.act(id, &act).await, Acted::Refused(state), "{act:?}");
        }
    }
    let again = stage.act_on(&[a, c], &Act::Rearm).await;
    assert_eq!(again, [Acted::Done(State::Waiting), Acted::Refused(State::Completed)]);
    assert_eq!(stage.act(c, &Act::Delete).await, Acted::Done(State::Completed));
    assert!(!stage.is_kept(c).await);
}

/// A hold beside jobs is one of several to wait for, by every trigger.
pub(super) async fn one_of_several(stage: &Stage) {
    let [hold, job] = stage.enqueue([stage.hold(), stage.job()]).await;
    let both = [hold, job];
    let waiting = [Trigger::Completed, Trigger::Ended, Trigger::Failed].map(|trigger| stage.job_when(trigger, both));
    let [all, ended, failed] = stage.enqueue(waiting).await;
    stage.worker().await.run_one(died()).await;
    use State::{Cancelled, Ready, Waiting};
    assert_eq!(stage.states([all, ended, failed]).await, [Cancelled, Waiting, Ready]);
    stage.deliver(hold, value(b"x")).await;
    assert_eq!(stage.states([all, ended, failed]).await, [Cancelled, Ready, Ready]);
    assert_eq!(stage.inputs(ended).await, [value(b"x"), stage.failed(job).await]);
    stage.advance(Duration::from_secs(60)).await;
    stage.prune_all().await;
    assert!(stage.is_kept(hold).await, "it is needed");
}
