//! What the user does when a worker starts, and when it has stopped.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use queue_storage::model::{Shard, WorkerId};

use super::error::WorkerError;
use crate::client::Client;
use crate::data::Data;
use crate::engine::Engine;
use crate::task_error::{BoxError, panic_text};

type Answer = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
type Act = Box<dyn Fn(WorkerContext) -> Answer + Send + Sync>;

/// A worker, as what runs when it [starts](crate::WorkerBuilder::on_start) and when it has
/// [stopped](crate::WorkerBuilder::on_stop) sees it.
#[derive(Clone)]
pub struct WorkerContext {
    engine: Arc<Engine>,
    queues: Arc<[Shard]>,
}

impl WorkerContext {
    pub(super) fn new(engine: &Arc<Engine>, queues: impl Iterator<Item = Shard>) -> Self {
        Self { engine: Arc::clone(engine), queues: queues.collect() }
    }

    /// The id of this incarnation.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.engine.id
    }

    /// The client it was built on.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.engine.client
    }

    /// The names of the queues it serves.
    pub fn queues(&self) -> impl Iterator<Item = &str> {
        self.queues.iter().map(|shard| shard.queue.as_str())
    }

    /// What it was given with [`data`](crate::WorkerBuilder::data).
    #[must_use]
    pub fn data<T: ?Sized + Send + Sync + 'static>(&self) -> Option<Data<T>> {
        self.engine.data.get()
    }
}

impl fmt::Debug for WorkerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerContext").field("id", &self.id()).field("queues", &self.queues).finish_non_exhaustive()
    }
}

/// The user's hooks, each in the order in which they were added.
#[derive(Default)]
pub(super) struct Hooks {
    start: Vec<Act>,
    stop: Vec<Act>,
}

fn boxed<F>(act: impl Fn(WorkerContext) -> F + Send + Sync + 'static) -> Act
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Box::new(move |worker| Box::pin(act(worker)))
}

/// What one of them said; a panic is an error.
async fn said(act: &Act, worker: WorkerContext) -> Result<(), BoxError> {
    let guarded = AssertUnwindSafe(async { act(worker).await }).catch_unwind();
    guarded.await.unwrap_or_else(|panic| {
        let text = format!("it panicked: {}", panic_text(&*panic));
        // Its drop may panic, too.
        std::mem::forget(panic);
        Err(text.into())
    })
}

impl Hooks {
    pub(super) fn at_start<F>(&mut self, act: impl Fn(WorkerContext) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.start.push(boxed(act));
    }

    pub(super) fn at_stop<F>(&mut self, act: impl Fn(WorkerContext) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.stop.push(boxed(act));
    }

    /// Whatever is to be done before the worker does anything; the first that fails ends it.
    pub(super) async fn started(&self, worker: &WorkerContext) -> Result<(), WorkerError> {
        for act in &self.start {
            said(act, worker.clone()).await.map_err(WorkerError::start)?;
        }
        Ok(())
    }

    /// Whatever is to be done once it has stopped, each in any case, all within the time for last words.
    pub(super) async fn stopped(&self, worker: &WorkerContext) {
        let all = async {
            for act in &self.stop {
                if let Err(error) = said(act, worker.clone()).await {
                    tracing::error!(error, "what was to be done when the worker had stopped (`on_stop`) failed");
                }
            }
        };
        let (engine, most) = (&worker.engine, worker.engine.config.last_words);
        tokio::select! {
            () = all => {}
            () = engine.sleep(most) => {
                tracing::error!(?most, "what was to be done when the worker had stopped (`on_stop`) took too long: left");
            }
        }
    }
}
