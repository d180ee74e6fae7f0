//! A stored job, seen from outside.

use std::time::SystemTime;

use queue_storage::model::{EndReason, Failure, Job, Parked, State};

/// What a storage knows of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobStatus {
    /// It is stored.
    Known(Box<JobFacts>),
    /// It is not stored any more: it ended, and the time it is kept has passed.
    Gone,
    /// It was never stored.
    Unknown,
}

impl JobStatus {
    /// The state of a job that is stored.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.facts().map(|facts| facts.state)
    }

    /// The facts of a job that is stored.
    #[must_use]
    pub fn facts(&self) -> Option<&JobFacts> {
        match self {
            Self::Known(facts) => Some(facts),
            Self::Gone | Self::Unknown => None,
        }
    }
}

/// A stored job, seen from outside.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobFacts {
    /// Where it is in its life.
    pub state: State,
    /// The name of its task.
    pub task: String,
    /// The name of its queue.
    pub queue: String,
    /// Runs that its task answered.
    pub attempts: u32,
    /// Times its worker vanished.
    pub crashes: u32,
    /// Why it does not run although it is ready.
    pub parked: Option<Parked>,
    /// When it was enqueued.
    pub enqueued_at: SystemTime,
    /// When it is or was due, if it was to start later.
    pub due_at: Option<SystemTime>,
    /// When its latest run started.
    pub started_at: Option<SystemTime>,
    /// When it ended.
    pub ended_at: Option<SystemTime>,
    /// Why it ended, unless it completed.
    pub reason: Option<EndReason>,
    /// What went wrong last.
    pub failure: Option<Failure>,
}

impl JobFacts {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            state: job.state,
            task: job.task.to_string(),
            queue: job.shard.queue.to_string(),
            attempts: job.attempts,
            crashes: job.crashes,
            parked: job.parked.clone(),
            enqueued_at: job.enqueued_at.into(),
            due_at: job.due_at.map(Into::into),
            started_at: job.started_at.map(Into::into),
            ended_at: job.ended_at.map(Into::into),
            reason: job.reason.clone(),
            failure: job.failure.clone(),
        }
    }
}
