//! Revocations: jobs that are cancelled when they come to run, and only then.

use std::time::Duration;

use super::actors::settled;
use super::stage::{DAY, HOUR, MINUTE, Stage, cancel, completed, hear, retry_in, secs, tag, task, terms};
use crate::model::{EndReason, JobId, NewJob, Settlement, State, Tag, When};
use crate::storage::{Control, LeaseTerms, MAX_HEADS, MAX_UPKEEP, Revocation, Topic};

fn of_task(name: &str) -> Revocation {
    Revocation { task: Some(task(name)), ..Revocation::default() }
}

fn of_tag(name: &str) -> Revocation {
    Revocation { tag: Some(tag(name)), ..Revocation::default() }
}

async fn revoke(stage: &Stage, revocation: Revocation) {
    assert!(stage.control(Control::Revoke(revocation)).await);
}

/// A job with these tags.
fn tagged(stage: &Stage, tags: &[&str]) -> NewJob {
    NewJob { tags: tags.iter().map(|name| tag(name)).collect::<Vec<Tag>>(), ..stage.job() }
}

async fn assert_revoked(stage: &Stage, id: JobId) {
    let job = stage.get(id).await;
    assert_eq!((job.state, job.reason.clone()), (State::Cancelled, Some(EndReason::Revoked)), "{job:?}");
}

/// A job that comes to run while it is revoked is cancelled, kept on the terms of the worker that would have run it, and
/// the next one is claimed.
pub(super) async fn who_comes_to_run_is_cancelled(stage: &Stage) {
    let [revoked, other] = stage.enqueue([stage.job_of("s"), stage.job()]).await;
    revoke(stage, of_task("s")).await;
    assert_eq!(stage.state(revoked).await, State::Ready, "not before it comes to run");
    let mut worker =
        stage.worker_with(&["s", "t"], |record| record.lease = LeaseTerms { keep_ended: DAY, ..terms() }).await;
    assert_eq!(worker.claim_ids(1).await, [other]);
    assert_revoked(stage, revoked).await;
    let job = stage.get(revoked).await;
    assert_eq!((job.worker, job.attempts, job.first_started_at, job.culprit), (None, 0, None, None));
    assert_eq!(job.keep_until, job.ended_at.map(|at| at + DAY));
    assert_eq!(stage.counts().await.ended.cancelled, 1);
    assert_eq!(stage.controls().await.revocations, [of_task("s")], "it goes on");
}

/// A revocation fits jobs that fit all that is given: the job, the task, the tag; and all jobs where nothing is given.
pub(super) async fn all_that_is_given_must_fit(stage: &Stage) {
    let jobs = [
        tagged(stage, &["a", "b"]),
        NewJob { task: task("s"), ..tagged(stage, &["a"]) },
        tagged(stage, &["b"]),
        stage.job_of("s"),
        stage.job(),
    ];
    let [both, strange, b, s, plain] = stage.enqueue(jobs).await;
    let with_tag = Revocation { tag: Some(tag("a")), ..of_task("t") };
    revoke(stage, with_tag.clone()).await;
    revoke(stage, Revocation { job: Some(plain), ..of_task("s") }).await;
    let mut worker = stage.worker_of(&["s", "t"]).await;
    let runs = worker.claim(9).await;
    assert_eq!(super::actors::ids(&runs), [strange, b, s, plain]);
    assert_revoked(stage, both).await;
    revoke(stage, Revocation { job: Some(plain), ..Revocation::default() }).await;
    revoke(stage, of_tag("a")).await;
    worker.exchange(runs.iter().map(|run| settled(run, Settlement::Release)).collect(), 0, 0).await;
    let runs = worker.claim(9).await;
    assert_eq!(super::actors::ids(&runs), [b, s]);
    worker.exchange(runs.iter().map(|run| settled(run, Settlement::Release)).collect(), 0, 0).await;
    revoke(stage, Revocation::default()).await;
    assert_eq!((worker.claim(9).await, stage.counts().await.ended.cancelled), (vec![], 5));
}

/// Jobs that merely wait are not touched, whatever for; restored in time, they run.
pub(super) async fn who_waits_is_not_touched(stage: &Stage) {
    let mut worker = stage.worker().await;
    stage.enqueue_many(2).await;
    let retrying = worker.run_one(retry_in(HOUR)).await;
    let held = worker.claim_one().await;
    let jobs = [stage.job_after([held.job.id]), stage.job_at(When::In(HOUR))];
    let [waiting, scheduled] = stage.enqueue(jobs).await;
    revoke(stage, of_task("t")).await;
    let before = stage.counts().await;
    worker.upkeep().await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!(stage.counts().await, before);
    worker.finish(&held, completed()).await;
    assert_eq!(stage.state(waiting).await, State::Ready);
    assert!(stage.control(Control::Restore(of_task("t"))).await);
    assert!(!stage.control(Control::Restore(of_task("t"))).await);
    stage.advance(HOUR).await;
    assert_eq!(worker.claim_ids(9).await, [waiting, retrying, scheduled]);
}

/// A run goes on though it is revoked; if it is to run again, it is not.
pub(super) async fn who_runs_is_not_touched(stage: &Stage) {
    stage.enqueue_many(3).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(3).await;
    revoke(stage, of_task("t")).await;
    assert_eq!(worker.repeat().await.claimed.len(), 3);
    let settlements = [completed(), retry_in(Duration::ZERO), Settlement::Release];
    let settlements = runs.iter().zip(settlements).map(|(run, how)| settled(run, how)).collect();
    assert_eq!(worker.exchange(settlements, 9, 9).await.claimed, []);
    assert_eq!(stage.state(runs[0].job.id).await, State::Completed);
    for run in &runs[1..] {
        assert_revoked(stage, run.job.id).await;
        let job = stage.get(run.job.id).await;
        assert_eq!((job.worker, job.history.len()), (None, 1), "no run ended it");
    }
}

/// A revocation until a moment ends at it, not a tick earlier.
pub(super) async fn until_a_moment(stage: &Stage) {
    let until = Some(stage.now().await + MINUTE);
    revoke(stage, Revocation { until, ..of_task("t") }).await;
    let mut worker = stage.worker().await;
    let [early] = stage.enqueue([stage.job()]).await;
    stage.advance_until_just_before(MINUTE).await;
    assert_eq!(worker.claim(9).await, []);
    assert_revoked(stage, early).await;
    let [late] = stage.enqueue([stage.job()]).await;
    stage.advance(stage.tick()).await;
    assert_eq!(worker.claim_ids(9).await, [late]);
    assert_eq!(stage.controls().await.revocations, []);
}

/// A revocation of the next one cancels one job and is gone, whoever comes next.
pub(super) async fn of_the_next_one(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job(), stage.job(), stage.job()]).await;
    revoke(stage, Revocation { next_only: true, ..of_task("t") }).await;
    let (mut first, mut second) = (stage.worker().await, stage.worker().await);
    assert_eq!(first.claim_ids(1).await, [b]);
    assert_revoked(stage, a).await;
    assert_eq!(stage.controls().await.revocations, []);
    assert_eq!(second.claim_ids(9).await, [c]);
    revoke(stage, Revocation { next_only: true, ..of_task("t") }).await;
    let jobs = stage.enqueue_many(3).await;
    assert_eq!(second.claim_ids(9).await, jobs[1..]);
    assert_revoked(stage, jobs[0]).await;
}

/// A revocation about the same jobs replaces the one before; those about others stand beside it.
pub(super) async fn the_last_word_counts(stage: &Stage) {
    let until = Some(stage.now().await + MINUTE);
    revoke(stage, of_task("t")).await;
    revoke(stage, of_task("s")).await;
    assert!(!stage.control(Control::Revoke(of_task("t"))).await, "that changes nothing");
    revoke(stage, Revocation { until, ..of_task("t") }).await;
    revoke(stage, Revocation { tag: Some(tag("a")), ..of_task("t") }).await;
    let said = stage.controls().await.revocations;
    assert_eq!(said.len(), 3);
    assert!(said.contains(&Revocation { until, ..of_task("t") }) && said.contains(&of_task("s")));
    assert!(stage.control(Control::Restore(Revocation { next_only: true, ..of_task("t") })).await, "the same jobs");
    assert_eq!(stage.controls().await.revocations.len(), 2);
    let [plain, a] = stage.enqueue([stage.job(), tagged(stage, &["a"])]).await;
    assert_eq!(stage.worker().await.claim_ids(9).await, [plain]);
    assert_revoked(stage, a).await;
}

/// A revocation that has ended before it begins changes nothing.
pub(super) async fn a_passed_moment_revokes_nothing(stage: &Stage) {
    let until = Some(stage.now().await);
    assert!(!stage.control(Control::Revoke(Revocation { until, ..of_task("t") })).await);
    stage.enqueue_many(1).await;
    assert_eq!(stage.worker().await.claim(9).await.len(), 1);
}

/// A wall of revoked jobs is worked off as any, and hides nobody.
pub(super) async fn a_revoked_wall_hides_nobody(stage: &Stage) {
    let wall = MAX_HEADS as usize + 50;
    stage.enqueue_all((0..wall).map(|_| stage.job_of("s")).collect()).await;
    let [known] = stage.enqueue([stage.job()]).await;
    revoke(stage, of_task("s")).await;
    let mut worker = stage.worker_of(&["s", "t"]).await;
    let first = worker.look(1).await;
    assert_eq!((first.claimed, first.look_again), (vec![], Some(secs(0))));
    assert_eq!(stage.counts().await.ended.cancelled, u64::from(MAX_HEADS));
    assert_eq!(worker.claim_ids(1).await, [known]);
    assert_eq!(stage.counts().await.ended.cancelled, wall as u64);
}

/// Jobs that were parked, and suspects, are cancelled as any when they come to run.
pub(super) async fn parked_jobs_and_suspects_too(stage: &Stage) {
    let [suspect] = stage.enqueue([stage.job()]).await;
    stage.worker().await.receive_one().await;
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    let [parked] = stage.enqueue([stage.job_of("s")]).await;
    stage.worker().await.exchange(vec![], 9, 0).await;
    assert_eq!((stage.counts().await.parked, stage.get(suspect).await.suspect), (1, true));
    revoke(stage, Revocation::default()).await;
    let mut worker = stage.worker_of(&["s", "t"]).await;
    assert_eq!(worker.claim(9).await, []);
    assert_revoked(stage, suspect).await;
    assert_revoked(stage, parked).await;
    assert_eq!(stage.counts().await.parked, 0);
}

/// Who waits for a revoked job is cancelled for it, and who listens is told.
pub(super) async fn who_waits_for_the_revoked_is_cancelled(stage: &Stage) {
    let [first] = stage.enqueue([stage.job_of("s")]).await;
    let crowd = stage.enqueue_all((0..MAX_UPKEEP + 50).map(|_| stage.job_after([first])).collect()).await;
    let ended = stage.storage().listen(Topic::Job(first));
    revoke(stage, of_task("s")).await;
    let mut worker = stage.worker_of(&["s"]).await;
    assert_eq!(worker.claim(9).await, []);
    hear(&ended, "it was cancelled").await;
    worker.work_off().await;
    for id in [crowd[0], crowd[crowd.len() - 1]] {
        let job = stage.get(id).await;
        assert_eq!((job.reason, job.culprit), (Some(EndReason::Dependency), Some(first)));
    }
    assert_eq!(stage.counts().await.live(), 0);
}

/// A call that cancels what came to run leaves edges to follow, and says so: a sleeper does not sleep over them.
pub(super) async fn edges_of_the_revoked_are_told_of(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let [next] = stage.enqueue([stage.job_after([first])]).await;
    revoke(stage, of_task("t")).await;
    let mut worker = stage.worker().await;
    let mut again = worker.look(1).await.look_again;
    for _ in 0..5 {
        if again != Some(Duration::ZERO) {
            break;
        }
        again = worker.look(1).await.look_again;
    }
    assert_eq!((stage.state(next).await, stage.counts().await.live()), (State::Cancelled, 0));
}

/// What is paused does not come to run, and is not revoked before it does.
pub(super) async fn the_paused_are_not_revoked(stage: &Stage) {
    let [id, other] = stage.enqueue([stage.job(), stage.job_of("s")]).await;
    stage.pause(crate::storage::Scope::Queue).await;
    revoke(stage, Revocation::default()).await;
    let mut worker = stage.worker_of(&["s", "t"]).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!((stage.state(id).await, stage.state(other).await), (State::Ready, State::Ready));
    stage.cancel(other).await;
    stage.resume(crate::storage::Scope::Queue).await;
    assert_eq!(worker.claim(9).await, []);
    assert_revoked(stage, id).await;
    assert_eq!(stage.act(other, &cancel()).await, crate::storage::Acted::Refused(State::Cancelled));
}

/// Revocations survive the storage, also that of the next one, once.
pub(super) async fn they_are_not_forgotten(stage: &Stage) {
    let jobs = [stage.job(), stage.job(), tagged(stage, &["a"])];
    let [first, second, a] = stage.enqueue(jobs).await;
    revoke(stage, Revocation { next_only: true, ..of_task("t") }).await;
    revoke(stage, of_tag("a")).await;
    let before = stage.controls().await;
    let Some(stage) = stage.reopen().await else { return };
    assert_eq!(stage.controls().await, before);
    assert_eq!(stage.worker().await.claim_ids(9).await, [second]);
    assert_revoked(&stage, first).await;
    assert_revoked(&stage, a).await;
    stage.end().await;
}
