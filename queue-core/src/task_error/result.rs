//! Verdicts on a `Result`.

use std::time::{Duration, SystemTime};

use queue_storage::model::Verdict;

use super::TaskError;

/// One-word verdicts on a `Result`, for tasks that return `Result<T, TaskError>`.
///
/// ```
/// use std::time::Duration;
/// use queue_core::{TaskError, TaskResultExt};
///
/// fn charge(order: Result<u32, std::io::Error>, card: Result<u32, &'static str>) -> Result<u32, TaskError> {
///     let order = order.cancel()?;                            // no order: nothing to do
///     let card = card.retry_in(Duration::from_secs(60))?;     // not before a minute has passed
///     Ok(order + card)
/// }
/// # assert!(charge(Ok(1), Ok(2)).is_ok());
/// ```
pub trait TaskResultExt<T, E> {
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

    /// After an error here the next run, if the retries allow one, is at `moment`; at once when it has passed.
    ///
    /// # Errors
    /// The same error, marked.
    fn retry_at(self, moment: SystemTime) -> Result<T, TaskError>;

    /// An error here calls the job off: it ends cancelled, and keeps the error's text.
    ///
    /// # Errors
    /// The same error, marked.
    fn cancel(self) -> Result<T, TaskError>;

    /// After an error here the job runs again in `delay`, and this run does not count as an attempt.
    ///
    /// # Errors
    /// The same error, marked.
    fn snooze(self, delay: Duration) -> Result<T, TaskError>;

    /// An error here is retried, as the policy says, where `retry_if` says true of it, and is fatal else. What the error
    /// says itself goes first. The option `retry_if` of `#[task]` does this to everything that a task returns.
    ///
    /// # Errors
    /// The same error, marked.
    fn retry_if(self, retry_if: impl FnOnce(&E) -> bool) -> Result<T, TaskError>;
}

impl<T, E: Into<TaskError>> TaskResultExt<T, E> for Result<T, E> {
    fn fatal(self) -> Result<T, TaskError> {
        self.map_err(TaskError::fatal)
    }

    fn retry_in(self, delay: Duration) -> Result<T, TaskError> {
        self.map_err(|error| TaskError::retry_in(error, delay))
    }

    fn retry_at(self, moment: SystemTime) -> Result<T, TaskError> {
        self.map_err(|error| TaskError::retry_at(error, moment))
    }

    fn cancel(self) -> Result<T, TaskError> {
        self.map_err(TaskError::cancel)
    }

    fn snooze(self, delay: Duration) -> Result<T, TaskError> {
        self.map_err(|error| error.into().with(Verdict::Snooze(delay)))
    }

    fn retry_if(self, retry_if: impl FnOnce(&E) -> bool) -> Result<T, TaskError> {
        self.map_err(|error| {
            let verdict = if retry_if(&error) { Verdict::Policy } else { Verdict::Fatal };
            error.into().or(|_| Some(verdict))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_word_is_its_verdict() {
        let moment = SystemTime::UNIX_EPOCH + SECOND;
        let no = || Err::<(), _>("no");
        let said = [
            (no().fatal(), Verdict::Fatal),
            (no().retry_in(SECOND), Verdict::retry_in(SECOND)),
            (no().retry_at(moment), Verdict::retry_at(moment)),
            (no().cancel(), Verdict::Cancel),
            (no().snooze(SECOND), Verdict::Snooze(SECOND)),
            (no().retry_if(|text| *text == "no"), Verdict::Policy),
            (no().retry_if(|text| *text == "yes"), Verdict::Fatal),
        ];
        for (result, verdict) in said {
            let error = result.unwrap_err();
            assert_eq!((error.to_string(), error.verdict()), ("no".into(), Some(verdict)));
        }
        let slept = TaskError::snooze(SECOND);
        assert_eq!((slept.to_string(), slept.verdict()), ("snoozed for 1s".into(), Some(Verdict::Snooze(SECOND))));
        assert_eq!(TaskError::from("no").verdict(), None);
    }

    #[test]
    fn the_last_word_counts_and_the_error_goes_before_retry_if() {
        let fatal = || Err::<(), _>(TaskError::fatal("no"));
        assert_eq!(fatal().cancel().unwrap_err().verdict(), Some(Verdict::Cancel));
        assert_eq!(fatal().retry_if(|_| true).unwrap_err().verdict(), Some(Verdict::Fatal));
        assert_eq!(
            Err::<(), _>(TaskError::cancel("no")).retry_if(|_| false).unwrap_err().verdict(),
            Some(Verdict::Cancel)
        );
    }
}
