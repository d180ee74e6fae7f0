//! What a middleware goes on to.

use async_trait::async_trait;
use bytes::Bytes;
use queue_storage::model::Outcome;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Chain, Middleware, Outgoing};
use crate::context::Context;
use crate::json;
use crate::task_error::{BoxError, TaskError};

/// That a task has succeeded; what it returned is within and not decoded.
#[must_use = "a run that has succeeded says so with it"]
pub struct Done(pub(crate) Outcome);

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Done")
    }
}

/// A run that has begun: the task's future, or a middleware's around it. It may panic.
pub(crate) type Run = Pin<Box<dyn Future<Output = Result<Done, TaskError>> + Send>>;

/// What stands further in around a run: other middlewares, and the task.
#[must_use = "the task runs with `.run().await`"]
pub struct NextRun {
    chain: Chain,
    at: usize,
    ctx: Context,
    task: Run,
    args: Bytes,
}

impl Chain {
    /// The run of a task, with every middleware around it.
    pub(crate) fn around(&self, ctx: Context, task: Run, args: Bytes) -> NextRun {
        NextRun { chain: self.clone(), at: 0, ctx, task, args }
    }
}

impl NextRun {
    /// Runs the task, and all that stands further in around it.
    ///
    /// # Errors
    /// What the task said, or a middleware.
    ///
    /// # Cancel safety
    /// Dropping the future drops the task at its await.
    pub async fn run(self) -> Result<Done, TaskError> {
        match self.chain.0.get(self.at).cloned() {
            Some(one) => {
                let ctx = self.ctx.clone();
                one.run(&ctx, Self { at: self.at + 1, ..self }).await
            }
            None => self.task.await,
        }
    }

    /// The run's context, as the middleware is given it.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// The job's arguments, by name, decoded each time it is called. They may be secret: see [`Redact`](crate::Redact).
    ///
    /// # Errors
    /// They can't be told as JSON.
    pub fn arguments(&self) -> Result<serde_json::Value, BoxError> {
        Ok(json::to_value(&self.args)?)
    }
}

impl fmt::Debug for NextRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextRun").field("context", &self.ctx).finish_non_exhaustive()
    }
}

/// That calls were stored, or that another job of the same unique key keeps them out.
#[derive(Debug)]
#[must_use = "a middleware returns it, to say that it went on"]
pub struct Stored(());

/// What stores calls in the end.
#[async_trait]
pub(crate) trait Store: Send {
    async fn store(&mut self, calls: &mut [Outgoing]) -> Result<(), BoxError>;
}

/// What stands further in around an enqueue: other middlewares, and the storage.
#[must_use = "nothing is stored without `.run(calls).await`"]
pub struct NextEnqueue<'a> {
    rest: &'a [Arc<dyn Middleware>],
    store: &'a mut dyn Store,
}

impl<'a> NextEnqueue<'a> {
    pub(crate) fn new(chain: &'a Chain, store: &'a mut dyn Store) -> Self {
        Self { rest: &chain.0, store }
    }

    /// Stores the calls, as they are by now.
    ///
    /// # Errors
    /// They are not, or not surely, stored. Whoever enqueues is told why whatever a middleware makes of it.
    ///
    /// # Cancel safety
    /// When the future is dropped, they may be stored or not.
    pub async fn run(self, calls: &mut [Outgoing]) -> Result<Stored, BoxError> {
        match self.rest.split_first() {
            Some((one, rest)) => one.enqueue(calls, NextEnqueue { rest, store: self.store }).await,
            None => self.store.store(calls).await.map(Stored),
        }
    }
}

impl fmt::Debug for NextEnqueue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextEnqueue").field("further_in", &self.rest.len()).finish_non_exhaustive()
    }
}
