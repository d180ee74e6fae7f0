//! Flows of the twins: what jobs are in them and wait for, what is carried from the outbox to holds, and what is handed on.

use bytes::Bytes;

use super::{Twin, Twins, both};
use crate::model::{EndReason, Ending, Failure, FailureKind, Input, JobId, NewJob, Node, Shard, State, Trigger};
use crate::storage::{Outbox, Parcel, Receipt};

impl<T: Twin> Twins<T> {
    /// Draws what a job is in its flow, and what it waits for. Relays mostly lead into the shard itself.
    pub(super) fn weave(&mut self, job: &mut NewJob) {
        job.trigger = [Trigger::Completed, Trigger::Ended, Trigger::Failed][self.random.usize(..3)];
        job.node = match self.random.u8(..20) {
            0..2 => Node::Gather { keep: self.span(0, 60_000_000) },
            2..4 => Node::Hold,
            4..7 if !job.waits_for.is_empty() => self.any_relay(),
            _ => Node::Task,
        };
        match job.node {
            Node::Task | Node::Gather { .. } => {}
            Node::Hold => job.waits_for.clear(),
            Node::Relay { .. } => {
                job.waits_for.truncate(1);
                (job.trigger, job.expires, job.deadline) = (Trigger::Ended, None, None);
            }
        }
        if !job.node.is_task() {
            job.unique = None;
            job.limits.clear();
        }
    }

    /// One to a job of the same shard, mostly a hold, or to another shard, where it is not looked for.
    fn any_relay(&mut self) -> Node {
        if self.random.u8(..6) > 0 {
            return Node::Relay { shard: self.shard.clone(), to: self.any_hold() };
        }
        let shard = Shard { index: 3, ..self.shard.clone() };
        Node::Relay { to: JobId::from_u128(self.random.u128(..)).at_home(&shard), shard }
    }

    /// A hold that waits, if there is one, and else any job.
    fn any_hold(&mut self) -> JobId {
        let hold = self.random.choice(&self.holds).copied().filter(|_| self.random.u8(..6) > 0);
        hold.unwrap_or_else(|| self.any_job())
    }

    /// Carries some of what stands in the outbox, and now and then something that stands nowhere. What has arrived is told
    /// at once, late, more than once, or never.
    pub(super) async fn carry(&mut self) {
        let parcels = self.outbox(&[]).await;
        let (mut sent, mut deliveries) = (Vec::new(), Vec::new());
        for (parcel, receipt) in parcels {
            if self.random.bool() {
                deliveries.push((parcel.to, self.carried(parcel.input)));
                sent.extend(Some(receipt).filter(|_| self.random.u8(..4) > 0));
                self.receipts.push(receipt);
            }
        }
        for _ in 0..self.random.usize(..3) {
            deliveries.push((self.any_hold(), self.carried(Input::Gone)));
            let strange = Receipt { relay: self.any_job(), sequence: self.random.u64(..9) };
            sent.extend(self.random.bool().then_some([strange; 2]));
            sent.extend(self.random.choice(&self.receipts));
        }
        both!(self.deliver(&self.shard, &deliveries), "{deliveries:?}");
        self.outbox(&sent).await;
    }

    /// What stands in the outbox of both once these have arrived, and the receipts of both: each gives places of its own.
    async fn outbox(&mut self, sent: &[[Receipt; 2]]) -> Vec<(Parcel, [Receipt; 2])> {
        let [mine, yours] = [0, 1].map(|at| sent.iter().map(|both| both[at]).collect::<Vec<_>>());
        let expected = self.memory.outbox(&self.shard, &mine).await.unwrap();
        let outbox = self.twin.storage().outbox(&self.shard, &yours).await.unwrap();
        let plain = |outbox: &Outbox| {
            let parcels = outbox.parcels.iter().map(|one| (one.relay, one.shard.clone(), one.to, one.input.clone()));
            (parcels.collect::<Vec<_>>(), outbox.more)
        };
        assert_eq!(plain(&outbox), plain(&expected), "without {sent:?}");
        let receipts =
            expected.parcels.iter().zip(&outbox.parcels).map(|(one, other)| [one.receipt(), other.receipt()]);
        let receipts: Vec<_> = receipts.collect();
        expected.parcels.into_iter().zip(receipts).collect()
    }

    /// The same, or something else where a hold can't be given that.
    fn carried(&mut self, input: Input) -> Input {
        match (input, self.random.u8(..3)) {
            (input @ (Input::Returned(_) | Input::Nothing | Input::Failed(_)), _) => input,
            (_, 0) => Input::Nothing,
            (_, 1) => Input::Returned(Bytes::from_static(b"\0afar")),
            _ => Input::Failed(Box::new(self.ending())),
        }
    }

    fn ending(&mut self) -> Ending {
        let mut ending = Ending::new(self.any_job(), "afar".parse().unwrap(), State::Dead);
        ending.failure = self.random.bool().then(|| Failure::new(FailureKind::Panic, "afar\0é"));
        ending.keep_until = self.random.bool().then(|| self.clock_in(60_000_000));
        if self.random.bool() {
            (ending.state, ending.reason) = (State::Cancelled, Some(EndReason::Dependency));
            ending.culprit = self.random.bool().then(|| self.any_job());
        }
        ending
    }

    /// What is handed on to some jobs.
    pub(super) async fn compare_inputs(&mut self) {
        let ids: Vec<JobId> = (0..3).map(|_| self.any_job()).collect();
        for id in ids {
            both!(self.inputs(id), "{id}");
        }
        self.outbox(&[]).await;
    }
}
