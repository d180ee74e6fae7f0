//! Jobs tied together: the words in which the cases of triggers, gathers, holds and relays are told.

use bytes::Bytes;

use super::actors::TestWorker;
use super::stage::{HOUR, MINUTE, Stage, cancel, died, returned, terms};
use crate::model::{EndReason, Ending, Input, JobId, NewJob, Node, Settlement, State, Trigger, When};
use crate::storage::{Control, LeaseTerms, Outbox, Receipt, Retention, Revocation};

impl Stage {
    /// A job that is reached by this trigger.
    pub(super) fn job_when(&self, trigger: Trigger, waits_for: impl Into<Vec<JobId>>) -> NewJob {
        NewJob { trigger, ..self.job_after(waits_for) }
    }

    /// Several jobs as one.
    pub(super) fn gather(&self, trigger: Trigger, waits_for: impl Into<Vec<JobId>>) -> NewJob {
        NewJob { node: Node::Gather { keep: HOUR }, ..self.job_when(trigger, waits_for) }
    }

    /// Something that happens elsewhere.
    pub(super) fn hold(&self) -> NewJob {
        NewJob { node: Node::Hold, ..self.job() }
    }

    /// The other end of a hold that is there.
    pub(super) fn relay(&self, of: JobId, there: &Self, to: JobId) -> NewJob {
        let node = Node::Relay { shard: there.shard().clone(), to };
        NewJob { node, ..self.job_when(Trigger::Ended, [of]) }
    }

    /// Delivers to one hold; the state it is in then.
    pub(super) async fn deliver(&self, id: JobId, input: Input) -> Option<State> {
        self.storage().deliver(self.shard(), &[(id, input)]).await.expect("deliver")[0]
    }

    /// What stands in the outbox, once these relays have been sent as they stand there.
    pub(super) async fn outbox(&self, sent: &[JobId]) -> Outbox {
        let mut receipts = Vec::new();
        for relay in sent {
            let job = self.storage().get(*relay).await.expect("get").found();
            receipts.push(Receipt { relay: *relay, sequence: job.and_then(|job| job.sequence).unwrap_or(0) });
        }
        self.receive(&receipts).await
    }

    /// What stands in the outbox, once these parcels have arrived.
    pub(super) async fn receive(&self, sent: &[Receipt]) -> Outbox {
        self.storage().outbox(self.shard(), sent).await.expect("outbox")
    }

    /// The relays that stand in the outbox, in its order.
    pub(super) async fn posted(&self) -> Vec<JobId> {
        self.outbox(&[]).await.parcels.iter().map(|parcel| parcel.relay).collect()
    }

    /// What the jobs before it hand on to a stored job.
    pub(super) async fn inputs(&self, id: JobId) -> Vec<Input> {
        self.storage().inputs(id).await.expect("inputs").expect("it is stored").inputs
    }

    /// How an ended job ended, as it hands it on.
    pub(super) async fn failed(&self, id: JobId) -> Input {
        Input::Failed(Box::new(Ending::of(&self.get(id).await)))
    }

    /// The states of several jobs.
    pub(super) async fn states<const N: usize>(&self, ids: [JobId; N]) -> [State; N] {
        let mut states = [State::Waiting; N];
        for (state, id) in states.iter_mut().zip(ids) {
            *state = self.state(id).await;
        }
        states
    }

    /// Prunes until there is nothing more to remove.
    pub(super) async fn prune_all(&self) {
        while self.prune(Retention::default()).await.more {}
    }

    /// Asserts that a job was cancelled for this one.
    pub(super) async fn assert_cancelled_for(&self, id: JobId, culprit: JobId) {
        let job = self.get(id).await;
        assert_eq!((job.state, job.reason), (State::Cancelled, Some(EndReason::Dependency)), "{id}");
        assert_eq!(job.culprit, Some(culprit), "who began it");
    }
}

/// These bytes, returned.
pub(super) fn value(bytes: &'static [u8]) -> Input {
    Input::Returned(Bytes::from_static(bytes))
}

/// Completed, returning nothing, kept no longer than it is needed.
pub(super) fn gone() -> Settlement {
    Settlement::Complete { result: None, keep: std::time::Duration::ZERO }
}

/// A way in which a job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Completed,
    Dead,
    Cancelled,
    Expired,
    Crashed,
    Revoked,
    CalledOff,
}

impl How {
    pub(super) const ALL: [Self; 7] =
        [Self::Completed, Self::Dead, Self::Cancelled, Self::Expired, Self::Crashed, Self::Revoked, Self::CalledOff];

    pub(super) const fn is_good(self) -> bool {
        matches!(self, Self::Completed)
    }

    /// A job that is first in line, and ends so when it is [told](Self::end) to.
    pub(super) fn job(self, stage: &Stage) -> NewJob {
        NewJob { expires: (self == Self::Expired).then_some(When::In(MINUTE)), ..stage.job_with(9) }
    }

    /// Ends the job so; it is the first in line.
    pub(super) async fn end(self, stage: &Stage, worker: &mut TestWorker, id: JobId) {
        match self {
            Self::Completed => drop(worker.run_one(returned(b"good", HOUR)).await),
            Self::Dead => drop(worker.run_one(died()).await),
            Self::Cancelled => drop(stage.cancel(id).await),
            Self::Expired => {
                stage.advance(MINUTE).await;
                worker.upkeep().await;
            }
            Self::Crashed => {
                let brittle = LeaseTerms { crash_limit: Some(1), ..terms() };
                stage.worker_on(brittle).await.receive_one().await;
                stage.run_out(&mut stage.worker_of(&[]).await).await;
            }
            Self::Revoked => {
                let one = Revocation { job: Some(id), next_only: true, ..Revocation::default() };
                assert!(stage.control(Control::Revoke(one)).await);
                let claimed = worker.claim_ids(1).await;
                assert!(!claimed.contains(&id));
                worker.work_off().await;
            }
            Self::CalledOff => {
                let off = Settlement::Cancel { reason: EndReason::CalledOff, failure: None, keep: HOUR };
                worker.run_one(off).await;
            }
        }
        assert_eq!(stage.get(id).await.reason, self.reason(), "{self:?}");
    }

    pub(super) fn reason(self) -> Option<EndReason> {
        match self {
            Self::Completed => None,
            Self::Dead => Some(EndReason::Fatal),
            Self::Cancelled => Some(EndReason::Requested),
            Self::Expired => Some(EndReason::Overdue),
            Self::Crashed => Some(EndReason::Crashed),
            Self::Revoked => Some(EndReason::Revoked),
            Self::CalledOff => Some(EndReason::CalledOff),
        }
    }
}

/// Calls a job off in passing.
pub(super) async fn call_off(stage: &Stage, id: JobId) {
    assert_eq!(stage.act(id, &cancel()).await, crate::storage::Acted::Done(State::Cancelled));
}
