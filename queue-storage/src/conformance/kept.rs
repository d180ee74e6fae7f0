//! What is kept for whom: an ended job gives up what it waited for, or keeps it so that it can be run again, or read.

use std::time::Duration;

use super::acts::revive;
use super::flows::{How, gone, value};
use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, boom, completed, died, returned, secs};
use crate::model::{EndReason, Input, JobId, NewJob, Settlement, State, Trigger, When};
use crate::storage::{Act, Acted, JobQuery, Retention};

/// Dead, and to be kept for so long.
fn dead_for(keep: Duration) -> Settlement {
    Settlement::Die { reason: EndReason::Fatal, failure: boom(), keep }
}

/// One job of each end that is kept for no longer than it is needed: completed with a result, cancelled, expired.
async fn three(stage: &Stage) -> [JobId; 3] {
    let late = NewJob { expires: Some(When::In(secs(5))), ..stage.job() };
    stage.enqueue([stage.job_with(9), stage.job_with(8), late]).await
}

/// Ends them.
async fn end_three(stage: &Stage, [_, b, _]: [JobId; 3]) {
    let terms = crate::storage::LeaseTerms { keep_ended: Duration::ZERO, ..super::stage::terms() };
    let mut worker = stage.worker_on(terms).await;
    worker.run_one(returned(b"a", Duration::ZERO)).await;
    stage.act(b, &Act::Cancel { keep: Duration::ZERO }).await;
    stage.advance(secs(10)).await;
    worker.upkeep().await;
}

async fn all_kept(stage: &Stage, ids: [JobId; 3]) -> [bool; 3] {
    let mut kept = [false; 3];
    for (kept, id) in kept.iter_mut().zip(ids) {
        *kept = stage.is_kept(id).await;
    }
    kept
}

/// A dead job keeps what it waited for, whatever became of that, until it is removed; so it can be run again with it.
pub(super) async fn the_dead_keep_what_they_took(stage: &Stage) {
    for delete in [true, false] {
        let stage = stage.beside(&format!("dead-{delete}"));
        let parents = three(&stage).await;
        let [id] = stage.enqueue([stage.job_when(Trigger::Ended, parents)]).await;
        end_three(&stage, parents).await;
        let mut worker = stage.worker().await;
        for keep in [HOUR, DAY] {
            let run = worker.claim_one().await;
            assert_eq!((run.job.id, &run.inputs[0]), (id, &value(b"a")));
            let ended = [stage.failed(parents[1]).await, stage.failed(parents[2]).await];
            assert_eq!(run.inputs[1..], ended);
            worker.finish(&run, dead_for(keep)).await;
            stage.advance(MINUTE).await;
            stage.prune_all().await;
            assert_eq!(all_kept(&stage, parents).await, [true; 3]);
            if keep == HOUR {
                assert_eq!(stage.act(id, &revive()).await, Acted::Done(State::Ready));
            }
        }
        if delete {
            assert_eq!(stage.act(id, &Act::Delete).await, Acted::Done(State::Dead));
        } else {
            stage.advance(DAY).await;
        }
        stage.prune_all().await;
        assert_eq!(all_kept(&stage, parents).await, [false; 3]);
        assert!(!stage.is_kept(id).await);
    }
}

/// A job that was cancelled for another keeps the rest of what it waited for until it is removed.
pub(super) async fn the_cancelled_for_others_keep_the_rest(stage: &Stage) {
    let parents = three(stage).await;
    let [bad] = stage.enqueue([stage.job_with(-1)]).await;
    let good = [parents[0], bad];
    let [id] = stage.enqueue([stage.job_after(good)]).await;
    end_three(stage, parents).await;
    stage.worker().await.run_one(dead_for(HOUR)).await;
    stage.assert_cancelled_for(id, bad).await;
    stage.advance(MINUTE).await;
    stage.prune_all().await;
    assert_eq!(all_kept(stage, parents).await, [true, false, false]);
    assert_eq!(stage.inputs(id).await[0], value(b"a"));
    stage.act(id, &Act::Delete).await;
    stage.prune_all().await;
    assert_eq!(all_kept(stage, parents).await, [false; 3]);
}

/// However a job ended that did not complete, it keeps what it waited for until it is removed; who completed needs nothing
/// any more.
pub(super) async fn only_the_completed_let_go(stage: &Stage) {
    for how in How::ALL {
        let stage = stage.beside(&format!("lets-go-{how:?}"));
        let mut worker = stage.worker().await;
        let [first] = stage.enqueue([stage.job_with(9)]).await;
        let [id] = stage.enqueue([NewJob { waits_for: vec![first], ..how.job(&stage) }]).await;
        worker.run_one(returned(b"x", Duration::ZERO)).await;
        assert_eq!(stage.state(id).await, State::Ready);
        how.end(&stage, &mut worker, id).await;
        worker.work_off().await;
        stage.advance(secs(2)).await;
        stage.prune_all().await;
        assert_eq!((stage.is_kept(first).await, stage.is_kept(id).await), (!how.is_good(), true), "{how:?}");
        let input = if how.is_good() { Input::Gone } else { value(b"x") };
        assert_eq!(stage.inputs(id).await, [input]);
        stage.act(id, &Act::Delete).await;
        stage.prune_all().await;
        assert!(!stage.is_kept(first).await, "{how:?}");
    }
}

/// Who was not needed needs nothing of those it waited for: a trace of which there are too many goes before it.
pub(super) async fn the_unneeded_let_go(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([stage.job_when(Trigger::Failed, [first])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    worker.work_off().await;
    assert_eq!(stage.get(id).await.reason, Some(EndReason::NotNeeded));
    assert_eq!(stage.prune(at_most(0, 9)).await.done, 1);
    assert_eq!((stage.is_kept(first).await, stage.is_kept(id).await), (false, true));
}

/// A dead letter is held for those who wait for it only until they were told, and then goes as any; who has not run by
/// then finds it gone.
pub(super) async fn a_dead_letter_is_let_go_of(stage: &Stage) {
    let [bad, other] = stage.enqueue([stage.job_with(9), stage.job()]).await;
    let [id] = stage.enqueue([stage.job_when(Trigger::Ended, [bad, other])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(dead_for(HOUR)).await;
    worker.work_off().await;
    let told = stage.failed(bad).await;
    assert_eq!(stage.inputs(id).await, [told, Input::Open(State::Ready)]);
    assert_eq!(stage.prune(at_most(9, 0)).await.done, 1, "there are too many");
    assert_eq!(stage.inputs(id).await, [Input::Gone, Input::Open(State::Ready)]);
    worker.run_one(completed()).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, &run.inputs[..]), (id, &[Input::Gone, Input::Nothing][..]));
    worker.finish(&run, died()).await;
}

/// A dead letter that is waited for by more than a call follows is listed and counted all the time, goes not before all
/// were told, and then does.
pub(super) async fn a_dead_letter_is_always_listed(stage: &Stage) {
    let [bad] = stage.enqueue([stage.job_with(9)]).await;
    stage.enqueue_all((0..350).map(|_| stage.job_after([bad])).collect()).await;
    let mut worker = stage.worker().await;
    worker.run_one(dead_for(Duration::ZERO)).await;
    assert!(stage.counts().await.of(State::Waiting) > 0);
    let dead = JobQuery { state: Some(State::Dead), ..JobQuery::default() };
    let listed = stage.storage().list(&dead).await.unwrap().jobs;
    assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), [bad]);
    stage.advance(secs(2)).await;
    stage.prune(at_most(9, 0)).await;
    assert!(stage.is_kept(bad).await, "not all were told");
    worker.work_off().await;
    assert_eq!((stage.counts().await.of(State::Waiting), stage.counts().await.of(State::Dead)), (0, 1));
    stage.prune_all().await;
    assert!(!stage.is_kept(bad).await);
    assert_eq!(stage.storage().list(&dead).await.unwrap().jobs, []);
}

/// Who comes after a dead letter does not hold it either, and hands on nothing of it once it has gone.
pub(super) async fn a_dead_letter_is_read_late(stage: &Stage) {
    let [bad] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    worker.run_one(dead_for(HOUR)).await;
    let [id] = stage.enqueue([stage.gather(Trigger::Ended, [bad])]).await;
    assert_eq!(stage.inputs(id).await, [stage.failed(bad).await]);
    assert_eq!(stage.act(bad, &Act::Delete).await, Acted::Done(State::Dead));
    assert_eq!(stage.inputs(id).await, [Input::Gone]);
}

/// A dead letter that was revived after who waited for its end was told of it is open again for them, and a job to run
/// for everyone else.
pub(super) async fn a_dead_letter_is_revived(stage: &Stage) {
    let [bad, other] = stage.enqueue([stage.job_with(9), stage.job()]).await;
    let [ended, failed] = stage
        .enqueue([stage.job_when(Trigger::Ended, [bad, other]), stage.job_when(Trigger::Failed, [bad, other])])
        .await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    assert_eq!(stage.states([ended, failed]).await, [State::Waiting, State::Ready]);
    assert_eq!(stage.act(bad, &revive()).await, Acted::Done(State::Ready));
    for id in [ended, failed] {
        assert_eq!(stage.inputs(id).await[0], Input::Open(State::Ready));
    }
    let late = NewJob { priority: 1, ..stage.job_when(Trigger::Ended, [bad]) };
    let [late] = stage.enqueue([late]).await;
    assert_eq!(stage.state(late).await, State::Waiting);
    assert_eq!(worker.run_one(returned(b"at last", HOUR)).await, bad);
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, run.inputs.clone()), (late, vec![value(b"at last")]));
    worker.finish(&run, completed()).await;
    worker.run_one(gone()).await;
    let runs = worker.claim(9).await;
    assert_eq!(runs.iter().map(|run| run.job.id).collect::<Vec<_>>(), [failed, ended]);
    for run in &runs {
        assert_eq!(run.inputs, [value(b"at last"), Input::Nothing]);
    }
}

/// A job that takes ends, or a failure, is revived once all it waited for have ended, however, and has them still.
pub(super) async fn the_revived_take_ends(stage: &Stage) {
    let [bad, open] = stage.enqueue([stage.job_with(9), stage.job_with(-9)]).await;
    let [ended, failed] =
        stage.enqueue([stage.job_when(Trigger::Ended, [bad]), stage.job_when(Trigger::Failed, [bad, open])]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    for id in [ended, failed] {
        assert_eq!(worker.run_one(died()).await, id);
    }
    let told = stage.failed(bad).await;
    assert_eq!(stage.act(ended, &revive()).await, Acted::Done(State::Ready));
    assert_eq!(worker.claim_one().await.inputs, std::slice::from_ref(&told));
    assert_eq!(stage.act(failed, &revive()).await, Acted::Refused(State::Dead), "one has not ended");
    worker.run_one(gone()).await;
    stage.advance(secs(2)).await;
    stage.prune_all().await;
    assert_eq!(stage.act(failed, &revive()).await, Acted::Done(State::Ready));
    assert_eq!(worker.claim_one().await.inputs, [told, Input::Nothing]);
}

/// Removing dead letters lets go of what they kept, which is removed in turn; each pruning within its bound.
pub(super) async fn letting_go_is_bounded(stage: &Stage) {
    let parents = stage.enqueue_many(200).await;
    let mut worker = stage.worker().await;
    let [a, b] = [(); 2].map(|()| NewJob { priority: -1, ..stage.job_after(parents.clone()) });
    let ids = [stage.enqueue([a]).await, stage.enqueue([b]).await].concat();
    let runs = worker.claim(200).await;
    worker.exchange(runs.iter().map(|run| super::actors::settled(run, gone())).collect(), 0, 0).await;
    worker.work_off().await;
    for _ in &ids {
        worker.run_one(dead_for(HOUR)).await;
    }
    stage.advance(MINUTE).await;
    assert_eq!(stage.prune(Retention::default()).await.done, 0, "they are kept");
    stage.advance(HOUR).await;
    let first = stage.prune(Retention::default()).await;
    assert_eq!((first.done, first.more), (2, true), "each lets go of two hundred");
    stage.prune_all().await;
    assert_eq!(stage.counts().await.stored.len(), 0);
}
