//! Code of the user's around enqueueing and around runs.

mod closures;
mod next;
mod outgoing;
mod starting;
#[cfg(feature = "tower")]
mod tower;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::client::{Client, ClientBuilder};
use crate::context::Context;
use crate::task_error::{BoxError, TaskError};

pub use closures::RunEnd;
pub(crate) use closures::{After, Before};
pub use next::{Done, NextEnqueue, NextRun, Stored};
pub(crate) use next::{Run, Store};
pub use outgoing::Outgoing;
pub use starting::Starting;
#[cfg(feature = "tower")]
pub use tower::{Runs, TowerLayer};

/// Code around enqueueing, around runs, or both: to log, to measure, to pass a tenant along, to open a transaction for
/// each job.
///
/// Each method does nothing of its own by default and goes on to what is further in. Of several the first that was added
/// is outermost: it acts first on the way in and last on the way out. A client's
/// ([`Client::with_middleware`], [`ClientBuilder::middleware`]) stands around what that client enqueues; a worker's
/// ([`WorkerBuilder::middleware`](crate::WorkerBuilder::middleware)) around each run. What does both is given to both.
///
/// ```
/// use queue_core::{BoxError, Context, Done, Middleware, NextEnqueue, NextRun, Outgoing, Stored, TaskError, async_trait};
///
/// struct Tenant(String);
///
/// #[async_trait]
/// impl Middleware for Tenant {
///     async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
///         calls.iter_mut().for_each(|call| call.set_header("tenant", &self.0));
///         next.run(calls).await
///     }
///
///     async fn run(&self, ctx: &Context, next: NextRun) -> Result<Done, TaskError> {
///         if ctx.header("tenant").is_none() {
///             return Err(TaskError::fatal("this job has no tenant"));
///         }
///         next.run().await
///     }
/// }
/// # use queue_core::Client;
/// # let client = Client::memory().with_middleware(Tenant("acme".to_owned()));
/// # let builder = queue_core::Worker::builder(&client).middleware(Tenant("acme".to_owned()));
/// ```
///
/// What passes: [`Call::enqueue`](crate::Call::enqueue), [`Client::enqueue_all`] and flows, in immediate mode too, and
/// what tasks enqueue with [`Context::client`], which is the client that the worker was built on. What does not, as nobody
/// awaits there or nothing new is stored: [`Call::into_job`](crate::Call::into_job), the ticks of schedules (whose call is
/// stored with the schedule, as it was then), retries, and jobs that are revived or moved to another queue. Runs pass
/// always.
#[async_trait]
pub trait Middleware: Send + Sync + 'static {
    /// Around the enqueueing of calls: all those that one `enqueue` or `enqueue_all` stores, or a flow.
    ///
    /// It may change each call, refuse them all with an error, and act before and after. It goes on with the calls that it
    /// was given, all of them and in their order: anything else counts as a refusal. When it refuses, nothing is stored, and
    /// whoever enqueues gets [`EnqueueError::is_refused`](crate::EnqueueError::is_refused), with its error as the source and
    /// the calls as they were. What is stored stays stored: an error after that is logged and goes no further. A panic is
    /// one of whoever enqueues.
    ///
    /// # Errors
    /// Why nothing is to be enqueued, or what came from further in.
    ///
    /// # Cancel safety
    /// When whoever enqueues is dropped, the future is dropped at its await; the jobs may be stored or not.
    async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
        next.run(calls).await
    }

    /// Around one run of a job, within its timeout, its guard against panics and its span.
    ///
    /// It may refuse the run with an error, whose [verdict](TaskError) counts as if the task had returned it (retry, fatal,
    /// cancel, snooze), turn the task's error into another, and act before and after. A panic in it is a panic of the run.
    /// Whatever the task runs in, as a task-local, may be set around [`next.run()`](NextRun::run); a task that is not async
    /// runs on a thread of its own, where task-locals are not seen.
    ///
    /// A job whose arguments can't be decoded has no run. A result that can't be stored is [`Done`] here.
    ///
    /// # Errors
    /// Why the job is not to run, or what came from further in.
    ///
    /// # Cancel safety
    /// When the run is cut off (it took too long, its lease is lost, its worker stops, it was cancelled and went on), the
    /// future is dropped at its await, and what stands after [`next.run()`](NextRun::run) never happens: what must be
    /// undone is undone by a guard's `Drop`.
    async fn run(&self, ctx: &Context, next: NextRun) -> Result<Done, TaskError> {
        let _ = ctx;
        next.run().await
    }

    /// Sees the span of a run before it is entered for the first time, and with it what is known of the run by then: for
    /// bridges to tracing systems, which tie spans together before they begin. A panic in it is logged.
    fn span(&self, run: &Starting<'_>, span: &tracing::Span) {
        let _ = (run, span);
    }
}

#[async_trait]
impl<M: Middleware + ?Sized> Middleware for Arc<M> {
    async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
        (**self).enqueue(calls, next).await
    }

    async fn run(&self, ctx: &Context, next: NextRun) -> Result<Done, TaskError> {
        (**self).run(ctx, next).await
    }

    fn span(&self, run: &Starting<'_>, span: &tracing::Span) {
        (**self).span(run, span);
    }
}

/// Middlewares in their order, outermost first.
#[derive(Clone)]
pub(crate) struct Chain(Arc<[Arc<dyn Middleware>]>);

impl Chain {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Middleware>> {
        self.0.iter()
    }

    /// The same with one more, further in than all others.
    pub(crate) fn with(&self, middleware: impl Middleware) -> Self {
        let one: Arc<dyn Middleware> = Arc::new(middleware);
        Self(self.0.iter().cloned().chain([one]).collect())
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({})", self.0.len())
    }
}

impl Client {
    /// A client of the same storage whose enqueues pass `middleware`, within those that this client's pass already. It
    /// shares everything else with this one, which stays as it is.
    #[must_use]
    pub fn with_middleware(&self, middleware: impl Middleware) -> Self {
        self.passing(Arc::new(self.chain().cloned().unwrap_or_default().with(middleware)))
    }

    /// What its enqueues pass, if anything.
    pub(crate) fn chain(&self) -> Option<&Chain> {
        self.passes()?.downcast_ref()
    }
}

impl ClientBuilder {
    /// Lets what the client enqueues pass `middleware`: [`Client::with_middleware`].
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        let chain = self.passes.as_deref().and_then(|passes| passes.downcast_ref::<Chain>());
        self.passes = Some(Arc::new(chain.cloned().unwrap_or_default().with(middleware)));
        self
    }
}
