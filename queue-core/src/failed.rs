//! How a job ended that another one waited for.

use std::fmt;

use queue_storage::model::{EndReason, Ending, Failure, Job, JobId, State, TaskName};
use serde::{Deserialize, Serialize};

use crate::facts::words::in_words;

/// The longest message that is handed on, in bytes.
const MAX_MESSAGE: usize = 2 * 1024;

/// How a job ended without completing that another one waited for: what a task that looks at the ends of others takes
/// instead of what they return.
///
/// A job that was cancelled for the end of another is not to blame: it is that other one that is told of, as long as it is
/// stored.
///
/// A task that runs when all have ended takes a `Result<T, Failed>` for each; one that runs because a job has failed
/// takes a `Failed` as its first argument. It is an [`Error`](std::error::Error), so a task may return it.
///
/// ```
/// # use queue_core::{Failed, JobId, TaskName};
/// fn report(failed: &Failed) -> String {
///     format!("{} is not there: {}", failed.task().map_or("?", TaskName::as_str), failed.message().unwrap_or("no reason"))
/// }
/// let failed = Failed::new(JobId::from_u128(7), "fetch".parse().unwrap(), "no route");
/// assert_eq!(report(&failed), "fetch is not there: no route");
/// ```
///
/// Stored, it is a map by field name; fields that a newer program adds are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    id: JobId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    culprit: Option<JobId>,
}

impl Failed {
    /// A job of this task that is dead for its last retry failed: for tests of what takes one.
    #[must_use]
    pub fn new(id: JobId, task: TaskName, message: impl Into<String>) -> Self {
        let mut ending = Ending::new(id, task, State::Dead);
        ending.reason = Some(EndReason::Exhausted);
        Self { message: Some(message.into()), ..Self::of(&ending) }
    }

    pub(crate) fn of(ending: &Ending) -> Self {
        let failure = ending.failure.as_ref().map(|failure| failure.cut_to(MAX_MESSAGE));
        Self {
            id: ending.job,
            task: Some(ending.task.clone()),
            state: Some(ending.state),
            reason: ending.reason.as_ref().map(ToString::to_string),
            message: failure.as_ref().map(Failure::to_string),
            error_type: failure.and_then(|failure| failure.error_type),
            culprit: ending.culprit,
        }
    }

    /// A stored job, whatever its state.
    pub(crate) fn of_job(job: &Job) -> Self {
        Self::of(&Ending::of(job))
    }

    /// A job that is not stored.
    pub(crate) fn gone(id: JobId) -> Self {
        Self { id, task: None, state: None, reason: None, message: None, error_type: None, culprit: None }
    }

    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Its task; `None` when it is not stored any more.
    #[must_use]
    pub fn task(&self) -> Option<&TaskName> {
        self.task.as_ref()
    }

    /// The end it came to: dead, cancelled or expired; or the state it was in since someone had run it again. `None` when
    /// it is not stored any more.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.state
    }

    /// Why it ended so.
    #[must_use]
    pub fn reason(&self) -> Option<EndReason> {
        self.reason.as_deref().map(EndReason::from)
    }

    /// What went wrong in its last run; at most 2 KiB of it.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The Rust type of that error, where there was one.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        self.error_type.as_deref()
    }

    /// The job that began it, where this one was cancelled for the end of another, which is not stored any more.
    #[must_use]
    pub fn culprit(&self) -> Option<JobId> {
        self.culprit
    }

    /// Whether it is not stored any more, so that nothing is known of its end.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state.is_none()
    }
}

/// `job 01… of task `fetch` died: its last retry failed: no route`.
impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}", self.id)?;
        if let Some(task) = &self.task {
            write!(f, " of task `{task}`")?;
        }
        match self.state {
            None => return f.write_str(" is not stored any more"),
            Some(State::Dead) => f.write_str(" died")?,
            Some(State::Cancelled) => f.write_str(" was cancelled")?,
            Some(State::Expired) => f.write_str(" expired")?,
            Some(state) => return write!(f, " had not completed: it was {state}"),
        }
        // One that is itself to blame says all of it by its message.
        if let Some(reason) = self.reason().filter(|_| self.culprit != Some(self.id)) {
            write!(f, ": {}", in_words(&reason))?;
            if let Some(culprit) = self.culprit {
                write!(f, " (job {culprit})")?;
            }
        }
        self.message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
    }
}

impl std::error::Error for Failed {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use queue_storage::model::FailureKind;

    fn ending() -> Ending {
        let mut ending = Ending::new(JobId::from_u128(7), "fetch".parse().unwrap(), State::Dead);
        ending.reason = Some(EndReason::Exhausted);
        ending.failure = Some(Failure::new(FailureKind::Panic, "boom").of_type("app::Boom"));
        ending
    }

    fn changed(change: impl FnOnce(&mut Ending)) -> Failed {
        let mut ending = ending();
        change(&mut ending);
        Failed::of(&ending)
    }

    #[test]
    fn it_survives_its_bytes_and_fields_of_tomorrow() {
        let failed = Failed::of(&ending());
        let bytes = codec::encode(&failed).unwrap();
        assert_eq!(codec::decode::<Failed>(&bytes).unwrap(), failed);
        let more = codec::with_first("tomorrow", Some(&[1]), &bytes).unwrap();
        assert_eq!(codec::decode::<Failed>(&more).unwrap(), failed);
        let gone = Failed::gone(JobId::from_u128(7));
        assert_eq!(codec::decode::<Failed>(&codec::encode(&gone).unwrap()).unwrap(), gone);
    }

    #[test]
    fn it_says_what_happened() {
        let job = "job 00000000000000000000000007";
        let text = format!("{job} of task `fetch` died: it failed, and no retry was left: panicked: boom");
        assert_eq!(Failed::of(&ending()).to_string(), text);
        let cancelled = changed(|ending| {
            (ending.state, ending.failure) = (State::Cancelled, None);
            (ending.reason, ending.culprit) = (Some(EndReason::Dependency), Some(JobId::from_u128(8)));
        });
        let text = format!(
            "{job} of task `fetch` was cancelled: a job it waited for did not complete (job 00000000000000000000000008)"
        );
        assert_eq!(cancelled.to_string(), text);
        let expired = changed(|ending| {
            (ending.state, ending.reason, ending.failure) = (State::Expired, Some(EndReason::Overdue), None);
        });
        let text = format!("{job} of task `fetch` expired: its first run did not start in time");
        assert_eq!(expired.to_string(), text);
        let again = changed(|ending| (ending.state, ending.reason, ending.failure) = (State::Running, None, None));
        assert_eq!(again.to_string(), format!("{job} of task `fetch` had not completed: it was running"));
        let gone = Failed::gone(JobId::from_u128(7));
        assert_eq!((gone.to_string(), gone.is_gone()), (format!("{job} is not stored any more"), true));
    }

    #[test]
    fn long_messages_are_cut() {
        let failure = Failure::new(FailureKind::Error, "x".repeat(Failure::MAX_MESSAGE));
        let failed = changed(|ending| ending.failure = Some(failure));
        assert_eq!(failed.message().map(str::len), Some(MAX_MESSAGE));
    }

    #[test]
    fn a_task_may_return_it() {
        let error = crate::task_error::TaskError::from(Failed::of(&ending()));
        assert!(error.to_string().ends_with("boom"));
    }
}
