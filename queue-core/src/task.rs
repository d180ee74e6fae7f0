//! What a task is: the trait that `#[task]` implements and anyone may implement by hand.

use std::convert::Infallible;
use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

mod options;

pub use options::{DelayFn, Periodic, PeriodicTiming, TaskOptions};

use crate::context::{Context, Requirements};
use crate::task_error::{TaskError, TaskResultExt};

/// A task: the type of its arguments, what it returns, how it is called and what it needs.
///
/// `#[task]` on a function writes this implementation; by hand it is:
///
/// ```
/// use queue_core::{Call, Context, Task, TaskError};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Add { a: u64, b: u64 }
///
/// impl Task for Add {
///     type Output = u64;
///     const NAME: &'static str = "add";
///     async fn run(self, _ctx: Context) -> Result<u64, TaskError> {
///         Ok(self.a + self.b)
///     }
/// }
///
/// let call = Call::new(Add { a: 1, b: 2 }).priority(5);
/// assert_eq!(call.id().to_string().len(), 26);
/// ```
///
/// The value itself is the arguments: it is stored as a MessagePack map by field name, so an added `Option` or
/// `#[serde(default)]` field still decodes jobs stored before, and unknown fields are ignored. Do not put
/// `deny_unknown_fields` on it: old workers would refuse the jobs of newer clients.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "does not implement `Task`",
    note = "put `#[task]` on a function and name the function here, or implement `Task` by hand"
)]
pub trait Task: Serialize + DeserializeOwned + Send + Sync + Sized + 'static {
    /// What a run returns; stored and handed to whoever waits for it.
    type Output: TaskOutput;

    /// The name stored with each job. Jobs are found by it, so it outlives renames of the type: a task that gets a new
    /// name keeps the old one in [`ALIASES`](Self::ALIASES).
    const NAME: &'static str;

    /// Names under which older programs stored jobs of this task. Default none.
    const ALIASES: &'static [&'static str] = &[];

    /// Options of every call that says nothing else. Default [`TaskOptions::DEFAULT`].
    const OPTIONS: TaskOptions = TaskOptions::DEFAULT;

    /// Where the task is defined, for messages: `src/mail.rs:12`. Default empty.
    const PLACE: &'static str = "";

    /// Names what a run takes from its worker, so that a worker that lacks it is refused when it is built. Default
    /// nothing.
    fn requires(requirements: &mut Requirements) {
        let _ = requirements;
    }

    /// Runs it.
    ///
    /// # Errors
    /// Whatever the task says; an error is retried as the options say, unless it says something else itself
    /// ([`TaskError::fatal`], [`TaskError::retry_in`], …). What `retry_if` does in the attribute, a body by hand does
    /// with [`TaskResultExt::retry_if`](crate::TaskResultExt::retry_if).
    ///
    /// # Cancel safety
    /// The future is dropped at an await when the attempt takes longer than its timeout, when its lease is lost, and
    /// when the worker stops before the task does.
    fn run(self, ctx: Context) -> impl Future<Output = Result<Self::Output, TaskError>> + Send;
}

/// What can be an argument of a task: owned, and serialisable both ways. Implemented for everything that is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a task argument",
    label = "not `Serialize + Deserialize + Send + Sync`",
    note = "arguments are stored in the queue: derive `serde::Serialize` and `serde::Deserialize` for it, or for what it is made of",
    note = "if the worker should hand it in: take `Data<..>` of it, or mark the parameter `#[inject]` (any `FromContext`)"
)]
pub trait TaskArg: Serialize + DeserializeOwned + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> TaskArg for T {}

/// What a task can return: owned, and serialisable both ways. Implemented for everything that is.
#[diagnostic::on_unimplemented(
    message = "a task can't return `{Self}`",
    label = "not `Serialize + Deserialize + Send`",
    note = "results are stored for whoever waits: derive `serde::Serialize` and `serde::Deserialize` for it, or for what it is made of"
)]
pub trait TaskOutput: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> TaskOutput for T {}

/// What a `#[task]` function may return: `Result<T, E>`, or nothing.
#[diagnostic::on_unimplemented(
    message = "a task must return `Result<T, E>` (or nothing), not `{Self}`",
    label = "not a `Result`",
    note = "an error tells the worker to run the job again: return `Result<{Self}, E>`, with `std::convert::Infallible` as `E` if it can't fail"
)]
pub trait TaskReturn {
    /// The value of a success.
    type Output: TaskOutput;

    /// The error, as the function has it.
    type Error;

    /// As a result with the error the engine works with.
    ///
    /// # Errors
    /// The function's error.
    fn into_result(self) -> Result<Self::Output, TaskError>;

    /// The same, where an error of which `retry_if` says false is fatal unless it says something itself.
    ///
    /// # Errors
    /// The function's error.
    fn judged(self, retry_if: impl FnOnce(&Self::Error) -> bool) -> Result<Self::Output, TaskError>;
}

impl<T: TaskOutput, E: IntoTaskError> TaskReturn for Result<T, E> {
    type Output = T;
    type Error = E;

    fn into_result(self) -> Result<T, TaskError> {
        self.map_err(Into::into)
    }

    fn judged(self, retry_if: impl FnOnce(&E) -> bool) -> Result<T, TaskError> {
        self.retry_if(retry_if)
    }
}

/// Has words of its own for an error that does not turn into a [`TaskError`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the error of a task",
    label = "does not turn into a `TaskError`",
    note = "implement `std::error::Error` for it, or return an error that does: `anyhow::Error`, `String`, `TaskError`; it must be `Send + Sync + 'static`"
)]
pub trait IntoTaskError: Into<TaskError> {}

#[diagnostic::do_not_recommend]
impl<E: Into<TaskError>> IntoTaskError for E {}

/// A function that can be the option `retry_if` of a task whose error is `E`: every `fn(&E) -> bool`.
#[diagnostic::on_unimplemented(
    message = "`retry_if` takes a `fn(&{E}) -> bool`, with the error of this task",
    label = "not a `fn(&{E}) -> bool`",
    note = "it is asked of each error the task returns: true retries it as the policy says, false makes it fatal"
)]
pub trait RetryIf<E>: FnOnce(&E) -> bool {}

#[diagnostic::do_not_recommend]
impl<E, F: FnOnce(&E) -> bool> RetryIf<E> for F {}

impl TaskReturn for () {
    type Output = ();
    type Error = Infallible;

    fn into_result(self) -> Result<(), TaskError> {
        Ok(())
    }

    fn judged(self, _: impl FnOnce(&Infallible) -> bool) -> Result<(), TaskError> {
        Ok(())
    }
}
