//! People and workers at once: whatever meets, one of them was first, and nothing is done twice.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::actors::TestWorker;
use super::races::{views, workers};
use super::stage::{HOUR, MINUTE, Stage, cancel, completed, died, task};
use crate::model::{JobId, Settlement, State, When};
use crate::storage::{Act, Acted, Control, Edit, Renewed, Retention, Revocation, SettleAnswer, Storage};

const ROUNDS: usize = 20;

/// The shard of a round, a worker, and the storage through which a person acts meanwhile.
async fn round(stage: &Stage, n: usize) -> (Stage, TestWorker, Arc<dyn Storage>) {
    let stage = stage.beside(&format!("round-{n}"));
    let [worker]: [TestWorker; 1] = workers(&stage, 1).await.try_into().unwrap();
    let views = views(&stage).await;
    let person = views[views.len() - 1].clone();
    (stage, worker, person)
}

/// Acts on one job, in a task of its own.
fn act(person: &Arc<dyn Storage>, stage: &Stage, id: JobId, act: Act) -> tokio::task::JoinHandle<Acted> {
    let (person, shard) = (person.clone(), stage.shard().clone());
    tokio::spawn(async move { person.act(&shard, &[id], &act).await.unwrap()[0] })
}

/// Of a cancellation and a claim that meet, one is first: the job never runs, or its run is asked to stop.
pub(super) async fn cancel_or_claim(stage: &Stage) {
    for n in 0..ROUNDS {
        let (stage, mut worker, person) = round(stage, n).await;
        let [id] = stage.enqueue([stage.job()]).await;
        let acting = act(&person, &stage, id, cancel());
        let claiming = tokio::spawn(async move { (worker.claim(1).await, worker) });
        let (acted, (claimed, worker)) = (acting.await.unwrap(), claiming.await.unwrap());
        match acted {
            Acted::Done(state) => {
                assert_eq!((state, claimed.len(), stage.state(id).await), (State::Cancelled, 0, State::Cancelled));
            }
            Acted::Asked => assert_eq!(worker.renew(&[&claimed[0]]).await, [Renewed::Stop]),
            other => panic!("{other:?}"),
        }
    }
}

/// Of a cancellation and a settlement that meet, one is first, and the job never lives on.
pub(super) async fn cancel_or_settle(stage: &Stage) {
    for n in 0..ROUNDS {
        let (stage, mut worker, person) = round(stage, n).await;
        let settlement = if n % 2 == 0 { completed() } else { Settlement::Release };
        stage.enqueue_many(1).await;
        let run = worker.receive_one().await;
        let id = run.job.id;
        let acting = act(&person, &stage, id, cancel());
        let settling = tokio::spawn({
            let settlement = settlement.clone();
            async move { worker.settle(&run, settlement).await }
        });
        let (acted, answer) = (acting.await.unwrap(), settling.await.unwrap());
        let called_off = n % 2 == 1 && acted == Acted::Asked;
        assert_eq!(answer, if called_off { SettleAnswer::Cancelled } else { SettleAnswer::Applied });
        let state = if n % 2 == 0 { State::Completed } else { State::Cancelled };
        assert_eq!(stage.state(id).await, state, "{acted:?}");
        let expected = [Acted::Asked, if n % 2 == 0 { Acted::Refused(state) } else { Acted::Done(state) }];
        assert!(expected.contains(&acted), "{acted:?}");
        assert_eq!(stage.counts().await.ended.total(), 1);
    }
}

/// Of a deletion and a claim that meet, one is first.
pub(super) async fn delete_or_claim(stage: &Stage) {
    for n in 0..ROUNDS {
        let (stage, mut worker, person) = round(stage, n).await;
        let [id] = stage.enqueue([stage.job()]).await;
        let acting = act(&person, &stage, id, Act::Delete);
        let claiming = tokio::spawn(async move { worker.claim(1).await });
        let (acted, claimed) = (acting.await.unwrap(), claiming.await.unwrap());
        let running = Acted::Refused(State::Running);
        let first = if claimed.is_empty() { Acted::Done(State::Cancelled) } else { running };
        assert_eq!((acted, stage.is_kept(id).await), (first, acted == running));
    }
}

/// Of an edit and a claim that meet, one is first: who runs has the new arguments and the edit was done, or the old ones
/// and it was refused.
pub(super) async fn edit_or_claim(stage: &Stage) {
    for n in 0..ROUNDS {
        let (stage, mut worker, person) = round(stage, n).await;
        let [id] = stage.enqueue([stage.job()]).await;
        let edit = Edit::new().envelope(bytes::Bytes::from_static(b"new"));
        let acting = act(&person, &stage, id, Act::Edit(edit));
        let claiming = tokio::spawn(async move { worker.claim_one().await });
        let (acted, run) = (acting.await.unwrap(), claiming.await.unwrap());
        let is_new = &run.job.envelope[..] == b"new";
        let expected = if is_new { Acted::Done(State::Ready) } else { Acted::Refused(State::Running) };
        assert_eq!(acted, expected);
    }
}

/// Of a job's being put off and a claim that meet, one is first.
pub(super) async fn put_off_or_claim(stage: &Stage) {
    for n in 0..ROUNDS {
        let (stage, mut worker, person) = round(stage, n).await;
        let [id] = stage.enqueue([stage.job()]).await;
        let acting = act(&person, &stage, id, Act::Edit(Edit::new().when(When::In(HOUR))));
        let claiming = tokio::spawn(async move { worker.claim(1).await });
        let (acted, claimed) = (acting.await.unwrap(), claiming.await.unwrap());
        let expected = if claimed.is_empty() { Acted::Done(State::Scheduled) } else { Acted::Refused(State::Running) };
        assert_eq!(acted, expected);
    }
}

/// Acts that meet are done once: a job is cancelled, deleted or revived by one of many.
pub(super) async fn one_of_many_acts(stage: &Stage) {
    let views = views(stage).await;
    for (n, what) in [cancel(), Act::Delete, Act::Revive(Edit::new())].into_iter().cycle().take(ROUNDS).enumerate() {
        let stage = stage.beside(&format!("round-{n}"));
        let [id] = stage.enqueue([stage.job()]).await;
        if matches!(what, Act::Revive(_)) {
            stage.worker().await.run_one(died()).await;
        }
        let mut tasks = JoinSet::new();
        for view in views.iter().cycle().take(6) {
            let acting = act(view, &stage, id, what.clone());
            tasks.spawn(async move { acting.await.unwrap() });
        }
        let answers = tasks.join_all().await;
        let done = answers.iter().filter(|acted| matches!(acted, Acted::Done(_))).count();
        assert_eq!(done, 1, "{what:?}: {answers:?}");
        let counts = stage.counts().await;
        let revived = u64::from(matches!(what, Act::Revive(_)));
        assert_eq!((counts.enqueued, counts.ended.total()), (1 + revived, 1));
    }
}

/// A revocation of the next one cancels one job, however many workers come for many.
pub(super) async fn one_is_the_next(stage: &Stage) {
    for n in 0..ROUNDS {
        let stage = stage.beside(&format!("round-{n}"));
        stage.enqueue_many(8).await;
        let one = Revocation { task: Some(task("t")), next_only: true, ..Revocation::default() };
        stage.control(Control::Revoke(one)).await;
        let mut tasks = JoinSet::new();
        for mut worker in workers(&stage, 4).await {
            tasks.spawn(async move { worker.claim(3).await.len() });
        }
        assert_eq!(tasks.join_all().await.iter().sum::<usize>(), 7);
        assert_eq!(stage.counts().await.ended.cancelled, 1);
    }
}

/// Changes of what is said that meet are all made, and never more than may be.
pub(super) async fn all_that_is_said(stage: &Stage) {
    let views = views(stage).await;
    let mut tasks = JoinSet::new();
    for (n, view) in views.iter().cycle().take(120).enumerate() {
        let (view, shard) = (view.clone(), stage.shard().clone());
        let one = Revocation { task: Some(task(&format!("task-{n}"))), ..Revocation::default() };
        tasks.spawn(async move { view.control(&shard, &Control::Revoke(one)).await.is_ok() });
    }
    let made = tasks.join_all().await.into_iter().filter(|made| *made).count();
    assert_eq!((made, stage.controls().await.revocations.len()), (100, 100));
}

/// Strangers are buried once, and told of once, however many prune.
pub(super) async fn burying_at_once(stage: &Stage) {
    stage.enqueue_all((0..150).map(|_| stage.job_of("strange")).collect()).await;
    stage.worker().await.claim(256).await;
    stage.advance(HOUR).await;
    let retention = Retention { unknown: Some(MINUTE), ..Retention::default() };
    let mut tasks = JoinSet::new();
    for view in views(stage).await.iter().cycle().take(6) {
        let (view, shard) = (view.clone(), stage.shard().clone());
        tasks.spawn(async move { view.prune(&shard, retention).await.unwrap().died });
    }
    let mut died = tasks.join_all().await.concat();
    assert_eq!(died.len(), 150);
    died.sort();
    died.dedup();
    assert_eq!((died.len(), stage.counts().await.ended.dead), (150, 150));
}

/// Jobs that are overdue are expired once, however many look.
pub(super) async fn expiring_at_once(stage: &Stage) {
    let late = || crate::model::NewJob { expires: Some(When::In(MINUTE)), ..stage.job() };
    stage.enqueue_all((0..350).map(|_| late()).collect()).await;
    stage.advance(MINUTE).await;
    let mut tasks = JoinSet::new();
    for mut worker in workers(stage, 6).await {
        tasks.spawn(async move { worker.claim(9).await.len() });
    }
    assert_eq!(tasks.join_all().await.iter().sum::<usize>(), 0);
    assert_eq!((stage.counts().await.ended.expired, stage.counts().await.live()), (350, 0));
}
