//! Hints: who sleeps is told when a look is worth while. Hints may come for nothing, so only that they come is tested.

use std::time::Duration;

use super::actors::{TestWorker, settled};
use super::stage::{HOUR, MINUTE, Stage, completed, died, hear, retry_in, terms};
use crate::model::{Claimed, Settlement, When};
use crate::storage::{LeaseTerms, Listener, Topic};

/// A worker that listens, has found less than it wanted, and sleeps.
pub(super) async fn sleeper(stage: &Stage, tasks: &[&str]) -> (TestWorker, Listener) {
    let mut worker = stage.worker_of(tasks).await;
    let listener = stage.storage().listen(Topic::Worker(worker.id(), stage.shard().clone()));
    worker.claim(1).await;
    (worker, listener)
}

/// A worker that holds a job and does not sleep.
async fn holder(stage: &Stage) -> (TestWorker, Claimed) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.receive_one().await;
    (worker, run)
}

/// A sleeper is told of a job that is taken in.
pub(super) async fn of_a_new_job(stage: &Stage) {
    let (mut worker, listener) = sleeper(stage, &["t"]).await;
    for _ in 0..3 {
        let [id] = stage.enqueue([stage.job()]).await;
        hear(&listener, "a job is ready").await;
        assert_eq!(worker.claim_ids(2).await, [id]);
    }
}

/// A sleeper that only settles, or keeps the shard in order, sleeps on: the next job is told to it.
pub(super) async fn of_a_new_job_after_it_settled(stage: &Stage) {
    let (mut worker, listener) = sleeper(stage, &["t"]).await;
    stage.enqueue_many(1).await;
    hear(&listener, "a job is ready").await;
    let run = worker.claim(2).await.remove(0);
    worker.finish(&run, completed()).await;
    worker.upkeep().await;
    stage.enqueue_many(1).await;
    hear(&listener, "another job is ready").await;
}

/// A hint that came while nobody waited for it is kept.
pub(super) async fn of_what_came_before_it_waited(stage: &Stage) {
    let (_, listener) = sleeper(stage, &["t"]).await;
    stage.enqueue_many(1).await;
    stage.enqueue_many(1).await;
    hear(&listener, "a job was ready all the time").await;
}

/// A sleeper is told of a job that is due before it meant to look again.
pub(super) async fn of_a_job_that_is_due_sooner(stage: &Stage) {
    let (mut worker, listener) = sleeper(stage, &["t"]).await;
    for delay in [HOUR, MINUTE] {
        stage.enqueue([stage.job_at(When::In(delay))]).await;
        hear(&listener, "a job is due sooner").await;
        assert_eq!(worker.claim(1).await, []);
    }
}

/// A sleeper is told of a job that another gives back, or is to try again sooner than it meant to look.
pub(super) async fn of_a_job_that_is_given_back(stage: &Stage) {
    for settlement in [Settlement::Release, retry_in(Duration::ZERO), retry_in(MINUTE / 4)] {
        let stage = stage.beside(&format!("{:?}-{}", settlement.target().0, fastrand::u32(..)));
        let (mut worker, run) = holder(&stage).await;
        let (_, listener) = sleeper(&stage, &["t"]).await;
        worker.finish(&run, settlement).await;
        hear(&listener, "a job was given back").await;
    }
}

/// A sleeper is told of a job that is reached.
pub(super) async fn of_a_job_that_is_reached(stage: &Stage) {
    let (mut worker, run) = holder(stage).await;
    stage.enqueue([stage.job_after([run.job.id])]).await;
    let (_, listener) = sleeper(stage, &["t"]).await;
    worker.finish(&run, completed()).await;
    hear(&listener, "a job is reached").await;
}

/// A sleeper is told of a job that another's call promotes or takes back.
pub(super) async fn of_a_job_that_others_bring_back(stage: &Stage) {
    holder(stage).await;
    let (_, listener) = sleeper(stage, &["t"]).await;
    let mut witness = stage.worker_of(&[]).await;
    stage.run_out(&mut witness).await;
    hear(&listener, "a lease was taken back").await;
    let promoted = stage.beside("promoted");
    promoted.enqueue([promoted.job_at(When::In(MINUTE))]).await;
    let (_, listener) = sleeper(&promoted, &["t"]).await;
    promoted.advance(MINUTE).await;
    witness.at(promoted.shard()).upkeep().await;
    hear(&listener, "a job was promoted").await;
}

/// A sleeper who knows the task is told, even if another who does not know it looked first and parked the job.
pub(super) async fn of_a_job_that_others_park(stage: &Stage) {
    for strangers_first in [true, false] {
        let stage = stage.beside(if strangers_first { "first" } else { "last" });
        let mut strangers = Vec::new();
        let mut known = None;
        for stranger in [strangers_first, !strangers_first] {
            if stranger {
                strangers.push(sleeper(&stage, &["other"]).await);
            } else {
                known = Some(sleeper(&stage, &["t"]).await);
            }
        }
        stage.enqueue_many(1).await;
        for (stranger, _) in &mut strangers {
            assert_eq!(stranger.claim(1).await, []);
        }
        let (mut worker, listener) = known.expect("one of them");
        hear(&listener, "a job was parked for it").await;
        assert_eq!(worker.claim(1).await.len(), 1);
    }
}

/// A sleeper is told when another took less than was there.
pub(super) async fn of_what_others_leave(stage: &Stage) {
    let (mut greedy, _greedy_ear) = sleeper(stage, &["t"]).await;
    let (mut worker, listener) = sleeper(stage, &["t"]).await;
    stage.enqueue_many(2).await;
    assert_eq!(greedy.claim(1).await.len(), 1);
    hear(&listener, "a job was left").await;
    assert_eq!(worker.claim(1).await.len(), 1);
}

/// Who listens for a job is told when it ends: completed, dead, cancelled, or dead of a lost lease.
pub(super) async fn of_the_end_of_a_job(stage: &Stage) {
    let listen = |id| stage.storage().listen(Topic::Job(id));
    for settlement in [completed(), died()] {
        let (mut worker, run) = holder(stage).await;
        let [next] = stage.enqueue([stage.job_after([run.job.id])]).await;
        let (ended, followed) = (listen(run.job.id), listen(next));
        worker.finish(&run, settlement.clone()).await;
        hear(&ended, "it has ended").await;
        if settlement == completed() {
            stage.worker().await.run_one(completed()).await;
        }
        hear(&followed, "it has completed, or was cancelled").await;
    }
    stage.enqueue_many(1).await;
    let brittle = LeaseTerms { crash_limit: Some(1), ..terms() };
    let run = stage.worker_on(brittle).await.receive_one().await;
    let ended = listen(run.job.id);
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    hear(&ended, "it died of a lost lease").await;
}

/// Everyone who listens for a job is told, and who has stopped listening hinders nobody.
pub(super) async fn of_one_job_to_many(stage: &Stage) {
    let (mut worker, run) = holder(stage).await;
    let listeners: Vec<_> = (0..20).map(|_| stage.storage().listen(Topic::Job(run.job.id))).collect();
    drop(stage.storage().listen(Topic::Job(run.job.id)));
    worker.exchange(vec![settled(&run, completed())], 0, 0).await;
    for listener in &listeners {
        hear(listener, "it has ended").await;
    }
}
