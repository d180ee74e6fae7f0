//! OpenTelemetry for the `queue` framework: a trace goes on from whoever enqueues to the job, and from there to what the
//! job enqueues. Users add the package `queue-jobs` with the feature `otel`, which re-exports this as `queue::otel`.
//!
//! [`Otel`] is a [`Middleware`]. Given to a client, each enqueue is a producer span, whose W3C trace context travels with
//! the jobs as the headers `traceparent` and `tracestate`; given to a worker, each run is a consumer span that is tied to
//! that. Spans are those of [`tracing`], and reach OpenTelemetry by the layer of [`tracing_opentelemetry`] that the program
//! has installed. Without that layer nothing is exported and nothing breaks.
//!
//! ```
//! use queue_core::{Client, Context, Task, TaskError, Worker, tasks};
//! use queue_otel::{Otel, TraceMode};
//! # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
//! # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
//! #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
//!
//! # fn main() -> Result<(), queue_core::BoxError> {
//! let otel = Otel::new().mode(TraceMode::Parent);
//! let client = Client::memory().with_middleware(otel.clone());
//! let worker = Worker::builder(&client).tasks(tasks![Add]).middleware(otel).build()?;
//! # let _ = worker;
//! # Ok(()) }
//! ```
//!
//! # Spans
//!
//! They follow the semantic conventions for messaging, which are still in development (as of August 2026), with
//! `messaging.system` = `queue`:
//!
//! | span | kind | attributes |
//! |---|---|---|
//! | `enqueue {queue}` | producer | `messaging.operation.name` and `.type` (`enqueue`, `send`), `messaging.destination.name`, `messaging.message.id` of one job or `messaging.batch.message_count` of several, `error.type` |
//! | `process {queue}` | consumer | `messaging.operation.name` and `.type` (`process`), `messaging.destination.name`, `messaging.message.id`, `messaging.client.id` (the worker), `messaging.queue.task`, `.attempt`, `.max_attempts`, `.outcome` (`ok`, `retry`, `dead`, `cancelled`, `snoozed`, `released`, `lost`), `error.type` |
//!
//! Neither arguments nor results are ever among them. A flow, and what one `enqueue_all` stores, is one producer span; its
//! destination is told if it is one.

mod w3c;

use async_trait::async_trait;
use opentelemetry::Context as OtelContext;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use queue_core::{BoxError, Middleware, NextEnqueue, Outgoing, Starting, Stored};
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// How the span of a run is tied to that of the enqueue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceMode {
    /// Each run is a trace of its own, linked to the one that enqueued its job: what the conventions ask for, since a job
    /// may run much later, and more than once.
    #[default]
    Link,
    /// Each run is a child of the enqueue, in one trace with it.
    Parent,
}

/// Carries traces from whoever enqueues to the jobs: to be given to clients
/// ([`Client::with_middleware`](queue_core::Client::with_middleware)) and workers
/// ([`WorkerBuilder::middleware`](queue_core::WorkerBuilder::middleware)).
///
/// A job that a schedule enqueues begins a trace of its own. A call that has a header `traceparent` keeps it.
#[derive(Clone, Debug, Default)]
pub struct Otel {
    mode: TraceMode,
}

impl Otel {
    /// Links, as by default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the span of a run is tied to that of the enqueue. Default [`TraceMode::Link`].
    #[must_use]
    pub fn mode(mut self, mode: TraceMode) -> Self {
        self.mode = mode;
        self
    }
}

/// The span around an enqueue.
fn producing(calls: &[Outgoing]) -> Span {
    let span = tracing::info_span!(
        target: "queue::otel", "enqueue",
        otel.name = Empty, otel.kind = "producer", otel.status_code = Empty, error.type = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    span.set_attribute("messaging.system", "queue");
    span.set_attribute("messaging.operation.name", "enqueue");
    span.set_attribute("messaging.operation.type", "send");
    let queue = calls.first().map(Outgoing::queue).filter(|first| calls.iter().all(|call| call.queue() == *first));
    if let Some(queue) = queue {
        span.record("otel.name", format!("enqueue {queue}"));
        span.set_attribute("messaging.destination.name", queue);
    }
    match calls {
        [call] => span.set_attribute("messaging.message.id", call.id().to_string()),
        _ => span.set_attribute("messaging.batch.message_count", i64::try_from(calls.len()).unwrap_or(i64::MAX)),
    }
    span
}

/// The context that travels with jobs: of this span; where nothing exports it, of whatever is current.
fn travelling(span: &Span) -> OtelContext {
    let context = span.context();
    if context.span().span_context().is_valid() { context } else { OtelContext::current() }
}

fn put(context: &SpanContext, call: &mut Outgoing) {
    call.set_header(w3c::TRACEPARENT, w3c::traceparent(context));
    let state = context.trace_state().header();
    if !state.is_empty() {
        call.set_header(w3c::TRACESTATE, state);
    }
}

#[async_trait]
impl Middleware for Otel {
    async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
        let span = producing(calls);
        let context = travelling(&span);
        let context = context.span().span_context().clone();
        if context.is_valid() {
            for call in calls.iter_mut().filter(|call| call.header(w3c::TRACEPARENT).is_none()) {
                put(&context, call);
            }
        }
        let stored = next.run(calls).instrument(span.clone()).await;
        if stored.is_err() {
            span.record("otel.status_code", "error");
            span.record("error.type", "enqueue");
        }
        stored
    }

    fn span(&self, run: &Starting<'_>, span: &Span) {
        if span.is_disabled() {
            return;
        }
        span.record("otel.name", format!("process {}", run.queue()));
        span.record("otel.kind", "consumer");
        span.set_attribute("messaging.system", "queue");
        span.set_attribute("messaging.operation.name", "process");
        span.set_attribute("messaging.operation.type", "process");
        span.set_attribute("messaging.destination.name", run.queue().to_owned());
        span.set_attribute("messaging.message.id", run.id().to_string());
        span.set_attribute("messaging.client.id", run.worker().to_string());
        span.set_attribute("messaging.queue.task", run.task().to_owned());
        span.set_attribute("messaging.queue.attempt", i64::from(run.attempt()));
        span.set_attribute("messaging.queue.max_attempts", i64::from(run.max_attempts()));
        if run.schedule().is_some() {
            return;
        }
        let told = run.header(w3c::TRACEPARENT);
        let Some(creation) = told.and_then(|told| w3c::context(told, run.header(w3c::TRACESTATE))) else { return };
        match self.mode {
            TraceMode::Link => span.add_link(creation),
            // Fails only where nothing listens.
            TraceMode::Parent => drop(span.set_parent(OtelContext::new().with_remote_span_context(creation))),
        }
    }
}
