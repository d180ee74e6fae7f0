//! Jobs tied together: pipelines, groups and graphs, built from calls and checked by the compiler.

mod graph;
mod group;
mod into;
mod named;
mod plan;

use std::fmt;
use std::marker::PhantomData;

use queue_storage::model::{JobId, Trigger};

use crate::call::Call;
use crate::failed::Failed;
use crate::step::IntoStep;
use crate::task::Task;

pub(crate) use graph::{Graph, Knot, Tail, What};
pub use group::{Group, group};
pub use into::{IntoFlow, join};
pub(crate) use named::named;
pub(crate) use plan::{HANDLERS, Plan, RELAY, knot, plan};

/// Jobs tied together, whose end hands on an `Out`: what `call.then(step)` and [`join`] return.
///
/// A flow is a value like a [`Call`]: nothing is stored before [`enqueue`](Self::enqueue), every id is known before, and a
/// clone is the same flow. So one job may stand in several places: clone the call, or the flow that ends with it, and its
/// output goes to each of them.
///
/// ```
/// # use queue_core::{Call, Client, Context, Task, TaskError, join, tasks};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Fetch { url: String }
/// # impl Task for Fetch { type Output = String; const NAME: &'static str = "fetch";
/// #   async fn run(self, _: Context) -> Result<String, TaskError> { Ok(self.url) } }
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Size { text: String }
/// # impl Task for Size { type Output = usize; const NAME: &'static str = "size";
/// #   async fn run(self, _: Context) -> Result<usize, TaskError> { Ok(self.text.len()) } }
/// # #[derive(serde::Serialize)] struct Rest {}
/// # impl Size { fn after() -> queue_core::After<Self, String> { queue_core::After::new("text", &Rest {}) } }
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Report { both: (String, usize) }
/// # impl Task for Report { type Output = String; const NAME: &'static str = "report";
/// #   async fn run(self, _: Context) -> Result<String, TaskError> { Ok(format!("{}: {}", self.both.0, self.both.1)) } }
/// # impl Report { fn after() -> queue_core::After<Self, (String, usize)> { queue_core::After::new("both", &Rest {}) } }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
/// # let client = Client::immediate(tasks![Fetch, Size, Report]).build()?;
/// let page = Call::new(Fetch { url: "a.org".into() });
/// let size = page.clone().then(Size::after());
/// let report = join((page, size)).then(Report::after()).enqueue(&client).await?;
/// assert_eq!(report.result().await?, Some("a.org: 5".to_owned()));
/// # Ok(()) }
/// ```
#[must_use = "a flow does nothing until `.enqueue(&client).await`"]
pub struct Flow<Out> {
    pub(crate) graph: Graph,
    pub(crate) tail: Tail,
    output: PhantomData<fn() -> Out>,
}

impl<Out> Flow<Out> {
    pub(crate) fn new(graph: Graph, tail: Tail) -> Self {
        Self { graph, tail, output: PhantomData }
    }

    /// Adds a step that runs when the end of this has completed, with what that hands on as its first argument:
    /// `.then(next::after(rest..))`; or without it: `.then(next::new(..))`.
    ///
    /// A job that ends without completing cancels what waits for it, and so on; each says which job was to blame. See
    /// [`settled`](Self::settled) for another rule.
    pub fn then<S: IntoStep<Out>>(mut self, step: S) -> Flow<<S::Task as Task>::Output> {
        let tail = self.graph.follow(&self.tail, step.into_draft());
        Flow::new(self.graph, tail)
    }

    /// Hands on how it ended instead of what it returned: `Ok` with that, or `Err` with the [`Failed`] that says why it did
    /// not complete. So the step after it runs in any case.
    pub fn settled(mut self) -> Flow<Result<Out, Failed>> {
        let tail = Tail::Told(self.graph.point(&self.tail));
        Flow::new(self.graph, tail)
    }

    /// Adds a handler beside the flow, which runs as soon as the end of this ends without completing: it fails for good,
    /// expires, or is cancelled, be it for a job before it. Its first argument is the [`Failed`] that tells of it. When all
    /// goes well the handler is cancelled, as [not needed](crate::EndReason::NotNeeded).
    pub fn on_failure<S: IntoStep<Failed>>(mut self, handler: S) -> Self {
        self.graph.handle(&self.tail, handler.into_draft(), Trigger::Failed);
        self
    }

    /// Adds a handler beside the flow, which runs when the end of this has ended, however: its first argument is `Ok` with
    /// what that returned, or `Err` with the [`Failed`] that tells why it did not complete.
    pub fn on_complete<S: IntoStep<Result<Out, Failed>>>(mut self, handler: S) -> Self {
        self.graph.handle(&self.tail, handler.into_draft(), Trigger::Ended);
        self
    }

    /// Itself: so each part of a list may say it, whatever it is.
    pub fn into_flow(self) -> Self {
        self
    }

    /// The ids of its jobs, each after those it waits for; known before anything is enqueued.
    #[must_use]
    pub fn ids(&self) -> Vec<JobId> {
        self.graph.task_ids()
    }
}

impl<T: Task> Call<T> {
    /// The flow that this call is on its own: for a [`group`] with pipelines or with calls of other tasks that return the same.
    pub fn into_flow(self) -> Flow<T::Output> {
        let mut graph = Graph::default();
        let id = self.draft.id;
        graph.add(Knot::task(self.draft, Vec::new(), Trigger::Completed));
        Flow::new(graph, Tail::One(id))
    }

    /// Adds a step that runs when this one has completed, with its output: `.then(next::after(rest..))`. See [`Flow::then`].
    pub fn then<S: IntoStep<T::Output>>(self, step: S) -> Flow<<S::Task as Task>::Output> {
        self.into_flow().then(step)
    }

    /// Hands on how it ended instead of what it returned: see [`Flow::settled`].
    pub fn settled(self) -> Flow<Result<T::Output, Failed>> {
        self.into_flow().settled()
    }

    /// Adds a handler that runs if this one ends without completing: see [`Flow::on_failure`].
    pub fn on_failure<S: IntoStep<Failed>>(self, handler: S) -> Flow<T::Output> {
        self.into_flow().on_failure(handler)
    }

    /// Adds a handler that runs when this one has ended: see [`Flow::on_complete`].
    pub fn on_complete<S: IntoStep<Result<T::Output, Failed>>>(self, handler: S) -> Flow<T::Output> {
        self.into_flow().on_complete(handler)
    }
}

impl<Out> Clone for Flow<Out> {
    fn clone(&self) -> Self {
        Self::new(self.graph.clone(), self.tail.clone())
    }
}

impl<Out> fmt::Debug for Flow<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.graph.fmt(f)
    }
}
