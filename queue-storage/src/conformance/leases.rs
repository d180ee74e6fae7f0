//! Leases: renewed, lost, taken back; what counts as a crash and what as a lapse.

use super::actors::TestWorker;
use super::stage::{DAY, HALF, LENGTH, Stage, completed, secs, terms};
use crate::model::{EndReason, Fence, JobId, NewJob, Settlement, State};
use crate::storage::{LeaseTerms, MAX_LAPSES, MAX_RENEWALS, Renewed, SettleAnswer};

/// A worker that takes nothing but the leases of others.
async fn witness(stage: &Stage) -> TestWorker {
    stage.worker_of(&[]).await
}

/// A renewed lease runs anew from the renewal, and the job is known to have been received.
pub(super) async fn renewing(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    stage.advance(HALF).await;
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
    let lease = stage.get(run.job.id).await.lease.unwrap();
    assert!(lease.delivered && lease.fence == run.fence);
    stage.assert_same_time(lease.until, run.job.started_at.unwrap() + HALF + LENGTH);
    assert_eq!(worker.renew(&[]).await, []);
}

/// A lease that is renewed in time is never taken back, however long the run.
pub(super) async fn a_renewed_lease_lasts(stage: &Stage) {
    stage.enqueue_many(1).await;
    let (mut worker, mut other) = (stage.worker().await, stage.worker().await);
    let run = worker.claim_one().await;
    for _ in 0..10 {
        stage.advance(HALF).await;
        assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
        assert_eq!(other.claim(1).await, []);
    }
    worker.finish(&run, completed()).await;
}

/// Each lease of a renewal is answered in its place and on its own.
pub(super) async fn each_lease_is_renewed_alone(stage: &Stage) {
    stage.enqueue_many(4).await;
    let (mut a, mut b) = (stage.worker().await, stage.worker().await);
    let (mine, ended, theirs) = (a.claim_one().await, a.claim_one().await, b.claim_one().await);
    let last = a.claim_one().await;
    a.finish(&ended, completed()).await;
    let leases = vec![
        (theirs.job.id, theirs.fence),
        (mine.job.id, mine.fence),
        (ended.job.id, ended.fence),
        (JobId::new(stage.shard()), mine.fence),
        (last.job.id, Fence(last.fence.0 + 1)),
        (last.job.id, last.fence),
    ];
    let answer = stage.storage().renew(a.renewal(leases)).await.unwrap();
    use Renewed::{Held, Lost};
    assert_eq!(answer, [Lost, Held, Lost, Lost, Lost, Held]);
    assert_eq!(stage.get(theirs.job.id).await, theirs.job);
}

/// A renewal holds as many leases as the contract says, and one more is invalid.
pub(super) async fn a_renewal_has_a_largest_size(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let stranger = |_| (JobId::new(stage.shard()), run.fence);
    let mut leases: Vec<_> = (0..MAX_RENEWALS).map(stranger).collect();
    leases[MAX_RENEWALS - 1] = (run.job.id, run.fence);
    let answer = stage.storage().renew(worker.renewal(leases.clone())).await.unwrap();
    assert_eq!((answer.len(), answer.last()), (MAX_RENEWALS, Some(&Renewed::Held)));
    leases.push(leases[0]);
    assert!(stage.storage().renew(worker.renewal(leases)).await.unwrap_err().is_invalid());
}

/// A lease that has run out but was not taken back is renewed.
pub(super) async fn a_late_renewal_counts(stage: &Stage) {
    stage.enqueue_many(1).await;
    let (mut worker, mut other) = (stage.worker().await, stage.worker().await);
    let run = worker.claim_one().await;
    stage.advance(LENGTH * 5).await;
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
    assert_eq!(other.claim(1).await, []);
    worker.finish(&run, completed()).await;
}

/// A worker that is not registered holds nothing.
pub(super) async fn who_is_unknown_renews_nothing(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    worker.deregister().await;
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Lost]);
    assert_eq!(stage.get(run.job.id).await, run.job);
}

/// A worker does not take its own leases back.
pub(super) async fn nobody_robs_himself(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    for _ in 0..5 {
        stage.advance(HALF).await;
        assert_eq!(worker.claim(1).await, []);
    }
    worker.finish(&run, completed()).await;
}

/// A job whose receipt was acknowledged crashes: it goes back to its place as a suspect, and no attempt is counted.
pub(super) async fn a_delivered_job_crashes(stage: &Stage) {
    for by_renewal in [true, false] {
        let stage = stage.beside(if by_renewal { "renewed" } else { "acknowledged" });
        stage.enqueue_many(1).await;
        let mut worker = stage.worker().await;
        let run = worker.claim_one().await;
        if by_renewal {
            assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
        } else {
            worker.upkeep().await;
        }
        stage.run_out(&mut witness(&stage).await).await;
        let job = stage.get(run.job.id).await;
        assert_eq!((job.state, job.crashes, job.lapses, job.attempts), (State::Ready, 1, 0, 0));
        assert_eq!((job.suspect, job.sequence), (true, run.job.sequence));
    }
}

/// A job whose receipt was never acknowledged lapses: nothing is held against it.
pub(super) async fn an_undelivered_job_lapses(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    stage.run_out(&mut witness(stage).await).await;
    let job = stage.get(run.job.id).await;
    assert_eq!((job.state, job.crashes, job.lapses, job.attempts), (State::Ready, 0, 1, 0));
    assert_eq!((job.suspect, job.sequence), (false, run.job.sequence));
    assert!(job.confirm_first());
}

/// A job that crashes as often as its worker's terms allow is dead, kept as long as they say.
pub(super) async fn crashes_are_limited(stage: &Stage) {
    for limit in [1, 3] {
        let stage = stage.beside(&format!("limit-{limit}"));
        let lost = LeaseTerms { crash_limit: Some(limit), keep_dead: DAY, ..terms() };
        let [id] = stage.enqueue([stage.job()]).await;
        for _ in 0..limit {
            assert_eq!(stage.state(id).await, State::Ready);
            stage.worker_on(lost).await.receive_one().await;
            stage.run_out(&mut witness(&stage).await).await;
        }
        let job = stage.get(id).await;
        assert_eq!((job.state, job.crashes, job.attempts), (State::Dead, limit, 0));
        assert_eq!(job.reason, Some(EndReason::Crashed));
        assert_eq!(job.keep_until, job.ended_at.map(|at| at + DAY));
        assert_eq!(stage.counts().await.ended.dead, 1);
    }
}

/// The terms that count are those of the worker that lost the lease, not of the one that takes it back.
pub(super) async fn terms_are_the_losers(stage: &Stage) {
    let strict = LeaseTerms { crash_limit: Some(1), ..terms() };
    let lax = LeaseTerms { crash_limit: None, ..terms() };
    let [id] = stage.enqueue([stage.job()]).await;
    stage.worker_on(lax).await.receive_one().await;
    stage.run_out(&mut stage.worker_with(&[], |record| record.lease = strict).await).await;
    assert_eq!(stage.state(id).await, State::Ready);
    stage.worker_on(strict).await.receive_one().await;
    stage.run_out(&mut stage.worker_with(&[], |record| record.lease = lax).await).await;
    assert_eq!(stage.state(id).await, State::Dead);
}

/// Without a limit, no number of crashes or lapses makes a job dead.
pub(super) async fn crashes_may_be_unlimited(stage: &Stage) {
    let lax = LeaseTerms { crash_limit: None, ..terms() };
    let [id] = stage.enqueue([stage.job()]).await;
    let mut witness = witness(stage).await;
    for _ in 0..MAX_LAPSES + 2 {
        stage.worker_on(lax).await.receive_one().await;
        stage.run_out(&mut witness).await;
        stage.worker_on(lax).await.claim_one().await;
        stage.run_out(&mut witness).await;
    }
    let job = stage.get(id).await;
    assert_eq!((job.state, job.crashes, job.lapses), (State::Ready, MAX_LAPSES + 2, MAX_LAPSES + 2));
}

/// A job that lapses too often is dead: its very receipt kills workers.
pub(super) async fn lapses_are_limited(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let mut witness = witness(stage).await;
    for _ in 0..MAX_LAPSES {
        assert_eq!(stage.state(id).await, State::Ready);
        stage.worker().await.claim_one().await;
        stage.run_out(&mut witness).await;
    }
    let job = stage.get(id).await;
    assert_eq!((job.state, job.reason), (State::Dead, Some(EndReason::Crashed)));
    assert_eq!((job.lapses, job.crashes), (MAX_LAPSES, 0));
    assert_eq!(job.keep_until, job.ended_at.map(|at| at + terms().keep_dead));
}

/// A job that runs at most once is dead when a lease is lost under which it may have run, and not before.
pub(super) async fn at_most_once(stage: &Stage) {
    let [id] = stage.enqueue([NewJob { at_most_once: true, ..stage.job() }]).await;
    let mut witness = witness(stage).await;
    stage.worker().await.claim_one().await;
    stage.run_out(&mut witness).await;
    assert_eq!((stage.state(id).await, stage.get(id).await.lapses), (State::Ready, 1));
    stage.worker().await.receive_one().await;
    stage.run_out(&mut witness).await;
    let job = stage.get(id).await;
    assert_eq!((job.state, job.reason), (State::Dead, Some(EndReason::Interrupted)));
    assert_eq!(job.keep_until, job.ended_at.map(|at| at + terms().keep_dead));
}

/// The jobs of a worker that says farewell run out by themselves and lapse, except for those that run at most once.
pub(super) async fn a_farewell_is_no_crash(stage: &Stage) {
    let once = NewJob { at_most_once: true, ..stage.job() };
    let [usual, once] = stage.enqueue([stage.job(), once]).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(2).await;
    assert_eq!(worker.renew(&[&runs[0], &runs[1]]).await, [Renewed::Held; 2]);
    worker.deregister().await;
    let mut witness = witness(stage).await;
    witness.upkeep().await;
    assert_eq!(stage.counts().await.of(State::Running), 2);
    stage.run_out(&mut witness).await;
    let (usual, once) = (stage.get(usual).await, stage.get(once).await);
    assert_eq!((usual.state, usual.lapses, usual.crashes), (State::Ready, 1, 0));
    assert!(!usual.suspect);
    assert_eq!((once.state, once.reason), (State::Dead, Some(EndReason::Interrupted)));
}

/// A lease that was taken back is of no use, even to a worker that has claimed the job anew.
pub(super) async fn a_lost_lease_is_lost(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let mut worker = stage.worker().await;
    let old = worker.claim_one().await;
    stage.run_out(&mut witness(stage).await).await;
    assert_eq!(worker.settle(&old, completed()).await, SettleAnswer::Lost);
    let new = worker.claim_one().await;
    assert!(new.job.id == id && new.fence > old.fence);
    assert_eq!(worker.renew(&[&old, &new]).await, [Renewed::Lost, Renewed::Held]);
    assert_eq!(worker.settle(&old, completed()).await, SettleAnswer::Lost);
    assert_eq!(stage.state(id).await, State::Running);
    worker.finish(&new, Settlement::Release).await;
}

/// More leases than a call takes back come with the calls that follow, the earliest first, and the call says so.
pub(super) async fn taking_back_is_bounded(stage: &Stage) {
    stage.enqueue_many(230).await;
    let (mut a, mut b) = (stage.worker().await, stage.worker().await);
    let first = a.claim(70).await;
    assert_eq!(first.len(), 70);
    stage.advance(secs(10)).await;
    assert_eq!(b.claim(160).await.len(), 160);
    let mut witness = witness(stage).await;
    stage.advance(HALF).await;
    witness.upkeep().await;
    stage.advance(HALF).await;
    for taken in [100, 200] {
        assert_eq!(witness.upkeep().await.look_again, Some(secs(0)));
        assert_eq!(stage.counts().await.of(State::Ready), taken);
        for run in &first {
            assert_eq!(stage.state(run.job.id).await, State::Ready, "the earliest first");
        }
    }
    witness.upkeep().await;
    assert_eq!(stage.counts().await.of(State::Ready), 230);
}

/// A worker that registers again, as after a lost answer, keeps its leases and numbers.
pub(super) async fn registering_again_keeps_leases(stage: &Stage) {
    stage.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    worker.register().await;
    worker.register().await;
    assert_eq!(worker.repeat().await.claimed.len(), 1);
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
    worker.finish(&run, completed()).await;
}

/// Saying farewell is forgetting: the worker is unknown afterwards, twice is once, and it may come again and count anew.
pub(super) async fn a_farewell_forgets(stage: &Stage) {
    stage.enqueue_many(2).await;
    let mut worker = stage.worker().await;
    for _ in 0..5 {
        worker.upkeep().await;
    }
    worker.deregister().await;
    worker.deregister().await;
    assert_eq!(stage.storage().workers().await.unwrap(), []);
    worker.register().await;
    worker.last.number = 0;
    assert_eq!(worker.claim(1).await.len(), 1);
}

/// Whoever takes leases back is told which jobs are dead for it, and of no others.
pub(super) async fn the_dead_are_told(stage: &Stage) {
    let once = NewJob { at_most_once: true, ..stage.job() };
    let [usual, once] = stage.enqueue([stage.job(), once]).await;
    let brittle = LeaseTerms { crash_limit: Some(1), ..terms() };
    stage.worker_on(brittle).await.receive_one().await;
    stage.worker().await.receive_one().await;
    let [lapsed] = stage.enqueue([stage.job()]).await;
    stage.worker().await.claim_one().await;
    let mut witness = witness(stage).await;
    stage.advance(HALF).await;
    assert_eq!(witness.upkeep().await.died().count(), 0);
    stage.advance(HALF).await;
    let mut died: Vec<_> = witness.upkeep().await.died().collect();
    died.sort();
    let mut expected = [usual, once];
    expected.sort();
    assert_eq!((died.as_slice(), stage.state(lapsed).await), (&expected[..], State::Ready));
    assert_eq!(witness.upkeep().await.died().count(), 0);
}
