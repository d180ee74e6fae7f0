//! The error of a run, with what it says about the next one.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use queue_storage::model::{Failure, FailureKind, Verdict, When};

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a run failed, and what that means for the next.
///
/// Everything that turns into a [`BoxError`] turns into it with `?`: standard errors, `anyhow::Error`, `eyre::Report`,
/// strings. It does not implement [`Error`] itself, which is what makes that possible.
///
/// ```
/// use queue_core::{TaskError, TaskResultExt};
///
/// fn parse(text: &str) -> Result<u32, TaskError> {
///     let n: u32 = text.parse().fatal()?;         // no retry mends a wrong text
///     if n == 0 { Err("zero")?; }                 // the retry policy decides
///     Ok(n)
/// }
/// assert!(parse("x").unwrap_err().is_fatal());
/// assert!(!parse("0").unwrap_err().is_fatal());
/// ```
pub struct TaskError {
    source: BoxError,
    error_type: &'static str,
    verdict: Verdict,
}

impl TaskError {
    /// An error that no retry can mend: the job dies at once.
    #[must_use]
    pub fn fatal(error: impl Into<Self>) -> Self {
        Self { verdict: Verdict::Fatal, ..error.into() }
    }

    /// An error after which the next run, if the retries allow one, is in `delay`.
    #[must_use]
    pub fn retry_in(error: impl Into<Self>, delay: Duration) -> Self {
        Self { verdict: Verdict::RetryAt(When::In(delay)), ..error.into() }
    }

    /// Whether it says that no retry can help.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.verdict == Verdict::Fatal
    }

    /// The error itself.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.source
    }

    /// What is stored of it, and its verdict.
    pub(crate) fn into_parts(self) -> (Failure, Verdict) {
        let failure = Failure::new(FailureKind::Error, self.to_string());
        let failure = if self.error_type.is_empty() { failure } else { failure.of_type(self.error_type) };
        (failure, self.verdict)
    }
}

impl<E: Into<BoxError> + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        Self { source: error.into(), error_type: std::any::type_name::<E>(), verdict: Verdict::Policy }
    }
}

/// The error and its sources, outermost first, joined by `: `; a source that the text before it already ends with is
/// not said twice.
impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.source.to_string();
        let mut source = self.source.source();
        while let Some(inner) = source {
            let said = inner.to_string();
            if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            source = inner.source();
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskError").field("source", &self.source).field("verdict", &self.verdict).finish()
    }
}

/// One-word verdicts on a `Result`, for tasks that return `Result<T, TaskError>`.
pub trait TaskResultExt<T> {
    /// An error here can't be mended by a retry.
    ///
    /// # Errors
    /// The same error, marked.
    fn fatal(self) -> Result<T, TaskError>;

    /// After an error here the next run, if the retries allow one, is in `delay`.
    ///
    /// # Errors
    /// The same error, marked.
    fn retry_in(self, delay: Duration) -> Result<T, TaskError>;
}

impl<T, E: Into<TaskError>> TaskResultExt<T> for Result<T, E> {
    fn fatal(self) -> Result<T, TaskError> {
        self.map_err(TaskError::fatal)
    }

    fn retry_in(self, delay: Duration) -> Result<T, TaskError> {
        self.map_err(|error| TaskError::retry_in(error, delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_said_once() {
        let inner = std::io::Error::other("disk full");
        let outer = std::io::Error::other(inner);
        assert_eq!(TaskError::from(outer).to_string(), "disk full");

        #[derive(Debug, thiserror::Error)]
        #[error("can't save")]
        struct Save(#[source] std::io::Error);
        let (failure, verdict) = TaskError::from(Save(std::io::Error::other("disk full"))).into_parts();
        assert_eq!(failure.message, "can't save: disk full");
        assert!(failure.error_type.unwrap().ends_with("Save"));
        assert_eq!(verdict, Verdict::Policy);
    }

    #[test]
    fn a_task_error_stays_what_it_is() {
        let fatal: Result<(), TaskError> = Err("no").fatal();
        assert!(TaskError::retry_in(fatal.unwrap_err(), Duration::ZERO).verdict != Verdict::Policy);
    }
}
