//! A run before it begins.

use queue_storage::model::{Job, JobId, WorkerId};

use std::collections::BTreeMap;

use crate::context::SCHEDULE_HEADER;

/// A run that is about to begin: what [`Middleware::span`](crate::Middleware::span) may ask.
#[derive(Debug)]
pub struct Starting<'a> {
    pub(crate) job: &'a Job,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) max_attempts: u32,
    pub(crate) worker: WorkerId,
}

impl Starting<'_> {
    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.job.id
    }

    /// The name of its task.
    #[must_use]
    pub fn task(&self) -> &str {
        self.job.task.as_str()
    }

    /// The name of its queue.
    #[must_use]
    pub fn queue(&self) -> &str {
        self.job.shard.queue.as_str()
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.job.attempts.saturating_add(1)
    }

    /// How many attempts there are at most: retries and the first.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// A header that travels with the job.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The name of the [`Schedule`](crate::Schedule) that enqueued the job; `None` if none did.
    #[must_use]
    pub fn schedule(&self) -> Option<&str> {
        self.header(SCHEDULE_HEADER)
    }

    /// The worker that runs it.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        self.worker
    }
}
