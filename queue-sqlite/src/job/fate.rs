//! What becomes of a job that waits, by what has become of those it waits for. Nothing here is read or written.

use queue_storage::model::{EndReason, Job, JobId, Node, Parked, State, Timestamp, Trigger};

/// What following edges comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Waits,
    Reached,
    Cancelled(Cancelled),
}

/// How it is cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cancelled {
    pub(crate) reason: EndReason,
    pub(crate) culprit: Option<JobId>,
    /// Until when the job at the other end of the edge is kept.
    pub(crate) keep_until: Option<Timestamp>,
}

/// An end, to those that wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) completed: bool,
    /// Whom to name to those that it cancels.
    pub(crate) origin: JobId,
    pub(crate) keep_until: Option<Timestamp>,
}

impl Told {
    /// What it means to a job that waits for this, and for no other any more if this was the last.
    pub(crate) fn means(self, trigger: Trigger, was_last: bool) -> Fate {
        let keep_until = self.keep_until;
        match (trigger, self.completed) {
            (Trigger::Completed, false) => {
                let culprit = Some(self.origin);
                Fate::Cancelled(Cancelled { reason: EndReason::Dependency, culprit, keep_until })
            }
            (Trigger::Failed, true) if was_last => {
                Fate::Cancelled(Cancelled { reason: EndReason::NotNeeded, culprit: None, keep_until })
            }
            (Trigger::Failed, true) => Fate::Waits,
            (Trigger::Failed, false) => Fate::Reached,
            _ if was_last => Fate::Reached,
            _ => Fate::Waits,
        }
    }
}

/// What becomes at once of a job that comes to wait for these, each another one: how they have ended, if they have.
pub(crate) fn at_once(trigger: Trigger, node: &Node, parents: &[Option<Told>]) -> Fate {
    if parents.is_empty() && matches!(node, Node::Gather { .. }) {
        return Fate::Reached;
    }
    let mut open = parents.len();
    for told in parents.iter().flatten() {
        open -= 1;
        let fate = told.means(trigger, open == 0);
        if fate != Fate::Waits {
            return fate;
        }
    }
    Fate::Waits
}

/// What is written of a waiting job that is reached, but for its place in line if it is ready then.
pub(crate) fn reach(job: &mut Job, now: Timestamp) {
    match job.node {
        Node::Gather { keep } => {
            (job.state, job.ended_at, job.keep_until) = (State::Completed, Some(now), Some(now + keep));
        }
        Node::Relay { .. } => (job.state, job.parked, job.parked_at) = (State::Ready, Some(Parked::Outbox), Some(now)),
        _ => {
            (job.state, job.due_at) = job.when.start(now);
            job.set_limits(now);
        }
    }
}

/// What is written of a waiting job that is cancelled.
pub(crate) fn cancel(job: &mut Job, cancelled: Cancelled, now: Timestamp) {
    (job.state, job.ended_at) = (State::Cancelled, Some(now));
    job.keep_until = Some(cancelled.keep_until.unwrap_or(now).max(now));
    (job.reason, job.culprit) = (Some(cancelled.reason), cancelled.culprit);
}
