//! What the output of `#[task]` names. Not part of the API: it may change with any version of the macro.

pub use serde;

pub use crate::call::Call;
pub use crate::client::Client;
pub use crate::context::{Context, FromContext, Requirements};
pub use crate::enqueue::EnqueueError;
pub use crate::handle::JobHandle;
pub use crate::step::After;
pub use crate::task::{Task, TaskArg, TaskOptions, TaskOutput, TaskReturn};
pub use crate::task_error::TaskError;
pub use queue_storage::model::{Backoff, Jitter};

use std::time::Duration;

use crate::engine::executor;

/// A type by another name: a bound on `<T as Itself<'_>>::Type` for every lifetime is one that rustc does not check where
/// it stands. `#[task]` so keeps serde's derives quiet about an argument of the wrong type, and says it once, in its own words.
pub trait Itself<'a> {
    /// The type.
    type Type: ?Sized;
}

impl<T: ?Sized> Itself<'_> for T {
    type Type = T;
}

/// Does not compile unless `T` can be an argument.
pub const fn argument<T: TaskArg>() {}

/// The backoff that `exponential(base, ..)` in the attribute means: what it leaves out is the default.
#[must_use]
pub const fn exponential(base: Duration, factor: Option<f64>, cap: Option<Duration>) -> Backoff {
    let mut backoff = Backoff::exponential(base);
    if let Backoff::Exponential { factor: by, cap: longest, .. } = &mut backoff {
        if let Some(factor) = factor {
            *by = factor;
        }
        if let Some(cap) = cap {
            *longest = cap;
        }
    }
    backoff
}

/// Runs a task that is not async on the blocking pool; a panic goes on in the caller.
///
/// # Errors
/// The task's.
pub async fn run_blocking<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    executor::note_thread(true);
    let ended = tokio::task::spawn_blocking(body).await;
    executor::note_thread(false);
    match ended {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down: this future is about to be dropped with it.
            Err(_) => std::future::pending().await,
        },
    }
}
