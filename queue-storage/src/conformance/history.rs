//! What is remembered of runs: who ran, since when, how each ended, how far the latest got.

use std::time::Duration;

use super::actors::TestWorker;
use super::stage::{HALF, HOUR, MINUTE, Stage, boom, completed, died, hear, retry_in, secs, snooze_in, terms};
use crate::model::{Attempt, AttemptEnd, Claimed, Failure, FailureKind, JobId, Progress, Settlement, State, When};
use crate::storage::{LeaseTerms, Renewal, Renewed, Topic};

fn ends(history: &[Attempt]) -> Vec<AttemptEnd> {
    history.iter().map(|attempt| attempt.end.clone()).collect()
}

/// A worker whose jobs remember that many runs.
async fn forgetful(stage: &Stage, keep_attempts: u32) -> TestWorker {
    stage.worker_on(LeaseTerms { keep_attempts, ..terms() }).await
}

/// A job that runs.
async fn running(stage: &Stage) -> (TestWorker, Claimed) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.receive_one().await;
    (worker, run)
}

/// Each run that did not end the job is remembered, oldest first: who, from when to when, how, and what went wrong.
pub(super) async fn runs_are_remembered(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let mut expected = Vec::new();
    let retry = Settlement::Retry { when: When::Now, failure: boom() };
    let how = [
        (retry, AttemptEnd::Failed, Some(boom())),
        (snooze_in(Duration::ZERO), AttemptEnd::Snoozed, None),
        (Settlement::Release, AttemptEnd::Released, None),
    ];
    for (settlement, end, failure) in how {
        let mut worker = stage.worker().await;
        let run = worker.claim_one().await;
        assert_eq!((run.job.history.len(), run.job.worker), (expected.len(), Some(worker.id())));
        stage.advance(MINUTE).await;
        worker.finish(&run, settlement).await;
        let job = stage.get(id).await;
        expected.push((worker.id(), run.job.started_at.unwrap(), end, failure));
        assert_eq!((job.worker, job.history.len()), (None, expected.len()));
    }
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    let job = stage.get(id).await;
    for (attempt, (worker, started_at, end, failure)) in job.history.iter().zip(&expected) {
        assert_eq!((attempt.worker, attempt.started_at), (*worker, *started_at));
        assert_eq!((&attempt.end, &attempt.failure), (end, failure));
        stage.assert_same_time(attempt.ended_at, *started_at + MINUTE);
    }
    assert_eq!((job.worker, job.history.len()), (Some(worker.id()), 3));
    assert_eq!(ends(&job.attempts_made())[3], AttemptEnd::Completed);
}

/// A worker that vanished is remembered too, whether it had confirmed the delivery or not.
pub(super) async fn who_vanished_is_remembered(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let mut expected = Vec::new();
    for end in [AttemptEnd::Crashed, AttemptEnd::Lapsed] {
        let mut worker = stage.worker().await;
        let run = if end == AttemptEnd::Crashed { worker.receive_one().await } else { worker.claim_one().await };
        stage.run_out(&mut stage.worker_of(&[]).await).await;
        expected.push((worker.id(), run.job.started_at.unwrap(), end));
    }
    let job = stage.get(id).await;
    assert_eq!((job.worker, job.history.len()), (None, 2));
    for (attempt, (worker, started_at, end)) in job.history.iter().zip(expected) {
        assert_eq!((attempt.worker, attempt.started_at, &attempt.end), (worker, started_at, &end));
        stage.assert_same_time(attempt.ended_at, started_at + HALF * 2);
    }
}

/// Whoever ran a job when it ended stays named; where no run ended it, nobody is.
pub(super) async fn who_ended_it_is_named(stage: &Stage) {
    let (mut worker, run) = running(stage).await;
    worker.finish(&run, died()).await;
    assert_eq!(stage.get(run.job.id).await.worker, Some(worker.id()));
    let (crashing, run) = {
        stage.enqueue_many(1).await;
        let mut worker = stage.worker_on(LeaseTerms { crash_limit: Some(1), ..terms() }).await;
        let run = worker.receive_one().await;
        (worker, run)
    };
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    let job = stage.get(run.job.id).await;
    assert_eq!((job.state, job.worker), (State::Dead, Some(crashing.id())));
    assert_eq!(ends(&job.attempts_made()), [AttemptEnd::Crashed]);
    stage.enqueue_many(1).await;
    let id = worker.run_one(retry_in(HOUR)).await;
    stage.cancel(id).await;
    let job = stage.get(id).await;
    assert_eq!((job.worker, ends(&job.attempts_made())), (None, vec![AttemptEnd::Failed]));
}

/// A history holds as many runs as the terms of the worker say whose run was the last; older ones are forgotten.
pub(super) async fn a_history_is_bounded(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let length = async || stage.get(id).await.history.len();
    let mut usual = stage.worker().await;
    for n in 1..=12_usize {
        usual.run_one(Settlement::Release).await;
        assert_eq!(length().await, n.min(10));
    }
    let mut brief = forgetful(stage, 3).await;
    brief.run_one(snooze_in(Duration::ZERO)).await;
    let job = stage.get(id).await;
    use AttemptEnd::{Crashed, Released, Snoozed};
    assert_eq!(ends(&job.history), [Released, Released, Snoozed]);
    forgetful(stage, 2).await.receive_one().await;
    stage.run_out(&mut stage.worker().await).await;
    assert_eq!(ends(&stage.get(id).await.history), [Snoozed, Crashed], "the terms of who lost it");
    forgetful(stage, 0).await.run_one(Settlement::Release).await;
    assert_eq!(length().await, 0);
    forgetful(stage, 5).await.run_one(completed()).await;
    assert_eq!((length().await, stage.get(id).await.attempts_made().len()), (0, 1));
}

/// The message of a failure is kept whole while it is the last, and cut in the history.
pub(super) async fn long_messages_are_cut(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    let failure = Failure::new(FailureKind::Panic, "ü".repeat(Attempt::MAX_REMEMBERED)).of_type("std::io::Error");
    worker.run_one(Settlement::Retry { when: When::Now, failure: failure.clone() }).await;
    let job = stage.get(id).await;
    assert_eq!(job.failure, Some(failure.clone()));
    assert_eq!(job.history[0].failure, Some(failure.cut_to(Attempt::MAX_REMEMBERED)));
}

/// When a job was first claimed is kept through all its runs, and set by nothing else.
pub(super) async fn the_first_start_is_kept(stage: &Stage) {
    let [id] = stage.enqueue([stage.job_at(When::In(MINUTE))]).await;
    stage.advance(HOUR).await;
    let mut worker = stage.worker().await;
    worker.upkeep().await;
    assert_eq!((stage.get(id).await.first_started_at, stage.get(id).await.worker), (None, None));
    let run = worker.claim_one().await;
    let first = run.job.first_started_at;
    assert!(first.is_some() && first == run.job.started_at);
    worker.finish(&run, Settlement::Release).await;
    for _ in 0..3 {
        stage.advance(MINUTE).await;
        let run = worker.claim_one().await;
        assert!(run.job.first_started_at == first && run.job.started_at > first);
        worker.finish(&run, retry_in(Duration::ZERO)).await;
    }
    worker.run_one(completed()).await;
    assert_eq!(stage.get(id).await.first_started_at, first);
}

/// A repeat of a settlement puts nothing into the history again.
pub(super) async fn a_repeat_remembers_once(stage: &Stage) {
    let (mut worker, run) = running(stage).await;
    worker.finish(&run, Settlement::Release).await;
    worker.repeat().await;
    assert_eq!(stage.get(run.job.id).await.history.len(), 1);
}

/// A run tells how far it got, and who listens is told; what it told last is kept through its end.
pub(super) async fn progress_is_told(stage: &Stage) {
    let (mut worker, run) = running(stage).await;
    let id = run.job.id;
    assert_eq!(stage.get(id).await.progress, None);
    let listener = stage.storage().listen(Topic::Progress(id));
    for done in [1, 2, 1] {
        let progress = Progress::new(done, 2, "hälf");
        assert_eq!(worker.tell(&run, progress.clone()).await, Renewed::Held);
        hear(&listener, "it got on").await;
        assert_eq!(stage.get(id).await.progress, Some(progress));
    }
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
    worker.finish(&run, completed()).await;
    hear(&listener, "it has ended").await;
    assert_eq!(stage.get(id).await.progress, Some(Progress::new(1, 2, "hälf")));
}

/// Progress is that of the latest run: kept while the job waits for its next, and gone when that starts.
pub(super) async fn progress_is_the_latest_runs(stage: &Stage) {
    let (mut worker, run) = running(stage).await;
    let progress = Progress::new(u64::MAX, 0, "");
    worker.tell(&run, progress.clone()).await;
    worker.finish(&run, retry_in(MINUTE)).await;
    assert_eq!(stage.get(run.job.id).await.progress, Some(progress));
    stage.advance(MINUTE).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.progress, stage.get(run.job.id).await.progress), (None, None));
}

/// Who holds no lease tells nothing, and each lease of a renewal tells for itself.
pub(super) async fn only_holders_tell(stage: &Stage) {
    stage.enqueue_many(2).await;
    let mut worker = stage.worker().await;
    let (lost, held) = (worker.receive_one().await, worker.receive_one().await);
    worker.finish(&lost, Settlement::Release).await;
    let mut other = stage.worker().await;
    let theirs = other.claim_one().await;
    let renewal = worker.renewal(vec![(lost.job.id, lost.fence), (held.job.id, held.fence)]);
    let progress = [&lost, &held].map(|run| (run.job.id, Progress::new(1, 2, "on")));
    let answer = stage.storage().renew(Renewal { progress: progress.into(), ..renewal }).await.unwrap();
    assert_eq!(answer, [Renewed::Lost, Renewed::Held]);
    assert_eq!(stage.get(theirs.job.id).await, theirs.job);
    assert_eq!(stage.get(held.job.id).await.progress, Some(Progress::new(1, 2, "on")));
}

/// A run that was asked to stop still tells how far it got.
pub(super) async fn who_is_asked_to_stop_still_tells(stage: &Stage) {
    let (worker, run) = running(stage).await;
    stage.cancel(run.job.id).await;
    assert_eq!(worker.tell(&run, Progress::new(3, 4, "stopping")).await, Renewed::Stop);
    assert_eq!(stage.get(run.job.id).await.progress, Some(Progress::new(3, 4, "stopping")));
}

/// Progress without its lease, or twice, is invalid, and renews nothing.
pub(super) async fn progress_goes_with_its_lease(stage: &Stage) {
    let (worker, run) = running(stage).await;
    let before = stage.get(run.job.id).await;
    stage.advance(secs(5)).await;
    let one = |id| (id, Progress::new(1, 2, ""));
    for progress in [vec![one(JobId::new(stage.shard()))], vec![one(run.job.id), one(run.job.id)]] {
        let renewal = worker.renewal(vec![(run.job.id, run.fence)]);
        let error = stage.storage().renew(Renewal { progress, ..renewal }).await.unwrap_err();
        assert!(error.is_invalid());
    }
    assert_eq!(stage.get(run.job.id).await, before);
}
