//! What ties jobs together: when a waiting job is reached, what it is in its flow, and what the jobs before it hand on.

use std::time::Duration;

use bytes::Bytes;

use super::id::{JobId, Shard, TaskName};
use super::job::{EndReason, Failure, Job};
use super::state::State;
use super::time::Timestamp;

/// What a waiting job waits for in the jobs before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Trigger {
    /// That all complete. It is reached when the last has completed, and cancelled
    /// ([`EndReason::Dependency`]) as soon as one has ended otherwise.
    #[default]
    Completed,
    /// That all end, however. It is reached when the last has ended.
    Ended,
    /// That one ends without completing. It is reached as soon as one has, and cancelled ([`EndReason::NotNeeded`]) when
    /// the last has completed.
    Failed,
}

/// What a job is in its flow.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Node {
    /// A run of a task; the only one that a worker ever claims.
    #[default]
    Task,
    /// Several jobs as one: it completes when it is reached, without a result of its own; whoever waits for it gets
    /// [`Input::Gathered`]. One that waits for none is reached at once.
    Gather {
        /// How long the completed job is kept, and with it what it gathers.
        keep: Duration,
    },
    /// Something that happens elsewhere: it stays waiting until it is [delivered](crate::storage::Maintain::deliver).
    Hold,
    /// The other end of a hold in another shard: when it is reached it stands in the shard's
    /// [outbox](crate::storage::Maintain::outbox), as [`Parked::Outbox`](super::Parked::Outbox), until what it waited for
    /// has been delivered there, or runs again. It waits for one job, by [`Trigger::Ended`], and nothing ends it before that.
    Relay {
        /// Where that hold is.
        shard: Shard,
        /// The hold.
        to: JobId,
    },
}

impl Node {
    /// Whether a worker runs it.
    #[must_use]
    pub const fn is_task(&self) -> bool {
        matches!(self, Self::Task)
    }
}

/// What a job that another waits for hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// It completed with a result.
    Returned(Bytes),
    /// It completed and returned nothing.
    Nothing,
    /// It ended without completing.
    Failed(Box<Ending>),
    /// It is this [gather](Node::Gather), and has completed: ask for [its inputs](crate::storage::Operate::inputs).
    Gathered(JobId),
    /// It has not ended: it is in this state.
    Open(State),
    /// It is not stored any more.
    Gone,
}

impl Input {
    /// What a stored job hands on now.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        match (job.state, &job.node, &job.result) {
            (State::Completed, Node::Gather { .. }, _) => Self::Gathered(job.id),
            (State::Completed, _, Some(result)) => Self::Returned(result.clone()),
            (State::Completed, _, None) => Self::Nothing,
            (state, ..) if state.is_end() => Self::Failed(Box::new(Ending::of(job))),
            (state, ..) => Self::Open(state),
        }
    }
}

/// How a job ended that did not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ending {
    /// The job.
    pub job: JobId,
    /// Its task.
    pub task: TaskName,
    /// The end it came to.
    pub state: State,
    /// Why.
    pub reason: Option<EndReason>,
    /// The job whose end cancelled it.
    pub culprit: Option<JobId>,
    /// What went wrong last.
    pub failure: Option<Failure>,
    /// Until when it is kept.
    pub keep_until: Option<Timestamp>,
}

impl Ending {
    /// An end of this job, for no reason that is known.
    #[must_use]
    pub fn new(job: JobId, task: TaskName, state: State) -> Self {
        Self { job, task, state, reason: None, culprit: None, failure: None, keep_until: None }
    }

    /// How this ended job ended.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        Self {
            job: job.id,
            task: job.task.clone(),
            state: job.state,
            reason: job.reason.clone(),
            culprit: job.culprit,
            failure: job.failure.clone(),
            keep_until: job.keep_until,
        }
    }

    /// Whom to name to those that this end cancels: the job that began it.
    #[must_use]
    pub fn origin(&self) -> JobId {
        match self.reason {
            Some(EndReason::Dependency) => self.culprit.unwrap_or(self.job),
            _ => self.job,
        }
    }
}
