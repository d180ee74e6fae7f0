//! Flows of the twins: what jobs are in them and wait for, what is carried from the outbox to holds, and what is handed on.

use bytes::Bytes;

use super::{Twin, Twins, both};
use crate::model::{EndReason, Ending, Failure, FailureKind, Input, JobId, NewJob, Node, Shard, State, Trigger};

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

    /// Carries some of what stands in the outbox, and now and then something that stands nowhere.
    pub(super) async fn carry(&mut self) {
        let outbox = self.memory.outbox(&self.shard, &[]).await.unwrap();
        let (mut sent, mut deliveries) = (Vec::new(), Vec::new());
        for parcel in outbox.parcels {
            if self.random.bool() {
                deliveries.push((parcel.to, self.carried(parcel.input)));
                sent.extend(Some(parcel.relay).filter(|_| self.random.u8(..4) > 0));
            }
        }
        for _ in 0..self.random.usize(..3) {
            deliveries.push((self.any_hold(), self.carried(Input::Gone)));
            sent.extend(Some(self.any_job()).filter(|_| self.random.bool()));
        }
        both!(self.deliver(&self.shard, &deliveries), "{deliveries:?}");
        both!(self.outbox(&self.shard, &sent), "without {sent:?}");
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
        both!(self.outbox(&self.shard, &[]), "the outbox");
    }
}
