//! Jobs of a task that nobody knows: dead when they have been set aside for too long.

use std::time::Duration;

use super::stage::{DAY, HOUR, MINUTE, Stage, completed, hear, secs, task};
use crate::model::{EndReason, JobId, LEVEL, NewJob, State};
use crate::storage::{MAX_UPKEEP, Retention, Scope, Step, Topic};

/// Strangers are buried after a minute, and kept for an hour.
fn impatient() -> Retention {
    Retention { unknown: Some(MINUTE), keep_dead: HOUR, ..Retention::default() }
}

/// That many jobs of a task that nobody knows, parked.
async fn strangers(stage: &Stage, count: usize) -> Vec<JobId> {
    let ids = stage.enqueue_all((0..count).map(|_| stage.job_of("strange")).collect()).await;
    let mut worker = stage.worker().await;
    while worker.look(1).await.look_again == Some(Duration::ZERO) {}
    ids
}

/// A job that nobody knew for longer than the limit is dead, and not before; it is kept as long as was said.
pub(super) async fn who_is_unknown_for_too_long_dies(stage: &Stage) {
    let [id] = strangers(stage, 1).await[..] else { panic!("one job") };
    let parked_at = stage.get(id).await.parked_at.unwrap();
    stage.assert_same_time(parked_at, stage.now().await);
    let listener = stage.storage().listen(Topic::Job(id));
    stage.advance_until_just_before(MINUTE).await;
    assert_eq!(stage.prune(impatient()).await, Step::default());
    assert_eq!(stage.get(id).await.parked_at, Some(parked_at));
    stage.advance(stage.tick() * 2).await;
    assert_eq!(stage.prune(impatient()).await, Step { done: 1, more: false, died: vec![id] });
    hear(&listener, "it is dead").await;
    let job = stage.get(id).await;
    assert_eq!((job.state, job.reason, job.worker), (State::Dead, Some(EndReason::UnknownTask), None));
    assert_eq!((job.attempts, job.started_at, job.parked), (0, None, None));
    assert!(job.failure.is_some(), "a dead letter says what went wrong");
    assert_eq!(job.keep_until, job.ended_at.map(|at| at + HOUR));
    assert_eq!((stage.counts().await.ended.dead, stage.counts().await.parked), (1, 0));
    assert_eq!(stage.prune(impatient()).await, Step::default());
    assert_eq!(stage.worker_of(&["strange"]).await.claim(9).await, []);
    stage.advance(HOUR * 2).await;
    assert_eq!(stage.prune(impatient()).await, Step { done: 1, ..Step::default() });
}

/// Without a limit strangers wait for ever, and by default for a week.
pub(super) async fn the_limit_may_be_none(stage: &Stage) {
    let ids = strangers(stage, 1).await;
    stage.advance(DAY * 7 - HOUR).await;
    assert_eq!(stage.prune(Retention::default()).await.died, []);
    stage.advance(DAY * 400).await;
    assert_eq!(stage.prune(Retention { unknown: None, ..Retention::default() }).await.died, []);
    assert_eq!(stage.prune(Retention::default()).await.died, ids);
    let job = stage.get(ids[0]).await;
    assert_eq!(job.keep_until, job.ended_at.map(|at| at + DAY * 90));
}

/// Only those die that are parked because nobody knows their task: not who waits for a newer program, for the end of a
/// pause, or in line.
pub(super) async fn who_is_known_lives(stage: &Stage) {
    let newer = NewJob { needs: LEVEL + 1, ..stage.job() };
    let [newer, paused] = stage.enqueue([newer, stage.job_of("paused")]).await;
    stage.pause(Scope::Task(task("paused"))).await;
    let mut worker = stage.worker_of(&["t", "paused"]).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!(stage.counts().await.parked, 2);
    stage.enqueue([stage.job_of("strange")]).await;
    stage.advance(DAY).await;
    assert_eq!(stage.prune(impatient()).await, Step::default());
    assert_eq!((stage.state(newer).await, stage.state(paused).await), (State::Ready, State::Ready));
}

/// A job that somebody knew in time, and that came back, counts from when it was parked anew.
pub(super) async fn who_was_known_meanwhile_counts_anew(stage: &Stage) {
    let [id] = strangers(stage, 1).await[..] else { panic!("one job") };
    stage.advance(secs(50)).await;
    let mut knows = stage.worker_of(&["strange"]).await;
    let run = knows.claim_one().await;
    knows.finish(&run, crate::model::Settlement::Release).await;
    stage.worker().await.claim(1).await;
    stage.advance(secs(50)).await;
    assert_eq!(stage.prune(impatient()).await, Step::default());
    stage.advance(secs(20)).await;
    assert_eq!(stage.prune(impatient()).await.died, [id]);
}

/// One pruning buries as many as the contract says, those parked first at first, and tells that there are more.
pub(super) async fn burying_is_bounded(stage: &Stage) {
    let first = strangers(stage, 120).await;
    stage.advance(secs(1)).await;
    let urgent = stage.enqueue_all((0..30).map(|_| NewJob { priority: 9, ..stage.job_of("strange") }).collect()).await;
    stage.worker().await.claim(256).await;
    stage.advance(DAY).await;
    let step = stage.prune(impatient()).await;
    assert_eq!((step.done, step.more, step.died.len()), (MAX_UPKEEP, true, MAX_UPKEEP as usize));
    assert!(step.died.iter().all(|id| first.contains(id)), "those that were parked first");
    let step = stage.prune(impatient()).await;
    assert_eq!((step.more, step.died.len()), (false, 50));
    assert!(urgent.iter().all(|id| step.died.contains(id)));
    assert_eq!((stage.counts().await.ended.dead, stage.counts().await.live()), (150, 0));
}

/// Who waits for a stranger is cancelled for it by the next exchange.
pub(super) async fn who_waits_for_a_stranger_is_cancelled(stage: &Stage) {
    let [first] = strangers(stage, 1).await[..] else { panic!("one job") };
    let [id, next] = stage.enqueue([stage.job_after([first]), stage.job()]).await;
    stage.advance(HOUR).await;
    assert_eq!(stage.prune(impatient()).await.died, [first]);
    let mut worker = stage.worker().await;
    assert_eq!(worker.run_one(completed()).await, next);
    let job = stage.get(id).await;
    assert_eq!((job.reason, job.culprit), (Some(EndReason::Dependency), Some(first)));
}

/// The dead of this sort are dead letters as any: capped, listed, revived.
pub(super) async fn the_buried_are_dead_letters(stage: &Stage) {
    let ids = strangers(stage, 3).await;
    stage.advance(HOUR).await;
    let retention = Retention { dead: 2, ..impatient() };
    let mut done = 0;
    for _ in 0..5 {
        done += stage.prune(retention).await.done;
    }
    assert_eq!((done, stage.counts().await.of(State::Dead)), (4, 2));
    let mut kept = Vec::new();
    for id in ids {
        if stage.is_kept(id).await {
            kept.push(id);
        }
    }
    stage.act_on(&kept, &crate::storage::Act::Revive(crate::storage::Edit::new())).await;
    let mut runs = stage.worker_of(&["strange"]).await.claim_ids(9).await;
    runs.sort();
    kept.sort();
    assert_eq!(runs, kept);
}
