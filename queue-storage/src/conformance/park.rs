//! Heads that can't run here: they are set aside, keep their place, and stand in nobody's way.

use super::actors::{TestWorker, ids};
use super::stage::{Stage, completed, secs, task};
use crate::model::{JobId, LEVEL, NewJob, Parked, Settlement, State};
use crate::storage::MAX_HEADS;

/// A job of a task that the worker has not registered is parked, and the next one is claimed.
pub(super) async fn an_unknown_task_is_parked(stage: &Stage) {
    let [strange, known] = stage.enqueue([stage.job_of("strange"), stage.job()]).await;
    let before = stage.get(strange).await;
    assert_eq!(stage.worker().await.claim_ids(1).await, [known]);
    let after = stage.get(strange).await;
    assert_eq!((after.state, after.parked), (State::Ready, Some(Parked::UnknownTask)));
    assert_eq!((after.sequence, after.attempts), (before.sequence, 0));
    assert_eq!((stage.counts().await.parked, stage.counts().await.pending()), (1, 1));
}

/// Whoever parks jobs is told of which tasks, so that it can say so.
pub(super) async fn who_parks_is_told(stage: &Stage) {
    stage.enqueue([stage.job_of("b"), stage.job_of("a"), stage.job(), stage.job_of("b")]).await;
    let mut worker = stage.worker().await;
    let parked = worker.look(9).await.parked;
    assert_eq!(parked.iter().map(crate::model::TaskName::as_str).collect::<Vec<_>>(), ["a", "b"]);
    assert!(worker.look(9).await.parked.is_empty(), "once is enough");
}

/// A job that needs a newer program is parked for whoever understands it.
pub(super) async fn a_newer_job_is_parked(stage: &Stage) {
    let newer = NewJob { needs: LEVEL + 1, ..stage.job() };
    let [newer, known] = stage.enqueue([newer, stage.job()]).await;
    let mut old = stage.worker().await;
    assert_eq!(old.claim_ids(9).await, [known]);
    assert_eq!(stage.get(newer).await.parked, Some(Parked::NewerProgram));
    assert_eq!(old.claim_ids(9).await, [], "from the park neither");
    let mut new = stage.worker_with(&["t"], |record| record.understands = LEVEL + 1).await;
    assert_eq!(new.claim_ids(9).await, [newer]);
}

/// A parked job is claimed in its old place by who can run it, and is parked no more.
pub(super) async fn parked_jobs_keep_their_place(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job_of("s"), stage.job(), stage.job_of("s")]).await;
    let (mut knows_t, mut knows_both) = (stage.worker().await, stage.worker_of(&["s", "t"]).await);
    let run = knows_t.claim_one().await;
    assert_eq!(run.job.id, b);
    assert_eq!(knows_t.claim_ids(1).await, []);
    knows_t.finish(&run, Settlement::Release).await;
    let [urgent] = stage.enqueue([stage.job_with(1)]).await;
    let [last] = stage.enqueue([stage.job()]).await;
    let runs = knows_both.claim(9).await;
    assert_eq!(ids(&runs), [urgent, a, b, c, last]);
    assert!(runs.iter().all(|run| run.job.parked.is_none()));
    assert_eq!(stage.counts().await.parked, 0);
}

/// A worker takes from the park what it has room for and leaves the rest as it lies.
pub(super) async fn the_park_is_emptied_by_room(stage: &Stage) {
    let parked = stage.enqueue_all((0..5).map(|_| stage.job_of("s")).collect()).await;
    assert_eq!(stage.worker().await.claim_ids(1).await, []);
    let mut knows = stage.worker_of(&["s"]).await;
    assert_eq!(knows.claim_ids(2).await, parked[..2]);
    assert_eq!(stage.counts().await.parked, 3);
    assert_eq!(knows.claim_ids(9).await, parked[2..]);
}

/// From a park of several tasks a worker takes those it knows.
pub(super) async fn the_park_is_searched_by_task(stage: &Stage) {
    let strange = ["x", "y", "z", "x", "y", "z"].map(|name| stage.job_of(name));
    let [_, y, z, _, second_y, second_z] = stage.enqueue(strange).await;
    assert_eq!(stage.worker().await.claim_ids(1).await, []);
    assert_eq!(stage.worker_of(&["y", "z"]).await.claim_ids(9).await, [y, z, second_y, second_z]);
    assert_eq!(stage.counts().await.parked, 2);
}

/// A worker that learns a task by registering anew gets the jobs that waited for it; one that forgets it gets no more.
pub(super) async fn registering_anew_changes_what_is_known(stage: &Stage) {
    let [strange] = stage.enqueue([stage.job_of("s")]).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim_ids(1).await, []);
    worker.record.tasks = [task("s")].into();
    worker.register().await;
    let run = worker.claim_one().await;
    assert_eq!(run.job.id, strange);
    worker.finish(&run, completed()).await;
    stage.enqueue([stage.job()]).await;
    assert_eq!(worker.claim_ids(1).await, []);
}

/// Jobs nobody here knows, however many, hold up a known one by no more calls than it takes to look at them once.
pub(super) async fn strangers_do_not_block(stage: &Stage) {
    stage.enqueue_all((0..300).map(|_| stage.job_of("strange")).collect()).await;
    let [known] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    let first = worker.look(1).await;
    assert_eq!((ids(&first.claimed), first.look_again), (vec![], Some(secs(0))));
    assert!(stage.counts().await.parked <= u64::from(MAX_HEADS));
    assert_eq!(worker.claim_ids(1).await, [known]);
    assert_eq!(stage.counts().await.parked, 300);
}

/// A full park of strangers is looked at by no claim again.
pub(super) async fn a_parked_job_is_looked_at_once(stage: &Stage) {
    stage.enqueue_all((0..300).map(|_| stage.job_of("strange")).collect()).await;
    let mut worker = stage.worker().await;
    until_quiet(&mut worker).await;
    let [known] = stage.enqueue([stage.job_with(-1)]).await;
    assert_eq!(worker.claim_ids(1).await, [known]);
}

/// Two programs that know different tasks work side by side, each in order, and nothing is left.
pub(super) async fn two_programs_share_a_queue(stage: &Stage) {
    let names = ["s", "t"];
    let jobs: Vec<_> = (0..200).map(|n| stage.job_of(names[n / 3 % 2])).collect();
    let expected = names
        .map(|name| -> Vec<JobId> { jobs.iter().filter(|job| job.task == task(name)).map(|job| job.id).collect() });
    stage.enqueue_all(jobs).await;
    let mut workers = [stage.worker_of(&["s"]).await, stage.worker_of(&["t"]).await];
    let mut done = [Vec::new(), Vec::new()];
    for _ in 0..100 {
        for (worker, done) in workers.iter_mut().zip(&mut done) {
            let runs = worker.claim(7).await;
            worker.complete_all(&runs).await;
            done.extend(ids(&runs));
        }
    }
    assert_eq!(done, expected);
}

async fn until_quiet(worker: &mut TestWorker) {
    for _ in 0..10 {
        if worker.look(1).await.look_again != Some(secs(0)) {
            return;
        }
    }
    panic!("a call that finds nothing says for ever that there is more");
}
