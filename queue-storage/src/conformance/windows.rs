//! How long a job is the only one of its key: as long as its window says, and not a step longer.

use super::phases::{Phase, WINDOWS, come, is_free};

use super::actors::TestWorker;
use super::stage::{DAY, HALF, HOUR, MINUTE, Stage, completed, died, secs, terms};
use crate::model::{Conflict, EndReason, JobId, NewJob, Settlement, State, When, Window};
use crate::storage::{Act, Acted, Admission, Edit, LeaseTerms, Retention, Usage};

/// How a job ends.
async fn end(stage: &Stage, worker: &mut TestWorker, how: &str, id: JobId) {
    let off = Settlement::Cancel { reason: EndReason::CalledOff, failure: None, keep: HOUR };
    match how {
        "completed" => drop(worker.run_one(completed()).await),
        "dead" => drop(worker.run_one(died()).await),
        "called off" => drop(worker.run_one(off).await),
        "cancelled" => drop(stage.cancel(id).await),
        "deleted" => drop(stage.act(id, &Act::Delete).await),
        "stopped" => {
            let run = worker.claim_one().await;
            stage.cancel(id).await;
            worker.finish(&run, Settlement::Release).await;
        }
        "crashed" => {
            let lease = LeaseTerms { crash_limit: Some(1), ..terms() };
            stage.worker_on(lease).await.receive_one().await;
            stage.run_out(worker).await;
        }
        "expired" => {
            stage.advance(DAY).await;
            worker.upkeep().await;
        }
        "unknown" => {
            stage.worker_of(&[]).await.claim(9).await;
            stage.advance(DAY).await;
            stage.prune(Retention { unknown: Some(HOUR), ..Retention::default() }).await;
        }
        _ => panic!("no such end: {how}"),
    }
}

/// The step that ends a job frees its key, however it ends; a key that is for longer is freed by a deletion alone.
pub(super) async fn the_end_frees_the_key(stage: &Stage) {
    let ends = ["completed", "dead", "called off", "cancelled", "deleted", "stopped", "crashed", "expired", "unknown"];
    for (n, how) in ends.into_iter().enumerate() {
        for window in [Window::Started, Window::Finished, Window::For(DAY * 9), Window::Forever] {
            let stage = stage.beside(&format!("{n}-{window:?}").replace(['(', ')'], "-"));
            let expires = (how == "expired").then_some(When::In(HOUR));
            let job = NewJob { expires, ..stage.job_unique(window, Conflict::Existing) };
            let [id] = stage.enqueue([job]).await;
            let mut worker = stage.worker().await;
            assert!(!is_free(&stage).await);
            end(&stage, &mut worker, how, id).await;
            let free = how == "deleted" || matches!(window, Window::Started | Window::Finished);
            assert_eq!(is_free(&stage).await, free, "{how} {window:?}");
            assert_eq!(stage.usage("u").await.unique.is_some(), !free);
        }
    }
}

/// A job that is cancelled for another's sake, or expires while it waits, frees its key.
pub(super) async fn an_end_without_a_run_frees_the_key(stage: &Stage) {
    let mut worker = stage.worker().await;
    let [first] = stage.enqueue([stage.job()]).await;
    let job = NewJob { waits_for: vec![first], ..stage.job_unique(Window::Started, Conflict::Existing) };
    stage.enqueue([job]).await;
    assert!(!is_free(stage).await);
    worker.run_one(died()).await;
    assert!(is_free(stage).await);
    let [dead] = stage.enqueue([stage.job()]).await;
    assert_eq!(worker.run_one(died()).await, dead);
    let doomed = NewJob { waits_for: vec![dead], ..stage.job_unique(Window::Finished, Conflict::Reject) };
    let next = stage.job_unique(Window::Finished, Conflict::Reject);
    let answer = stage.caller().enqueue(vec![doomed, next]).await;
    assert_eq!(answer, [State::Cancelled, State::Ready].map(Admission::Added), "within one call");
}

/// A job that was needed when it was deleted, and so is still stored, has no key any more.
pub(super) async fn a_deletion_frees_the_key_at_once(stage: &Stage) {
    let [owner] = stage.enqueue([stage.job_unique(Window::Forever, Conflict::Existing)]).await;
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    let [reader] = stage.enqueue([NewJob { when: When::In(DAY), ..stage.job_after([owner]) }]).await;
    assert_eq!(stage.act(owner, &Act::Delete).await, Acted::Done(State::Completed));
    assert!(stage.is_kept(owner).await && stage.is_kept(reader).await);
    assert!(is_free(stage).await);
}

/// The key is as good as free for a call that comes right behind the end: the two are one step.
pub(super) async fn a_claim_is_the_start(stage: &Stage) {
    let [owner] = stage.enqueue([stage.job_unique(Window::Started, Conflict::Existing)]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    assert_eq!(stage.usage("u").await, Usage::new());
    let [next] = stage.enqueue([stage.job_unique(Window::Started, Conflict::Existing)]).await;
    worker.finish(&run, Settlement::Release).await;
    assert_eq!(stage.usage("u").await.unique, Some(next), "a job that comes back takes no key again");
    assert_eq!(worker.claim_ids(1).await, [owner]);
    assert_eq!(stage.usage("u").await.unique, Some(next), "and frees no other's");
    worker.repeat().await;
    stage.cancel(owner).await;
    assert_eq!(stage.usage("u").await.unique, Some(next));
}

/// A job that has no key any more frees none, whoever has it now.
pub(super) async fn only_the_owner_frees(stage: &Stage) {
    for window in [Window::Started, Window::For(MINUTE)] {
        let stage = stage.beside(&format!("{window:?}").replace(['(', ')'], "-"));
        stage.enqueue([stage.job_unique(window, Conflict::Existing)]).await;
        let mut worker = stage.worker().await;
        let run = worker.receive_one().await;
        stage.advance(HALF).await;
        worker.renew(&[&run]).await;
        stage.advance(HALF).await;
        let later = NewJob { when: When::In(DAY), ..stage.job_unique(Window::Finished, Conflict::Existing) };
        let [next] = stage.enqueue([later]).await;
        worker.finish(&run, completed()).await;
        assert_eq!(stage.usage("u").await.unique, Some(next));
        assert_eq!(stage.act(run.job.id, &Act::Delete).await, Acted::Done(State::Completed));
        assert_eq!(stage.usage("u").await.unique, Some(next), "{window:?}");
        assert!(!is_free(&stage).await);
    }
}

/// A window of time counts from when the job was taken in, to the tick, whatever becomes of the job and whoever comes.
pub(super) async fn a_window_of_time_is_exact(stage: &Stage) {
    let window = Window::For(HOUR);
    let job = NewJob { when: When::In(MINUTE), ..stage.job_unique(window, Conflict::Existing) };
    let [owner] = stage.enqueue([job]).await;
    let until = stage.get(owner).await.enqueued_at + HOUR;
    stage.advance(secs(30)).await;
    come(stage, window, Conflict::Debounce).await;
    assert_eq!((stage.usage("u").await.unique, stage.usage("u").await.unique_until), (Some(owner), Some(until)));
    stage.worker().await.run_one(completed()).await;
    stage.advance_until_just_before(HOUR - secs(30)).await;
    assert_eq!(come(stage, window, Conflict::Reject).await, Admission::Rejected(owner, Some(State::Completed)));
    stage.advance(stage.tick()).await;
    assert_eq!(stage.usage("u").await, Usage::new());
    assert_eq!(come(stage, window, Conflict::Reject).await, Admission::Added(State::Ready));
    assert!(stage.usage("u").await.unique_until > Some(until));
}

/// Pruning frees no key whose window lasts: who comes is told of the job that was, and that it is stored no more.
pub(super) async fn pruning_frees_no_key(stage: &Stage) {
    for (window, lasts) in [(Window::For(DAY), true), (Window::For(MINUTE), false), (Window::Forever, true)] {
        let stage = stage.beside(&format!("{window:?}").replace(['(', ')'], "-"));
        let owner = Phase::Pruned.bring(&stage, stage.job_unique(window, Conflict::Existing)).await;
        stage.advance(HOUR).await;
        stage.prune(Retention::default()).await;
        if lasts {
            for conflict in [Conflict::Existing, Conflict::Replace, Conflict::Debounce] {
                assert_eq!(come(&stage, window, conflict).await, Admission::Existing(owner, None));
            }
            assert_eq!(come(&stage, window, Conflict::Reject).await, Admission::Rejected(owner, None));
        }
        assert_eq!(is_free(&stage).await, !lasts);
        stage.advance(DAY).await;
        stage.prune(Retention::default()).await;
        assert_eq!(is_free(&stage).await, !lasts || window != Window::Forever);
        stage.advance(DAY * 1_000).await;
        stage.prune(Retention::default()).await;
        assert_eq!(is_free(&stage).await, window != Window::Forever);
    }
}

/// A revived job is unique no more: it keeps nobody out, and frees nobody's key.
pub(super) async fn the_revived_are_unique_no_more(stage: &Stage) {
    for window in WINDOWS {
        let stage = stage.beside(&format!("{window:?}").replace(['(', ')'], "-"));
        let [owner] = stage.enqueue([stage.job_unique(window, Conflict::Existing)]).await;
        let mut worker = stage.worker().await;
        worker.run_one(completed()).await;
        assert_eq!(stage.act(owner, &Act::Revive(Edit::new())).await, Acted::Done(State::Ready));
        assert_eq!((stage.get(owner).await.unique, stage.usage("u").await), (None, Usage::new()), "{window:?}");
        let later = NewJob { when: When::In(DAY), ..stage.job_unique(Window::Finished, Conflict::Reject) };
        let [next] = stage.enqueue([later]).await;
        worker.run_one(completed()).await;
        stage.act(owner, &Act::Delete).await;
        assert_eq!(stage.usage("u").await.unique, Some(next));
    }
}
