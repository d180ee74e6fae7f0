//! What frees a slot, and who comes next.

use super::actors::{TestWorker, ids, settled};
use super::notify::sleeper;
use super::stage::{
    DAY, GRACE, HALF, HOUR, Stage, boom, cancel, completed, died, hear, retry_in, returned, slots, snooze_in, terms,
};
use crate::model::{Claimed, EndReason, JobId, Limit, NewJob, Settlement, State, Timestamp, When};
use crate::storage::{Acted, LeaseTerms, Renewed, Usage};

/// The one slot of the key `k`.
fn one() -> [Limit; 1] {
    [slots("k", 1)]
}

/// A worker that runs a job under the key, and three jobs parked for its slot.
async fn set(stage: &Stage, lease: LeaseTerms, job: NewJob) -> (TestWorker, Claimed, Vec<JobId>) {
    stage.enqueue([job]).await;
    let mut worker = stage.worker_on(lease).await;
    let run = worker.claim_one().await;
    let waiting = stage.enqueue_under(&one(), 3).await;
    assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, 3));
    (worker, run, waiting)
}

async fn usual(stage: &Stage) -> (TestWorker, Claimed, Vec<JobId>) {
    set(stage, terms(), stage.job_under(one())).await
}

/// Asserts that the slot is free, and that the first of those who waited is in line in its old place and no other.
async fn assert_freed(stage: &Stage, waiting: &[JobId], what: &str) {
    let usage = stage.usage("k").await;
    assert_eq!((usage.running, usage.waiting), (0, 2), "{what}");
    assert!(stage.is_in_line(waiting[0]).await, "{what}");
    let first = stage.get(waiting[0]).await;
    assert_eq!((&first.parked_at, &first.parked_for), (&None, &None));
    assert!(first.sequence < stage.get(waiting[1]).await.sequence);
}

/// Settlements after which the job does not stand in line.
fn farewells() -> [Settlement; 8] {
    let off = Settlement::Cancel { reason: EndReason::CalledOff, failure: None, keep: HOUR };
    let hold = Settlement::Snooze { when: When::In(HOUR), hold: Some(HOUR) };
    let at = Settlement::Retry { when: When::At(Timestamp::MAX), failure: boom() };
    [completed(), returned(b"x", HOUR), retry_in(HOUR), at, snooze_in(HOUR), hold, died(), off]
}

/// Whatever a run is settled with frees its slot in the same step, for the first of those who wait.
pub(super) async fn every_settlement_frees(stage: &Stage) {
    for (n, settlement) in farewells().into_iter().enumerate() {
        let stage = stage.beside(&format!("settled-{n}"));
        let (mut worker, run, waiting) = usual(&stage).await;
        worker.finish(&run, settlement.clone()).await;
        assert_freed(&stage, &waiting, &format!("{settlement:?}")).await;
        assert_eq!(stage.worker().await.claim_ids(9).await, waiting[..1]);
        assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, 2));
    }
}

/// The call that settles claims what it freed.
pub(super) async fn one_call_frees_and_claims(stage: &Stage) {
    for (n, settlement) in farewells().into_iter().enumerate() {
        let stage = stage.beside(&format!("settled-{n}"));
        let (mut worker, run, waiting) = usual(&stage).await;
        let answer = worker.exchange(vec![settled(&run, settlement.clone())], 9, 9).await;
        assert_eq!(ids(&answer.claimed), waiting[..1], "{settlement:?}");
        assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, 2));
    }
}

/// A job that is given back frees its slot, and is the first who may have it again, being in its old place.
pub(super) async fn who_is_given_back_goes_first(stage: &Stage) {
    let (mut worker, run, waiting) = usual(stage).await;
    worker.finish(&run, Settlement::Release).await;
    assert_freed(stage, &waiting, "released").await;
    assert_eq!(stage.worker().await.claim_ids(9).await, [run.job.id]);
    assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, 3));
}

/// A job that is to run again at once has a new place, behind those who waited.
pub(super) async fn who_tries_again_goes_last(stage: &Stage) {
    let (mut worker, mut run, waiting) = usual(stage).await;
    let first = run.job.id;
    worker.finish(&run, Settlement::Retry { when: When::Now, failure: boom() }).await;
    for next in waiting.into_iter().chain([first]) {
        let claimed = worker.claim(9).await;
        assert_eq!(ids(&claimed), [next]);
        run = claimed[0].clone();
        worker.finish(&run, completed()).await;
    }
    assert_eq!(stage.usage("k").await, Usage::new());
}

/// A lost settlement frees nothing.
pub(super) async fn a_lost_settlement_frees_nothing(stage: &Stage) {
    let (mut worker, mut run, waiting) = usual(stage).await;
    run.fence.0 += 1;
    worker.settle(&run, completed()).await;
    assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, waiting.len() as u64));
    assert_eq!(worker.claim(9).await, []);
}

/// A job that was asked to stop holds its slot until its run has ended, however that ends.
pub(super) async fn who_is_asked_to_stop_holds_on(stage: &Stage) {
    for (n, settlement) in [retry_in(HOUR), Settlement::Release, completed()].into_iter().enumerate() {
        let stage = stage.beside(&format!("stopped-{n}"));
        let (mut worker, run, waiting) = usual(&stage).await;
        assert_eq!(stage.act(run.job.id, &cancel()).await, Acted::Asked);
        assert_eq!(worker.claim(9).await, []);
        assert_eq!(stage.usage("k").await.running, 1);
        worker.finish(&run, settlement).await;
        assert_freed(&stage, &waiting, "asked to stop").await;
    }
}

/// As many slots as fall free at once bring as many jobs back, the first ones, and no more.
pub(super) async fn as_many_come_as_may(stage: &Stage) {
    let jobs = stage.enqueue_under(&[slots("k", 3)], 9).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(9).await;
    worker.complete_all(&runs[..2]).await;
    for (n, id) in jobs.iter().enumerate().skip(3) {
        assert_eq!(stage.is_in_line(*id).await, n < 5, "{n}");
    }
    worker.complete_all(&runs[2..]).await;
    assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (0, 3));
    assert_eq!(worker.claim_ids(9).await, jobs[3..6]);
}

/// A worker that vanishes leaves no slot taken: it is free when its lease is taken back, whatever becomes of the job.
pub(super) async fn a_lost_lease_frees(stage: &Stage) {
    let once = |stage: &Stage| NewJob { at_most_once: true, ..stage.job_under(one()) };
    for (name, limit, delivered, asked) in
        [("crashed", 3, true, false), ("lapsed", 3, false, false), ("dead", 1, true, false), ("asked", 3, true, true)]
    {
        let stage = stage.beside(name);
        let lease = LeaseTerms { crash_limit: Some(limit), ..terms() };
        let (worker, run, waiting) = set(&stage, lease, stage.job_under(one())).await;
        if delivered {
            worker.renew(&[&run]).await;
        }
        if asked {
            stage.cancel(run.job.id).await;
        }
        assert_freed_when_run_out(&stage, &waiting, name).await;
        let lives = stage.state(run.job.id).await == State::Ready;
        assert_eq!(lives, !asked && limit > 1);
        let next = if lives { run.job.id } else { waiting[0] };
        assert_eq!(stage.worker().await.claim_ids(9).await, [next], "{name}: the first in line");
    }
    let stage = stage.beside("interrupted");
    let (worker, run, waiting) = set(&stage, terms(), once(&stage)).await;
    worker.renew(&[&run]).await;
    assert_freed_when_run_out(&stage, &waiting, "interrupted").await;
    assert_eq!(stage.worker().await.claim_ids(9).await, waiting[..1]);
}

async fn assert_freed_when_run_out(stage: &Stage, waiting: &[JobId], what: &str) {
    let mut witness = stage.worker_of(&[]).await;
    stage.advance(HALF).await;
    witness.upkeep().await;
    assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, 3), "{what}");
    stage.advance(HALF).await;
    witness.upkeep().await;
    assert_freed(stage, waiting, what).await;
}

/// A worker that says farewell holds the slots of its leases until they run out.
pub(super) async fn a_farewell_frees_when_it_runs_out(stage: &Stage) {
    let (worker, _, waiting) = usual(stage).await;
    worker.deregister().await;
    assert_eq!(stage.worker().await.claim(9).await, []);
    assert_freed_when_run_out(stage, &waiting, "a farewell").await;
}

/// A slot is held as long as its lease is renewed, and as long as a silence spares it.
pub(super) async fn a_slot_is_held_as_long_as_its_lease(stage: &Stage) {
    let (worker, run, waiting) = usual(stage).await;
    let mut other = stage.worker().await;
    for _ in 0..5 {
        stage.advance(HALF).await;
        assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
        assert_eq!(other.claim(9).await, []);
    }
    stage.advance(HOUR).await;
    assert_eq!(other.claim(9).await, [], "the storage was away, and the owner may still renew");
    assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, 3));
    stage.advance(GRACE).await;
    other.upkeep().await;
    assert_freed(stage, &waiting, "after the grace").await;
}

/// A slot whose lease has run out is its owner's until someone takes it back: who renews late keeps it.
pub(super) async fn who_renews_late_keeps_the_slot(stage: &Stage) {
    let (worker, run, _) = usual(stage).await;
    stage.advance(HOUR).await;
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
    assert_eq!(stage.worker().await.claim(9).await, []);
    assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, 3));
}

/// A sleeper hears of it when a slot falls free for someone who waits: by a settlement, and by a lease that is lost.
pub(super) async fn who_sleeps_is_told(stage: &Stage) {
    let (mut worker, run, waiting) = usual(stage).await;
    let (mut waker, listener) = sleeper(stage, &["t"]).await;
    worker.finish(&run, snooze_in(DAY)).await;
    hear(&listener, "a slot fell free").await;
    assert_eq!(waker.claim_ids(9).await, waiting[..1]);
    let (mut other, listener) = sleeper(stage, &["t"]).await;
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    hear(&listener, "a lease was lost").await;
    assert_eq!(other.claim_ids(9).await, waiting[..1]);
}
