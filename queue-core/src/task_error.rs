//! The error of a run, with what it says about its job.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use queue_storage::model::{Failure, FailureKind, Verdict};

mod result;

pub use result::TaskResultExt;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a run failed, and what that means for its job.
///
/// Everything that turns into a [`BoxError`] turns into it with `?`: standard errors, `anyhow::Error`, `eyre::Report`,
/// strings. It does not implement [`Error`] itself, which is what makes that possible; where an [`Error`] is wanted,
/// [`into_error`](Self::into_error) makes it one.
///
/// What it says is its *verdict*. An error that says nothing is judged by the task's `retry_if`, then by what the worker
/// was told of its type ([`classify`](crate::WorkerBuilder::classify)), and else left to the retry policy.
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
    /// Empty where it is not known.
    error_type: &'static str,
    /// `None` where nobody has said anything yet.
    verdict: Option<Verdict>,
}

impl TaskError {
    /// An error that no retry can mend: the job dies at once.
    #[must_use]
    pub fn fatal(error: impl Into<Self>) -> Self {
        error.into().with(Verdict::Fatal)
    }

    /// An error after which the next run, if the retries allow one, is in `delay`.
    #[must_use]
    pub fn retry_in(error: impl Into<Self>, delay: Duration) -> Self {
        error.into().with(Verdict::retry_in(delay))
    }

    /// An error after which the next run, if the retries allow one, is at `moment`; at once when it has passed.
    #[must_use]
    pub fn retry_at(error: impl Into<Self>, moment: SystemTime) -> Self {
        error.into().with(Verdict::retry_at(moment))
    }

    /// Calls the job off: it ends cancelled, and keeps `reason`, a text or an error.
    #[must_use]
    pub fn cancel(reason: impl Into<Self>) -> Self {
        reason.into().with(Verdict::Cancel)
    }

    /// Not an error at all: the job is to run again in `delay`, and this run does not count as an attempt.
    #[must_use]
    pub fn snooze(delay: Duration) -> Self {
        Self::from(format!("snoozed for {delay:?}")).with(Verdict::Snooze(delay))
    }

    /// Not an error at all: whom the task calls asks it to slow down (an answer like HTTP 429). The job is to run again in
    /// `after`, this run does not count as an attempt, and until then nothing starts under the rates that the job is under,
    /// on any worker. A job under no rate only waits itself: give its task a `rate`, so that one answer slows everyone.
    #[must_use]
    pub fn rate_limited(after: Duration) -> Self {
        Self::from(format!("rate limited for {after:?}")).with(Verdict::RateLimited(after))
    }

    pub(crate) fn with(self, verdict: Verdict) -> Self {
        Self { verdict: Some(verdict), ..self }
    }

    /// What is said of it unless it says something itself.
    pub(crate) fn or(self, verdict: impl FnOnce(&Self) -> Option<Verdict>) -> Self {
        let verdict = self.verdict.or_else(|| verdict(&self));
        Self { verdict, ..self }
    }

    /// Whether it says that no retry can help.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.verdict == Some(Verdict::Fatal)
    }

    /// What it says about its job; `None` when it says nothing.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// The error itself.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.source
    }

    /// The error and its sources, outermost first.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        chain(&*self.source)
    }

    /// The same as an [`Error`], which keeps its verdict wherever it travels: inside `anyhow::Error`, `eyre::Report`,
    /// `Box<dyn Error>`, or as the source of an error of yours. It is found when it comes out of the task.
    ///
    /// ```
    /// use queue_core::{BoxError, TaskError, TaskResultExt};
    ///
    /// fn parse(text: &str) -> Result<u32, BoxError> {
    ///     Ok(text.parse().fatal().map_err(TaskError::into_error)?)
    /// }
    /// assert!(TaskError::from(parse("x").unwrap_err()).is_fatal());
    /// ```
    #[must_use]
    pub fn into_error(self) -> MarkedError {
        MarkedError(Mark(self))
    }

    /// What is stored of it, and its verdict.
    pub(crate) fn to_parts(&self) -> (Failure, Verdict) {
        let failure = Failure::new(FailureKind::Error, self.to_string());
        let failure = if self.error_type.is_empty() { failure } else { failure.of_type(self.error_type) };
        (failure, self.verdict.unwrap_or_default())
    }
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The one seam at which errors enter: what was marked inside is found here, once.
impl<E: Into<BoxError> + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        let source = boxed(error);
        let mark = chain(&*source).find_map(|error| error.downcast_ref::<Mark>());
        let (error_type, verdict) = mark.map_or((type_of::<E>(), None), |mark| (mark.0.error_type, mark.0.verdict));
        Self { source, error_type, verdict }
    }
}

/// The type of an error; none of those behind which any error may be, which would tell nothing.
fn type_of<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    let hides = name.starts_with("alloc::boxed::Box<dyn ") || matches!(name, "anyhow::Error" | "eyre::Report");
    if hides { "" } else { name }
}

/// The error in a box. `anyhow::Error` would box itself as a type of its own, which hides the type within.
fn boxed<E: Into<BoxError> + 'static>(error: E) -> BoxError {
    let mut error = Some(error);
    #[cfg(feature = "anyhow")]
    if let Some(error) = (&mut error as &mut dyn Any).downcast_mut::<Option<anyhow::Error>>().and_then(Option::take) {
        return error.reallocate_into_boxed_dyn_error_without_backtrace();
    }
    error.take().map_or_else(|| unreachable!("taken once"), Into::into)
}

/// The error and its sources, outermost first, joined by `: `; a source that the text before it already ends with is
/// not said twice.
impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        // A mark is no part of what went wrong.
        for error in self.chain().filter(|error| !error.is::<Mark>()) {
            let said = error.to_string();
            if text.is_empty() {
                text = said;
            } else if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskError").field("source", &self.source).field("verdict", &self.verdict).finish()
    }
}

/// A [`TaskError`] as an [`Error`]: what [`TaskError::into_error`] returns. It reads as the error it was made of.
#[derive(Debug)]
pub struct MarkedError(Mark);

/// The verdict, as a source of its own: a box of someone else's around the outermost error may hide its type, but not
/// that of its source.
#[derive(Debug)]
struct Mark(TaskError);

impl fmt::Display for MarkedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.0.source, f)
    }
}

impl Error for MarkedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.verdict {
            Some(Verdict::Fatal) => f.write_str("(fatal)"),
            Some(Verdict::Cancel) => f.write_str("(called off)"),
            Some(Verdict::Snooze(_)) => f.write_str("(snoozed)"),
            _ => f.write_str("(to be retried)"),
        }
    }
}

impl Error for Mark {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("can't save")]
    struct Save(#[source] BoxError);

    #[test]
    fn the_chain_is_said_once() {
        let inner = std::io::Error::other("disk full");
        let outer = std::io::Error::other(inner);
        assert_eq!(TaskError::from(outer).to_string(), "disk full");

        let (failure, verdict) = TaskError::from(Save("disk full".into())).to_parts();
        assert_eq!(failure.message, "can't save: disk full");
        assert!(failure.error_type.unwrap().ends_with("Save"));
        assert_eq!(verdict, Verdict::Policy);
    }

    #[test]
    fn a_verdict_is_found_inside_other_errors() {
        let marked = || TaskError::cancel(Save("disk full".into())).into_error();
        assert_eq!(marked().to_string(), "can't save");
        let boxed: BoxError = marked().into();
        for (error, text) in [
            (TaskError::from(marked()), "can't save: disk full"),
            (TaskError::from(boxed), "can't save: disk full"),
            (TaskError::from(Save(marked().into())), "can't save: disk full"),
            (TaskError::from(std::io::Error::other(marked())), "can't save: disk full"),
        ] {
            assert_eq!(error.to_string(), text);
            assert_eq!(error.verdict(), Some(Verdict::Cancel));
            assert!(error.to_parts().0.error_type.unwrap().ends_with("Save"));
        }
    }

    #[test]
    fn a_type_that_hides_the_error_is_not_told() {
        let told = |error: TaskError| error.to_parts().0.error_type;
        assert_eq!(told(BoxError::from(Save("disk full".into())).into()), None);
        assert_eq!(told(anyhow::Error::from(Save("disk full".into())).into()), None);
        assert_eq!(told(TaskError::fatal(BoxError::from("no")).into_error().into()), None);
        assert!(told(Box::new(Save("disk full".into())).into()).is_some_and(|name| name.ends_with("Save>")));
    }

    #[test]
    fn a_verdict_is_found_inside_anyhow() {
        use anyhow::Context as _;
        let bare = || anyhow::Error::from(TaskError::fatal(Save("disk full".into())).into_error());
        let outer = || Err::<(), _>(bare()).context("at noon").context("today").unwrap_err();
        for (error, text) in [(bare(), "can't save: disk full"), (outer(), "today: at noon: can't save: disk full")] {
            let error = TaskError::from(error);
            assert_eq!((error.to_string(), error.is_fatal()), (text.to_owned(), true));
            assert!(error.to_parts().0.error_type.unwrap().ends_with("Save"));
        }
        assert_eq!(format!("{:#}", outer()), "today: at noon: can't save: (fatal): disk full");
        // As a box that hides the type of what it holds.
        let hidden: BoxError = bare().into();
        assert!(TaskError::from(hidden).is_fatal());
    }

    #[cfg(feature = "anyhow")]
    #[test]
    fn the_type_within_anyhow_is_seen() {
        let error = TaskError::from(anyhow::Error::from(Save("disk full".into())));
        assert!(error.chain().next().unwrap().is::<Save>());
    }
}
