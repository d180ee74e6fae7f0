//! Middleware made of a closure.

use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};

use async_trait::async_trait;
use futures_util::FutureExt;
use queue_storage::model::{Failure, FailureKind, Verdict};

use super::{Done, Middleware, NextRun};
use crate::context::Context;
use crate::task_error::{TaskError, panic_text};

/// How a run ended that was not cut off: what [`WorkerBuilder::after_run`](crate::WorkerBuilder::after_run) is told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RunEnd {
    /// The task returned a value.
    Succeeded,
    /// The task returned an error or panicked, or a middleware did.
    Failed {
        /// What is stored of it.
        failure: Failure,
        /// What it says about its job; a snooze and a call to slow down are no failures.
        verdict: Verdict,
    },
}

/// Acts before each run.
pub(crate) struct Before<A>(pub(crate) A);

#[async_trait]
impl<A, F> Middleware for Before<A>
where
    A: Fn(Context) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), TaskError>> + Send + 'static,
{
    async fn run(&self, ctx: &Context, next: NextRun) -> Result<Done, TaskError> {
        (self.0)(ctx.clone()).await?;
        next.run().await
    }
}

/// Acts after each run.
pub(crate) struct After<A>(pub(crate) A);

#[async_trait]
impl<A, F> Middleware for After<A>
where
    A: Fn(Context, RunEnd) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    async fn run(&self, ctx: &Context, next: NextRun) -> Result<Done, TaskError> {
        let ended = AssertUnwindSafe(next.run()).catch_unwind().await;
        let end = match &ended {
            Ok(Ok(_)) => RunEnd::Succeeded,
            Ok(Err(error)) => RunEnd::failed(error.to_parts()),
            Err(panic) => RunEnd::failed((Failure::new(FailureKind::Panic, panic_text(&**panic)), Verdict::Policy)),
        };
        (self.0)(ctx.clone(), end).await;
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl RunEnd {
    fn failed((failure, verdict): (Failure, Verdict)) -> Self {
        Self::Failed { failure, verdict }
    }
}
