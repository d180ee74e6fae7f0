//! What a program is handed: a way to the storage, and a worker to build.

use std::fmt;

use queue_core::{BoxError, WorkerBuilder};

/// What builds a worker returns one of these: a [`WorkerBuilder`], or a `Result` of one.
pub trait IntoBuilder {
    /// The builder.
    ///
    /// # Errors
    /// Whatever kept the program from making it.
    fn into_builder(self) -> Result<WorkerBuilder, BoxError>;
}

impl IntoBuilder for WorkerBuilder {
    fn into_builder(self) -> Result<WorkerBuilder, BoxError> {
        Ok(self)
    }
}

impl IntoBuilder for Result<WorkerBuilder, BoxError> {
    fn into_builder(self) -> Result<WorkerBuilder, BoxError> {
        self
    }
}

/// Why there is no client: what was said of the storage is wrong, or the storage does not take us.
#[derive(Debug)]
pub struct NoClient {
    error: BoxError,
    usage: bool,
}

impl NoClient {
    /// What was said is wrong: a URL, a variable. The program ends with code 2.
    pub fn usage(error: impl Into<BoxError>) -> Self {
        Self { error: error.into(), usage: true }
    }

    /// The storage can't be reached, or refuses. The program ends with code 1.
    pub fn storage(error: impl Into<BoxError>) -> Self {
        Self { error: error.into(), usage: false }
    }

    pub(crate) fn is_usage(&self) -> bool {
        self.usage
    }
}

impl fmt::Display for NoClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for NoClient {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
