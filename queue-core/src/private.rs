//! What the output of `#[task]` names. Not part of the API: it may change with any version of the macro.

pub use serde;

pub use crate::call::Call;
pub use crate::client::Client;
pub use crate::context::{Context, FromContext, Requirements};
pub use crate::enqueue::EnqueueError;
pub use crate::handle::JobHandle;
pub use crate::limits::{Limit, Unique};
pub use crate::policies::{Missed, Overlap};
pub use crate::step::After;
pub use crate::task::{Periodic, RetryIf, Task, TaskArg, TaskOptions, TaskOutput, TaskReturn};
pub use crate::task_error::TaskError;
pub use queue_storage::model::{Backoff, Jitter, Rate};

use std::time::Duration;

use crate::engine::OnThread;

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

/// The backoff that `linear(base, ..)` in the attribute means: what it leaves out is the first delay, and the default.
#[must_use]
pub const fn linear(base: Duration, step: Option<Duration>, cap: Option<Duration>) -> Backoff {
    let mut backoff = Backoff::linear(base, base);
    if let Backoff::Linear { step: by, cap: longest, .. } = &mut backoff {
        if let Some(step) = step {
            *by = step;
        }
        if let Some(cap) = cap {
            *longest = cap;
        }
    }
    backoff
}

/// What a function returned, judged by the option `retry_if`.
///
/// # Errors
/// The function's error.
pub fn judged<R: TaskReturn, F: RetryIf<R::Error>>(returned: R, retry_if: F) -> Result<R::Output, TaskError> {
    returned.judged(retry_if)
}

/// Runs a task that is not async on the blocking pool; a panic goes on in the caller.
///
/// # Errors
/// The task's.
///
/// # Cancel safety
/// A body that has begun goes on on its thread; one that has not never begins.
pub async fn run_blocking<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = OnThread::begin();
    let mut ended = Unbegun(tokio::task::spawn_blocking(move || {
        let _thread = thread;
        body()
    }));
    match (&mut ended.0).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down: this future is about to be dropped with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Dropped, it keeps a body that waits for a thread from beginning.
struct Unbegun<R>(tokio::task::JoinHandle<R>);

impl<R> Drop for Unbegun<R> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A rate, as the attribute tells it.
const fn rate_of(period: Duration, starts: u32, burst: u32) -> Rate {
    Rate::per(period, starts).burst(burst)
}

/// The limit that `rate = ".."` in the attribute means.
#[must_use]
pub const fn rate(period: Duration, starts: u32, burst: u32) -> Limit {
    Limit::rate(rate_of(period, starts, burst))
}

/// The same for each value of an argument.
#[must_use]
pub const fn rate_by(period: Duration, starts: u32, burst: u32, argument: &'static str) -> Limit {
    Limit::rate_by(rate_of(period, starts, burst), argument)
}

/// The same for all that share a name.
#[must_use]
pub const fn shared_rate(period: Duration, starts: u32, burst: u32, name: &'static str) -> Limit {
    Limit::rate_shared(rate_of(period, starts, burst), name)
}

/// The limit that `concurrency(.., shared = ..)` in the attribute means.
#[must_use]
pub const fn shared_concurrency(most: u32, name: &'static str) -> Limit {
    Limit::concurrency_shared(most, name)
}
