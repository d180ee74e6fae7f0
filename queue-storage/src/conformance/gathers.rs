//! Gathers: several jobs as one, that no worker runs.

use std::time::Duration;

use super::flows::{call_off, gone, value};
use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, cancel, completed, died, hear, returned, secs};
use crate::model::{EndReason, Input, JobId, NewJob, Node, State, Trigger};
use crate::storage::{Act, Acted, Admission, Edit, MAX_PRUNE, MAX_UPKEEP, MAX_WAITS_FOR, Retention, Topic};

/// One that is kept so long.
fn kept_for(keep: Duration, gather: NewJob) -> NewJob {
    NewJob { node: Node::Gather { keep }, ..gather }
}

/// A gather of nothing completes when it comes, and so does one of what has completed already.
pub(super) async fn of_nothing(stage: &Stage) {
    let mut worker = stage.worker().await;
    for trigger in [Trigger::Completed, Trigger::Ended, Trigger::Failed] {
        let mut caller = stage.caller();
        let empty = stage.gather(trigger, []);
        let answer = caller.enqueue(vec![empty.clone()]).await;
        assert_eq!(answer, [Admission::Added(State::Completed)]);
        assert_eq!(caller.repeat().await, answer);
        assert_eq!(caller.enqueue_one(empty.clone()).await, Admission::Duplicate(State::Completed));
        let of_it = stage.gather(Trigger::Completed, [empty.id]);
        assert_eq!(caller.enqueue_one(of_it.clone()).await, Admission::Added(State::Completed));
        assert_eq!(stage.inputs(empty.id).await, []);
        assert_eq!(stage.inputs(of_it.id).await, [Input::Gathered(empty.id)]);
    }
    assert_eq!((worker.claim(9).await, stage.counts().await.ended.completed), (vec![], 6));
}

/// A gather completes with the last of its members, by their end and by no run: it has no worker, no start and no result,
/// and hands on that it gathers them; they are read from it, in its order.
pub(super) async fn the_last_member_completes_it(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job_with(3), stage.job_with(2), stage.job_with(1)]).await;
    let [id] = stage.enqueue([kept_for(MINUTE, stage.gather(Trigger::Completed, [c, a, b]))]).await;
    let [next] = stage.enqueue([stage.job_after([id, a])]).await;
    let mut worker = stage.worker().await;
    let listener = stage.storage().listen(Topic::Job(id));
    for bytes in [&b"a"[..], b"b"] {
        worker.run_one(returned(bytes, HOUR)).await;
        assert_eq!(stage.state(id).await, State::Waiting);
    }
    assert_eq!(stage.inputs(id).await, [Input::Open(State::Ready), value(b"a"), value(b"b")]);
    worker.run_one(completed()).await;
    hear(&listener, "it has completed").await;
    let job = stage.get(id).await;
    assert_eq!((job.state, job.result, job.reason, job.worker), (State::Completed, None, None, None));
    assert_eq!((job.started_at, job.attempts, job.sequence, job.history), (None, 0, None, vec![]));
    stage.assert_same_time(job.keep_until.unwrap(), job.ended_at.unwrap() + MINUTE);
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (next, vec![Input::Gathered(id), value(b"a")]));
    assert_eq!(stage.inputs(id).await, [Input::Nothing, value(b"a"), value(b"b")]);
    assert_eq!(stage.storage().inputs(id).await.unwrap().unwrap().envelope, stage.job().envelope);
    assert_eq!(stage.storage().inputs(stage.job().id).await.unwrap(), None, "of what is not stored");
    assert_eq!((b, c), (stage.get(id).await.waits_for[2], stage.get(id).await.waits_for[0]));
}

/// A gather has as many members as a call has edges, and waits for the last of them.
pub(super) async fn of_a_thousand(stage: &Stage) {
    let members = stage.enqueue_many(MAX_WAITS_FOR).await;
    let [id] = stage.enqueue([stage.gather(Trigger::Completed, members.clone())]).await;
    let [next] = stage.enqueue([NewJob { priority: -1, ..stage.job_after([id]) }]).await;
    let mut worker = stage.worker().await;
    while stage.state(id).await == State::Waiting {
        let runs = worker.claim(256).await;
        assert!(!runs.is_empty(), "its members are there");
        worker.complete_all(&runs).await;
        worker.work_off().await;
    }
    assert_eq!(stage.counts().await.ended.completed, MAX_WAITS_FOR as u64 + 1);
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (next, vec![Input::Gathered(id)]));
    assert_eq!(stage.inputs(id).await, vec![Input::Nothing; MAX_WAITS_FOR]);
    assert_eq!(stage.get(id).await.waits_for, members);
}

/// Gathers of gathers complete one after the other in the call that completes the innermost member.
pub(super) async fn of_gathers(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job(), stage.job(), stage.job()]).await;
    let [left] = stage.enqueue([stage.gather(Trigger::Completed, [a, b])]).await;
    let [right] = stage.enqueue([stage.gather(Trigger::Completed, [c])]).await;
    let [all] = stage.enqueue([stage.gather(Trigger::Completed, [left, right])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    worker.run_one(completed()).await;
    assert_eq!(stage.states([left, right, all]).await, [State::Completed, State::Waiting, State::Waiting]);
    worker.run_one(completed()).await;
    assert_eq!(stage.states([right, all]).await, [State::Completed; 2]);
    assert_eq!(stage.inputs(all).await, [Input::Gathered(left), Input::Gathered(right)]);
}

/// A member that ends without completing cancels a gather of completions, and what it gathers stays as it is.
pub(super) async fn a_member_cancels_it(stage: &Stage) {
    let [a, b] = stage.enqueue([stage.job(), stage.job()]).await;
    let [id] = stage.enqueue([stage.gather(Trigger::Completed, [a, b])]).await;
    let [next] = stage.enqueue([stage.job_after([id])]).await;
    call_off(stage, b).await;
    for id in [id, next] {
        stage.assert_cancelled_for(id, b).await;
    }
    assert_eq!(stage.get(id).await.keep_until, stage.get(b).await.keep_until, "kept as long as the member");
    assert_eq!(stage.state(a).await, State::Ready);
    assert_eq!(stage.inputs(next).await, [stage.failed(id).await]);
}

/// A gather of ends completes though members failed, and tells how each ended.
pub(super) async fn of_ends(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job_with(2), stage.job_with(1), stage.job()]).await;
    let [id] = stage.enqueue([stage.gather(Trigger::Ended, [a, b, c])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    worker.run_one(returned(b"b", HOUR)).await;
    call_off(stage, c).await;
    assert_eq!(stage.state(id).await, State::Completed);
    assert_eq!(stage.inputs(id).await, [stage.failed(a).await, value(b"b"), stage.failed(c).await]);
}

/// A gather of failures completes with the first, and is not needed when there was none.
pub(super) async fn of_failures(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job_with(2), stage.job_with(1), stage.job()]).await;
    let [some] = stage.enqueue([stage.gather(Trigger::Failed, [a, c])]).await;
    let [none] = stage.enqueue([stage.gather(Trigger::Failed, [b])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    worker.run_one(completed()).await;
    assert_eq!(stage.states([some, none]).await, [State::Completed, State::Cancelled]);
    assert_eq!(stage.get(none).await.reason, Some(EndReason::NotNeeded));
    assert_eq!(stage.inputs(some).await, [stage.failed(a).await, Input::Open(State::Ready)]);
}

/// A chain of gathers, and many gathers of one job, are followed within the bounds of a call, and none is forgotten.
pub(super) async fn followed_in_bounds(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let mut chain = vec![stage.gather(Trigger::Completed, [first])];
    for _ in 0..240 {
        chain.push(stage.gather(Trigger::Completed, [chain[chain.len() - 1].id]));
    }
    let last = chain[240].id;
    stage.enqueue_all(chain).await;
    stage.enqueue_all((0..240).map(|_| stage.gather(Trigger::Completed, [first])).collect()).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let answer = worker.exchange(vec![super::actors::settled(&run, completed())], 0, 0).await;
    assert_eq!(answer.look_again, Some(Duration::ZERO), "there is more to do");
    let completed = stage.counts().await.ended.completed;
    assert!(completed <= 1 + 2 * u64::from(MAX_UPKEEP), "{completed} at once");
    worker.work_off().await;
    assert_eq!((stage.counts().await.ended.completed, stage.state(last).await), (482, State::Completed));
}

/// What a gather gathers is kept while it is stored, whatever was said of it, and let go of when it is pruned.
pub(super) async fn members_are_kept_with_it(stage: &Stage) {
    let [a, b] = stage.enqueue([stage.job(), stage.job()]).await;
    let [id] = stage.enqueue([kept_for(DAY, stage.gather(Trigger::Completed, [a, b]))]).await;
    let mut worker = stage.worker().await;
    worker.run_one(gone()).await;
    worker.run_one(returned(b"b", Duration::ZERO)).await;
    for _ in 0..2 {
        stage.advance(HOUR).await;
        assert_eq!(stage.prune(at_most(9, 0)).await.done, 0);
        assert_eq!(stage.inputs(id).await, [Input::Nothing, value(b"b")]);
    }
    assert_eq!(stage.act(a, &Act::Delete).await, Acted::Done(State::Completed), "it goes when it is needed no more");
    assert!(stage.is_kept(a).await);
    let refused = Acted::Refused(State::Completed);
    assert_eq!(stage.act(b, &Act::Revive(Edit::new())).await, refused, "its inputs would be gone");
    stage.advance(DAY).await;
    stage.prune_all().await;
    for id in [id, a, b] {
        assert!(!stage.is_kept(id).await, "none is stored any more");
    }
}

/// A gather that is needed is kept, and its members with it; deleted, it goes when that is over.
pub(super) async fn the_needed_are_kept(stage: &Stage) {
    let [a, other] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let [id] = stage.enqueue([kept_for(Duration::ZERO, stage.gather(Trigger::Completed, [a]))]).await;
    let [next] = stage.enqueue([stage.job_after([id, other])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(returned(b"a", Duration::ZERO)).await;
    assert_eq!(stage.act(id, &Act::Delete).await, Acted::Done(State::Completed));
    stage.advance(HOUR).await;
    stage.prune_all().await;
    worker.run_one(gone()).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs[0].clone()), (next, Input::Gathered(id)));
    assert_eq!(stage.inputs(id).await, [value(b"a")]);
    worker.finish(&run, completed()).await;
    stage.advance(secs(1)).await;
    stage.prune_all().await;
    assert!(!stage.is_kept(id).await && !stage.is_kept(a).await && stage.is_kept(next).await);
}

/// Letting go of the members of a gather counts against the bound of a pruning: of small ones few go at once, and a large
/// one goes whole.
pub(super) async fn pruning_them_is_bounded(stage: &Stage) {
    let members = stage.enqueue_many(100).await;
    let keep = Duration::ZERO;
    for _ in 0..2 {
        let ten = (0..10).map(|_| kept_for(keep, stage.gather(Trigger::Completed, members.clone())));
        stage.enqueue_all(ten.collect()).await;
    }
    let mut worker = stage.worker().await;
    let runs = worker.claim(100).await;
    worker.complete_all(&runs).await;
    worker.work_off().await;
    stage.advance(secs(2)).await;
    let step = stage.prune(Retention::default()).await;
    let fits = MAX_PRUNE / 101 + 1;
    assert_eq!((step.done, step.more), (fits, true), "each touches a hundred others");
    let large = (0..600).map(|_| stage.job()).collect();
    let large: Vec<JobId> = stage.enqueue_all(large).await;
    let [id] = stage.enqueue([kept_for(keep, stage.gather(Trigger::Ended, large.clone()))]).await;
    for ids in large.chunks(100) {
        stage.act_on(ids, &Act::Cancel { keep }).await;
    }
    worker.work_off().await;
    assert_eq!(stage.state(id).await, State::Completed);
    stage.advance(secs(2)).await;
    let mut steps = 0;
    while stage.prune(at_most(0, 0)).await.more {
        steps += 1;
        assert!(steps < 30, "pruning never ends");
    }
    assert!(steps >= 8 && !stage.is_kept(id).await && !stage.is_kept(large[599]).await, "{steps} steps");
}

/// People call a waiting gather off and delete it as any job; edited or run again it is not.
pub(super) async fn people_act_on_it(stage: &Stage) {
    let [member] = stage.enqueue([stage.job()]).await;
    let gathers = [(); 3].map(|()| stage.gather(Trigger::Completed, [member]));
    let [a, b, c] = stage.enqueue(gathers).await;
    let [after] = stage.enqueue([stage.job_after([a])]).await;
    for act in [Act::Edit(Edit::new().priority(3)), Act::Revive(Edit::new()), Act::Rearm] {
        let before = stage.get(a).await;
        assert_eq!(stage.act(a, &act).await, Acted::Refused(State::Waiting), "{act:?}");
        assert_eq!(stage.get(a).await, before);
    }
    assert_eq!(stage.act(a, &cancel()).await, Acted::Done(State::Cancelled));
    stage.assert_cancelled_for(after, a).await;
    assert_eq!(stage.act(b, &Act::Delete).await, Acted::Done(State::Cancelled));
    let mut worker = stage.worker().await;
    worker.run_one(gone()).await;
    let none = [Act::Edit(Edit::new()), Act::Revive(Edit::new()), Act::Rearm, cancel()];
    for act in none {
        assert_eq!(stage.act(c, &act).await, Acted::Refused(State::Completed), "{act:?}");
    }
    assert_eq!(stage.act(c, &Act::Delete).await, Acted::Done(State::Completed));
    stage.advance(secs(1)).await;
    stage.prune_all().await;
    assert!(stage.is_kept(member).await, "the one that was called off may wait for it again");
    stage.act_on(&[after, a], &Act::Delete).await;
    stage.prune_all().await;
    for id in [a, b, c, member] {
        assert!(!stage.is_kept(id).await);
    }
}
