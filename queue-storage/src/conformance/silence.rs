//! Silence is not death: after an outage, and when the clock goes back, owners get to renew before anyone is robbed.
//! Times in the comments are seconds since the job was claimed, its lease ending at 100.

use std::time::Duration;

use super::actors::{TestWorker, ids};
use super::stage::{DAY, GRACE, HALF, HOUR, LENGTH, SILENCE, Stage, WATCH, secs, terms};
use crate::model::{Claimed, JobId, State, When};
use crate::storage::{LeaseTerms, Renewed};

/// A worker that has received a job, and one that looks in from time to time.
async fn set(stage: &Stage) -> (TestWorker, Claimed, TestWorker) {
    stage.enqueue_many(1).await;
    let (mut worker, witness) = (stage.worker().await, stage.worker_of(&[]).await);
    let run = worker.receive_one().await;
    (worker, run, witness)
}

async fn runs(stage: &Stage, id: JobId) -> bool {
    stage.state(id).await == State::Running
}

/// A lease that ended while nobody could call is not taken back at once, and its owner renews it.
pub(super) async fn an_outage_counts_against_nobody(stage: &Stage) {
    let (worker, run, mut witness) = set(stage).await;
    stage.advance(HOUR).await;
    witness.upkeep().await;
    assert!(runs(stage, run.job.id).await);
    stage.advance(GRACE / 2).await;
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
    stage.advance(GRACE / 2).await;
    witness.upkeep().await;
    assert_eq!(stage.get(run.job.id).await.crashes, 0);
    assert!(runs(stage, run.job.id).await);
}

/// An owner that does not renew after the outage loses its lease as soon as the grace is over, and not before.
pub(super) async fn grace_ends(stage: &Stage) {
    let (_, run, mut witness) = set(stage).await;
    stage.advance(HOUR).await;
    let again = witness.upkeep().await.look_again.expect("there is a lease");
    assert!(again <= GRACE && again + stage.tick() > GRACE, "{again:?}");
    stage.advance_until_just_before(GRACE).await;
    witness.upkeep().await;
    assert!(runs(stage, run.job.id).await);
    stage.advance(stage.tick()).await;
    witness.upkeep().await;
    let job = stage.get(run.job.id).await;
    assert_eq!((job.state, job.crashes), (State::Ready, 1));
}

/// A lease that had ended before the silence began is taken back without grace.
pub(super) async fn who_was_late_before_gets_no_grace(stage: &Stage) {
    let (mut worker, run, mut witness) = set(stage).await;
    for _ in 0..2 {
        stage.advance(HALF + secs(3)).await; // 53, 106: the owner itself looks in, and takes nothing back
        worker.upkeep().await;
    }
    stage.advance(HOUR).await;
    witness.upkeep().await;
    assert!(!runs(stage, run.job.id).await);
}

/// Each lease is spared once: a storage that is away again and again keeps nobody's job for ever.
pub(super) async fn each_lease_is_spared_once(stage: &Stage) {
    for away in [SILENCE + secs(30), SILENCE * 2, HOUR] {
        let stage = stage.beside(&format!("away-{}", away.as_secs()));
        let (_, run, mut witness) = set(&stage).await;
        let mut outages = 0;
        while runs(&stage, run.job.id).await {
            outages += 1;
            assert!(outages <= 3, "still spared after three outages");
            stage.advance(away).await;
            witness.upkeep().await;
        }
        assert!(outages >= 2, "the first outage was not forgiven");
    }
}

/// A silence of two intervals is not an outage yet; a longer one is.
pub(super) async fn how_long_is_an_outage(stage: &Stage) {
    for outage in [false, true] {
        let stage = stage.beside(if outage { "longer" } else { "equal" });
        let (_, run, mut witness) = set(&stage).await;
        stage.advance(LENGTH - HALF).await; // 50
        witness.upkeep().await;
        let silence = if outage { SILENCE + stage.tick() } else { SILENCE + MICRO - stage.tick() };
        stage.advance(silence).await;
        witness.upkeep().await;
        assert_eq!(runs(&stage, run.job.id).await, outage);
    }
}

/// The finest tick there is.
const MICRO: Duration = Duration::from_micros(1);

/// What is a long silence is said by the terms of the worker that finds it.
pub(super) async fn the_caller_says_what_is_long(stage: &Stage) {
    let (_, run, _) = set(stage).await;
    let patient = LeaseTerms::of(LENGTH * 10);
    let mut witness = stage.worker_with(&[], |record| record.lease = patient).await;
    stage.advance(LENGTH + SILENCE).await;
    witness.upkeep().await;
    assert!(!runs(stage, run.job.id).await);
}

/// A silence while nobody held a lease is a quiet night and no outage.
pub(super) async fn a_quiet_night_is_no_outage(stage: &Stage) {
    let mut witness = stage.worker_of(&[]).await;
    witness.upkeep().await;
    stage.advance(HOUR).await;
    witness.upkeep().await;
    stage.enqueue_many(1).await;
    let run = stage.worker_on(LeaseTerms::of(secs(20))).await.receive_one().await;
    stage.advance(secs(20)).await; // well within the grace that a mistaken outage would give
    witness.upkeep().await;
    assert!(!runs(stage, run.job.id).await);
}

/// A renewal finds the outage too: the leases of others are spared from then on.
pub(super) async fn a_renewal_finds_the_outage(stage: &Stage) {
    let (worker, run, mut witness) = set(stage).await;
    stage.enqueue_many(1).await;
    let other = stage.worker().await.receive_one().await;
    stage.advance(HOUR).await;
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
    stage.advance(secs(5)).await;
    witness.upkeep().await;
    assert!(runs(stage, other.job.id).await);
    stage.advance(GRACE).await;
    witness.upkeep().await;
    assert!(!runs(stage, other.job.id).await && runs(stage, run.job.id).await);
}

/// A renewal is a sign of life of the storage: whoever renews keeps others from mistaking quiet for an outage.
pub(super) async fn renewals_break_the_silence(stage: &Stage) {
    let (worker, run, mut witness) = set(stage).await;
    stage.enqueue_many(1).await;
    let dead = stage.worker().await.receive_one().await;
    for _ in 0..2 {
        stage.advance(HALF).await;
        assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
    }
    witness.upkeep().await;
    assert!(!runs(stage, dead.job.id).await && runs(stage, run.job.id).await);
}

/// While leases stand, a sleeper is told to look in before its sleep could be taken for an outage.
pub(super) async fn sleepers_look_in(stage: &Stage) {
    let (_, run, mut witness) = set(stage).await;
    let again = witness.look(1).await.look_again.expect("a lease stands");
    assert!(again <= WATCH && again + stage.tick() > WATCH, "{again:?}");
    for _ in 0..3 {
        let again = witness.look(1).await.look_again.expect("a lease stands");
        stage.advance(again).await;
    }
    stage.assert_same_time(stage.now().await, run.job.started_at.unwrap() + LENGTH);
    assert_eq!(witness.look(1).await.look_again, None);
    assert!(!runs(stage, run.job.id).await);
}

/// When the clock goes back, a lease ends no later than its length from then.
pub(super) async fn a_clock_that_goes_back_holds_no_lease_for_long(stage: &Stage) {
    let (_, run, mut witness) = set(stage).await;
    stage.rewind(DAY).await;
    witness.upkeep().await;
    stage.advance(HALF).await;
    witness.upkeep().await;
    assert!(runs(stage, run.job.id).await);
    stage.advance(HALF).await;
    witness.upkeep().await;
    let job = stage.get(run.job.id).await;
    assert_eq!((job.state, job.crashes), (State::Ready, 1));
}

/// A lease that had ended before the clock went back is taken back without grace.
pub(super) async fn who_was_late_before_a_clock_went_back_gets_no_grace(stage: &Stage) {
    let (mut worker, run, mut witness) = set(stage).await;
    for _ in 0..2 {
        stage.advance(HALF + secs(10)).await; // 60, 120
        worker.upkeep().await;
    }
    stage.rewind(secs(10)).await; // 110
    witness.upkeep().await;
    assert!(!runs(stage, run.job.id).await);
}

/// A clock that goes back again and again keeps nobody's job for ever.
pub(super) async fn a_nervous_clock_spares_nobody_twice(stage: &Stage) {
    let (_, run, mut witness) = set(stage).await;
    for _ in 0..20 {
        stage.advance(GRACE / 2).await;
        witness.upkeep().await;
        stage.rewind(secs(3)).await;
        witness.upkeep().await;
    }
    assert!(!runs(stage, run.job.id).await, "spared for {:?}", (GRACE / 2 - secs(3)) * 20);
}

/// When the clock goes back, owners renew as ever, and fences and places rise as ever.
pub(super) async fn a_clock_that_goes_back_changes_no_order(stage: &Stage) {
    let (mut worker, run, mut witness) = set(stage).await;
    let [before] = stage.enqueue([stage.job()]).await;
    stage.rewind(DAY).await;
    let [after] = stage.enqueue([stage.job()]).await;
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
    let lease = stage.get(run.job.id).await.lease.unwrap();
    stage.assert_same_time(lease.until, stage.now().await + terms().length);
    let next = worker.claim(2).await;
    assert_eq!(ids(&next), [before, after]);
    assert!(next[0].fence > run.fence);
    witness.upkeep().await;
    worker.complete_all(&next).await;
}

/// When the clock goes back, a delayed job still waits for the moment it was given.
pub(super) async fn a_clock_that_goes_back_brings_nothing_early(stage: &Stage) {
    let [id] = stage.enqueue([stage.job_at(When::In(HOUR))]).await;
    stage.rewind(HOUR).await;
    let mut worker = stage.worker().await;
    stage.advance(HOUR + HOUR / 2).await;
    assert_eq!(worker.claim(1).await, []);
    stage.advance(HOUR / 2).await;
    assert_eq!(worker.claim_ids(1).await, [id]);
}
