//! Layers of tower around runs.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context as Polled, Poll};

use async_trait::async_trait;
use tower_layer::Layer;
use tower_service::Service;

use super::{Done, Middleware, NextRun};
use crate::context::Context;
use crate::task_error::{MarkedError, TaskError};

/// The service that runs jobs: what a [`TowerLayer`] is put around.
#[derive(Clone, Copy, Debug)]
pub struct Runs(());

impl Service<NextRun> for Runs {
    type Response = Done;
    type Error = MarkedError;
    type Future = Pin<Box<dyn Future<Output = Result<Done, MarkedError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Polled<'_>) -> Poll<Result<(), MarkedError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, run: NextRun) -> Self::Future {
        Box::pin(async { run.run().await.map_err(TaskError::into_error) })
    }
}

/// A layer of tower as a [`Middleware`] around runs. Each run gets a clone of the one service, so that what the layer
/// shares between clones, the permits of a concurrency limit say, is shared between runs.
///
/// [`Runs`] fails with what [`TaskError::into_error`] returns, so a task's verdict is found again in whatever the layer
/// makes of it. A layer whose errors are boxed, as `tower::timeout`, fits as it is.
pub struct TowerLayer<S>(S);

impl<S> TowerLayer<S> {
    /// The service that `layer` makes of [`Runs`].
    pub fn new(layer: impl Layer<Runs, Service = S>) -> Self {
        Self(layer.layer(Runs(())))
    }
}

#[async_trait]
impl<S> Middleware for TowerLayer<S>
where
    S: Service<NextRun, Response = Done, Error: Into<TaskError>, Future: Send> + Clone + Send + Sync + 'static,
{
    async fn run(&self, _: &Context, next: NextRun) -> Result<Done, TaskError> {
        let mut service = self.0.clone();
        poll_fn(|polled| service.poll_ready(polled)).await.map_err(Into::into)?;
        service.call(next).await.map_err(Into::into)
    }
}

impl<S> fmt::Debug for TowerLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TowerLayer")
    }
}
