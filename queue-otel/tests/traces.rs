//! A web request, what it enqueues, and what that enqueues: as spans.

use std::time::Duration;

use opentelemetry::trace::{SpanKind, Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use queue_core::{Backoff, Call, Client, Context, Schedule, Task, TaskError, Worker, tasks};
use queue_otel::{Otel, TraceMode};
use serde::{Deserialize, Serialize};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

const PATIENCE: Duration = Duration::from_secs(120);

/// Enqueues a job that fails once.
#[derive(Serialize, Deserialize)]
struct Outer;

impl Task for Outer {
    type Output = String;
    const NAME: &'static str = "outer";

    async fn run(self, ctx: Context) -> Result<String, TaskError> {
        let inner = Call::new(Inner).queue("inner").retries(1).backoff(Backoff::fixed(Duration::from_millis(1)));
        let inner = inner.enqueue(ctx.client()).await.map_err(|error| error.to_string())?;
        Ok(inner.id().to_string())
    }
}

#[derive(Serialize, Deserialize)]
struct Inner;

impl Task for Inner {
    type Output = String;
    const NAME: &'static str = "inner";

    async fn run(self, ctx: Context) -> Result<String, TaskError> {
        if ctx.attempt() == 1 {
            return Err(std::io::Error::other("no").into());
        }
        Ok(ctx.header("traceparent").unwrap_or("none").to_owned())
    }
}

/// Runs a request that enqueues a job, on this thread, until all has ended.
async fn request(client: &Client, otel: Otel) -> String {
    let builder = Worker::builder(client).tasks(tasks![Outer, Inner]).queue("default").queue("inner");
    let worker = builder.middleware(otel).build().unwrap();
    let outer = async { Call::new(Outer).enqueue(client).await.unwrap() };
    let outer = outer.instrument(tracing::info_span!("GET /")).await;
    let mut header = None;
    let ended = async {
        let inner = outer.wait(PATIENCE).await.unwrap().parse::<queue_core::JobId>().unwrap();
        header = Some(client.handle::<Inner>(inner).await.unwrap().wait(PATIENCE).await.unwrap());
    };
    worker.run_until(ended).await.unwrap();
    header.unwrap()
}

/// The spans of what `act` does.
fn spans_of<F: Future>(act: impl FnOnce() -> F) -> (F::Output, Vec<SpanData>) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer);
    // While there is but one subscriber, whichever thread comes by a span first decides for all whether it is made; of two
    // each is asked.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let output = tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(act())
    });
    (output, exporter.get_finished_spans().unwrap())
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map_or_else(|| "none".to_owned(), |attribute| attribute.value.to_string())
}

fn traced(mode: TraceMode) -> (String, Vec<SpanData>) {
    let otel = Otel::new().mode(mode);
    spans_of(|| async {
        let client = Client::memory().with_middleware(otel.clone());
        request(&client, otel).await
    })
}

const NAMES: [&str; 6] =
    ["GET /", "enqueue default", "process default", "enqueue inner", "process inner", "process inner"];

#[test]
fn in_parent_mode_all_is_one_trace() {
    let (header, spans) = traced(TraceMode::Parent);
    let trace = named(&spans, "GET /")[0].span_context.trace_id();
    for name in NAMES {
        assert!(!named(&spans, name).is_empty(), "{name}");
    }
    assert_eq!(spans.len(), NAMES.len(), "and no other span");
    assert!(spans.iter().all(|span| span.span_context.trace_id() == trace));
    let [web, enqueue, run] = ["GET /", "enqueue default", "process default"].map(|name| named(&spans, name)[0]);
    assert_eq!(enqueue.parent_span_id, web.span_context.span_id());
    assert_eq!(run.parent_span_id, enqueue.span_context.span_id());
    let inner = named(&spans, "enqueue inner")[0];
    assert_eq!(inner.parent_span_id, run.span_context.span_id(), "what a job enqueues continues the trace");
    assert!(named(&spans, "process inner").iter().all(|run| run.parent_span_id == inner.span_context.span_id()));
    let told = format!("00-{trace}-{}-01", inner.span_context.span_id());
    assert_eq!(header, told, "the second attempt has the header still");
}

#[test]
fn in_link_mode_each_run_is_a_trace_of_its_own() {
    let (_, spans) = traced(TraceMode::Link);
    let [web, enqueue, run, inner] =
        ["GET /", "enqueue default", "process default", "enqueue inner"].map(|name| named(&spans, name)[0]);
    assert_eq!(enqueue.span_context.trace_id(), web.span_context.trace_id());
    assert_ne!(run.span_context.trace_id(), web.span_context.trace_id());
    assert_eq!(run.links.links.len(), 1);
    assert_eq!(run.links.links[0].span_context.span_id(), enqueue.span_context.span_id());
    assert_eq!(run.links.links[0].span_context.trace_id(), enqueue.span_context.trace_id());
    assert_eq!(inner.span_context.trace_id(), run.span_context.trace_id());
    for run in named(&spans, "process inner") {
        assert_eq!(run.links.links[0].span_context.span_id(), inner.span_context.span_id());
    }
}

#[test]
fn spans_say_what_the_conventions_ask_for() {
    let (_, spans) = traced(TraceMode::Link);
    let enqueue = named(&spans, "enqueue default")[0];
    assert_eq!(enqueue.span_kind, SpanKind::Producer);
    let run = named(&spans, "process default")[0];
    assert_eq!((&run.span_kind, &run.status), (&SpanKind::Consumer, &Status::Unset));
    assert_eq!(attribute(enqueue, "messaging.message.id"), attribute(run, "messaging.message.id"));
    for (span, name, operation) in [(enqueue, "enqueue", "send"), (run, "process", "process")] {
        assert_eq!(attribute(span, "messaging.system"), "queue");
        assert_eq!(attribute(span, "messaging.destination.name"), "default");
        assert_eq!(attribute(span, "messaging.operation.name"), name);
        assert_eq!(attribute(span, "messaging.operation.type"), operation);
    }
    let told =
        ["task", "attempt", "max_attempts", "outcome"].map(|key| attribute(run, &format!("messaging.queue.{key}")));
    assert_eq!(told, ["outer", "1", "1", "ok"]);
    assert_ne!(attribute(run, "messaging.client.id"), "none");
    let mut inner = named(&spans, "process inner");
    inner.sort_by_key(|run| run.start_time);
    assert!(matches!(inner[0].status, Status::Error { .. }));
    assert_eq!(attribute(inner[0], "messaging.queue.outcome"), "retry");
    assert_eq!(attribute(inner[0], "error.type"), "std::io::error::Error");
    assert_eq!((&inner[1].status, &*attribute(inner[1], "messaging.queue.outcome")), (&Status::Unset, "ok"));
}

#[test]
fn several_are_one_span_and_a_refusal_is_an_error() {
    let ((), spans) = spans_of(|| async {
        let client = Client::memory().with_middleware(Otel::new());
        client.enqueue_all([Call::new(Inner), Call::new(Inner)]).await.unwrap();
        client.enqueue_all([Call::new(Inner), Call::new(Inner).queue("inner")]).await.unwrap();
        Call::new(Inner).queue("no queue").enqueue(&client).await.unwrap_err();
    });
    assert_eq!(spans.len(), 3);
    assert_eq!(spans[0].name, "enqueue default");
    assert_eq!((spans[1].name.as_ref(), &*attribute(&spans[1], "messaging.batch.message_count")), ("enqueue", "2"));
    assert!(matches!(spans[2].status, Status::Error { .. }));
}

#[test]
fn the_job_of_a_schedule_begins_a_trace() {
    let otel = Otel::new().mode(TraceMode::Parent);
    let ((), spans) = spans_of(|| async {
        let client = Client::memory().with_middleware(otel.clone());
        let call = Call::new(Outer).header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let schedule = Schedule::new("often", call).every(Duration::from_millis(50)).max_runs(1);
        let worker = Worker::builder(&client).tasks(tasks![Outer]).schedule(schedule).middleware(otel).build().unwrap();
        let ran = async {
            while client.counts("default").await.unwrap().ended.completed == 0 {
                tokio::task::yield_now().await;
            }
        };
        worker.run_until(async { tokio::time::timeout(PATIENCE, ran).await.unwrap() }).await.unwrap();
    });
    let run = named(&spans, "process default")[0];
    assert_eq!(run.parent_span_id, opentelemetry::SpanId::INVALID);
}

#[test]
fn without_anyone_who_listens_nothing_breaks() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let header = runtime.block_on(async {
        let client = Client::memory().with_middleware(Otel::new());
        request(&client, Otel::new().mode(TraceMode::Parent)).await
    });
    assert_eq!(header, "none");
}
