//! Suspects: jobs whose last worker vanished are claimed as many at a time as asked for, and hide nobody.

use super::actors::ids;
use super::stage::{MINUTE, Stage, completed, died, retry_in, secs, snooze_in};
use crate::model::{JobId, Settlement};
use crate::storage::Renewed;

/// Makes suspects of the jobs that are ready: a worker receives them all and vanishes.
async fn make_suspects(stage: &Stage, count: u32) -> Vec<JobId> {
    let (mut lost, mut witness) = (stage.worker().await, stage.worker_of(&[]).await);
    let runs = lost.claim(count).await;
    assert_eq!(runs.len(), count as usize);
    assert!(lost.renew(&runs.iter().collect::<Vec<_>>()).await.iter().all(|one| *one == Renewed::Held));
    stage.run_out(&mut witness).await;
    for _ in 0..runs.len() / 100 {
        witness.upkeep().await;
    }
    ids(&runs)
}

/// The first suspects are claimed in their place, as many as asked for; the others hide nobody.
pub(super) async fn as_many_as_asked_for(stage: &Stage) {
    stage.enqueue_many(3).await;
    let suspects = make_suspects(stage, 3).await;
    let innocent = stage.enqueue_many(2).await;
    let mut worker = stage.worker().await;
    let none = worker.exchange(vec![], 1, 0).await;
    assert_eq!((ids(&none.claimed), none.suspects_left), (vec![innocent[0]], true));
    let two = worker.exchange(vec![], 9, 2).await;
    assert_eq!(ids(&two.claimed), [suspects[0], suspects[1], innocent[1]]);
    assert!(two.suspects_left);
    let rest = worker.exchange(vec![], 9, 2).await;
    assert_eq!((ids(&rest.claimed), rest.suspects_left), (vec![suspects[2]], false));
}

/// A suspect among others is claimed in its place: by priority, then by age.
pub(super) async fn in_their_place(stage: &Stage) {
    let [urgent, usual] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    make_suspects(stage, 2).await;
    let [first, second, last] = stage.enqueue([stage.job_with(2), stage.job_with(1), stage.job()]).await;
    let expected = [first, urgent, second, usual, last];
    assert_eq!(stage.worker().await.claim_ids(9).await, expected);
}

/// A wall of suspects does not keep an innocent job from a worker that wants none of them.
pub(super) async fn a_wall_of_them_hides_nobody(stage: &Stage) {
    stage.enqueue_many(256).await;
    make_suspects(stage, 256).await;
    stage.enqueue_many(50).await;
    make_some_more(stage).await;
    let [innocent] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    let answer = worker.exchange(vec![], 1, 0).await;
    assert_eq!((ids(&answer.claimed), answer.suspects_left), (vec![innocent], true));
}

/// Makes suspects of fifty more jobs behind others.
async fn make_some_more(stage: &Stage) {
    let (mut lost, mut witness) = (stage.worker().await, stage.worker_of(&[]).await);
    let runs = lost.exchange(vec![], 50, 0).await.claimed;
    assert_eq!(runs.len(), 50);
    lost.upkeep().await;
    stage.run_out(&mut witness).await;
}

/// Suspects of a task that a worker does not know are passed over, and stay suspects for those who know it.
pub(super) async fn strange_suspects_are_passed_over(stage: &Stage) {
    let strange = stage.enqueue([stage.job_of("s"), stage.job_of("s")]).await;
    let [known] = stage.enqueue([stage.job()]).await;
    let (mut lost, mut witness) = (stage.worker_of(&["s", "t"]).await, stage.worker_of(&[]).await);
    lost.claim(3).await;
    lost.upkeep().await;
    stage.run_out(&mut witness).await;
    let [innocent] = stage.enqueue([stage.job()]).await;
    let answer = stage.worker().await.exchange(vec![], 9, 1).await;
    assert_eq!(ids(&answer.claimed), [known, innocent]);
    let mut knows = stage.worker_of(&["s"]).await;
    let none = knows.exchange(vec![], 9, 0).await;
    assert_eq!((none.claimed, none.suspects_left), (vec![], true));
    let answer = knows.exchange(vec![], 9, 9).await;
    assert_eq!(ids(&answer.claimed), strange);
}

/// A wall of suspects that a worker can't run hides no suspect that it can.
pub(super) async fn a_strange_wall_hides_nobody(stage: &Stage) {
    let mut lost = stage.worker_of(&["s", "t"]).await;
    let mut witness = stage.worker_of(&[]).await;
    let strange: Vec<_> = (0..300).map(|_| stage.job_of("s")).collect();
    stage.enqueue_all(strange).await;
    let [known] = stage.enqueue([stage.job()]).await;
    for part in [256, 45] {
        assert_eq!(lost.claim(part).await.len(), part as usize);
    }
    lost.upkeep().await;
    stage.run_out(&mut witness).await;
    for _ in 0..3 {
        witness.upkeep().await;
    }
    let mut worker = stage.worker().await;
    for _ in 0..3 {
        let answer = worker.look(1).await;
        if !answer.claimed.is_empty() {
            return assert_eq!(ids(&answer.claimed), [known]);
        }
        assert_eq!(answer.look_again, Some(secs(0)), "there is more to look at");
    }
    panic!("the suspect is hidden");
}

/// Every settlement but a release clears the suspicion.
pub(super) async fn an_answer_clears_it(stage: &Stage) {
    let cases = [
        (completed(), false),
        (retry_in(MINUTE), false),
        (snooze_in(MINUTE), false),
        (died(), false),
        (Settlement::Release, true),
    ];
    for (priority, (settlement, still)) in (1..).zip(cases) {
        let [id] = stage.enqueue([stage.job_with(priority)]).await;
        make_suspects(stage, 1).await;
        assert!(stage.get(id).await.suspect);
        let mut worker = stage.worker().await;
        let run = worker.claim_one().await;
        assert!(run.job.suspect && run.job.confirm_first());
        worker.finish(&run, settlement.clone()).await;
        assert_eq!(stage.get(id).await.suspect, still, "{settlement:?}");
        assert_eq!(stage.get(id).await.crashes, 1, "{settlement:?}");
    }
}

/// A lapse makes nobody a suspect, and clears nobody.
pub(super) async fn a_lapse_changes_no_suspicion(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let mut witness = stage.worker_of(&[]).await;
    for suspect in [false, true] {
        stage.worker().await.claim_one().await;
        stage.run_out(&mut witness).await;
        assert_eq!(stage.get(id).await.suspect, suspect);
        make_suspects(stage, 1).await;
    }
    let job = stage.get(id).await;
    assert_eq!((job.lapses, job.crashes), (2, 2));
}

/// A job that has become a suspect while it was parked or ready elsewhere is counted as one by every worker.
pub(super) async fn suspicion_is_everyones(stage: &Stage) {
    stage.enqueue_many(1).await;
    let suspects = make_suspects(stage, 1).await;
    let mut a = stage.worker().await;
    assert!(a.exchange(vec![], 1, 0).await.suspects_left);
    let mut b = stage.worker().await;
    assert_eq!(ids(&b.exchange(vec![], 1, 1).await.claimed), suspects);
    assert!(!a.exchange(vec![], 1, 0).await.suspects_left);
}
