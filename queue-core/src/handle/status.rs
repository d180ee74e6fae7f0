//! What a storage knows of an id.

use queue_storage::model::State;

use crate::facts::JobFacts;

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
