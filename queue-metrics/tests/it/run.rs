//! One run in which everything happens once, or twice, and each number that comes of it.

use std::sync::Arc;
use std::time::Duration;

use queue_core::EventKind::{Cancelled, Died, Expired, Retrying, Started, Succeeded};
use queue_core::{Worker, tasks};
use queue_metrics::Metrics;
use tokio::sync::{Semaphore, oneshot};

use crate::support::{Fare, Place, Text};

const FARE: &str = r#"queue="default",task="fare""#;
const MINUTE: Duration = Duration::from_secs(60);

/// Enqueues one of each fate, and lets them stand for five minutes.
async fn fill(place: &mut Place) {
    let client = &place.client;
    client.enqueue_all(["well", "well", "badly"].map(Fare::new)).await.unwrap();
    Fare::new("better").retries(1).enqueue(client).await.unwrap();
    let called_off = Fare::new("well").enqueue(client).await.unwrap();
    Fare::new("well").expires(MINUTE).enqueue(client).await.unwrap();
    Fare::new("well").delay(MINUTE * 60).enqueue(client).await.unwrap();
    Fare::new("well").queue("shut").enqueue(client).await.unwrap();
    client.queue("shut").pause().await.unwrap();
    client.cancel(called_off.id()).await.unwrap();
    place.sees([Cancelled]).await;
    place.clock.advance(MINUTE * 5);
}

async fn read(metrics: &Metrics) -> Text {
    Text::parse(&metrics.render().await)
}

fn assert_states(text: &Text, expected: [(&str, f64); 9]) {
    for (state, count) in expected {
        assert_eq!(text.value(&format!(r#"queue_jobs{{queue="default",state="{state}"}}"#)), count, "{state}");
    }
}

fn assert_before(text: &Text) {
    let none = ("retrying", 0.0);
    let ended = [("completed", 0.0), ("cancelled", 1.0), ("expired", 0.0), ("dead", 0.0)];
    let [completed, cancelled, expired, dead] = ended;
    let live = [("waiting", 0.0), ("scheduled", 1.0), ("ready", 5.0), ("running", 0.0)];
    let [waiting, scheduled, ready, running] = live;
    assert_states(text, [waiting, scheduled, ready, running, none, completed, cancelled, expired, dead]);
    assert_eq!(text.value(r#"queue_latency_seconds{queue="default"}"#), 300.0);
    assert_eq!(text.of("queue_worker_up").count(), 0);
}

/// A job runs, and all others have met their fates.
fn assert_during(text: &Text, worker: &str) {
    let counts = [
        ("waiting", 0.0),
        ("scheduled", 1.0),
        ("ready", 0.0),
        ("running", 1.0),
        ("retrying", 0.0),
        ("completed", 3.0),
        ("cancelled", 1.0),
        ("expired", 1.0),
        ("dead", 1.0),
    ];
    assert_states(text, counts);
    for (metric, expected) in [("queue_worker_up", 1.0), ("queue_worker_slots", 3.0), ("queue_worker_slots_busy", 1.0)]
    {
        let (series, value) = text.of(metric).next().expect(metric);
        assert!(series.contains(&format!(r#"worker="{worker}",host=""#)), "{series}");
        assert_eq!((value, text.of(metric).count()), (expected, 1), "{metric}");
    }
    for queue in ["default", "shut"] {
        let latency = if queue == "shut" { 314.0 } else { 0.0 };
        assert_eq!(text.value(&format!(r#"queue_latency_seconds{{queue="{queue}"}}"#)), latency);
        let paused = f64::from(u8::from(queue == "shut"));
        assert_eq!(text.value(&format!(r#"queue_paused{{queue="{queue}"}}"#)), paused);
    }
}

/// Everything that is counted as it happens.
fn assert_counted(text: &Text) {
    assert_eq!(text.value(&format!("queue_jobs_enqueued_total{{{FARE}}}")), 8.0);
    assert_eq!(text.value(r#"queue_jobs_enqueued_total{queue="shut",task="fare"}"#), 1.0);
    let outcomes = [
        ("succeeded", 4.0),
        ("retried", 1.0),
        ("dead", 1.0),
        ("cancelled", 1.0),
        ("expired", 1.0),
        ("snoozed", 0.0),
        ("interrupted", 0.0),
        ("stalled", 0.0),
    ];
    for (outcome, count) in outcomes {
        let series = format!(r#"queue_jobs_finished_total{{{FARE},outcome="{outcome}"}}"#);
        assert_eq!(text.value(&series), count, "{outcome}");
    }
    let took = |outcome: &str| text.histogram("queue_job_duration_seconds", &format!(r#"{FARE},outcome="{outcome}""#));
    assert_eq!((took("succeeded"), took("retried"), took("dead")), ((4.0, 2.0), (1.0, 0.0), (1.0, 0.0)));
    let ran = text.of("queue_job_duration_seconds_count").count();
    assert_eq!(ran, 3, "what never ran took no time");
    let below = |le: &str| text.value(&format!(r#"queue_job_wait_seconds_bucket{{{FARE},le="{le}"}}"#));
    assert_eq!(text.histogram("queue_job_wait_seconds", FARE), (6.0, 1_202.0));
    assert_eq!((below("0.005"), below("2.5"), below("120"), below("300"), below("+Inf")), (1.0, 2.0, 2.0, 6.0, 6.0));
    assert_eq!(text.histogram("queue_job_attempts", FARE), (5.0, 6.0));
    assert_eq!(text.value(&format!(r#"queue_job_attempts_bucket{{{FARE},le="1"}}"#)), 4.0);
    assert_eq!(text.value(r#"queue_lease_lost_total{queue="default"}"#), 0.0);
    assert_eq!(text.value(&format!("queue_jobs_reclaimed_total{{{FARE}}}")), 0.0);
    assert_eq!(text.histogram("queue_backend_operation_seconds", r#"op="enqueue""#), (7.0, 0.0));
    assert!(text.histogram("queue_backend_operation_seconds", r#"op="exchange""#).0 >= 2.0);
    assert_eq!(text.of("queue_backend_errors_total").count(), 0);
}

/// The worker has gone, and the job for later is due.
fn assert_after(text: &Text) {
    assert_eq!(text.value(r#"queue_jobs_due{queue="default"}"#), 1.0);
    assert_eq!(text.value(r#"queue_jobs_parked{queue="default"}"#), 0.0);
    assert_eq!(text.value(r#"queue_latency_seconds{queue="default"}"#), 60.0);
    assert_eq!(text.value(r#"queue_latency_seconds{queue="shut"}"#), 3_660.0);
    for metric in ["queue_worker_up", "queue_worker_slots", "queue_worker_slots_busy"] {
        assert_eq!(text.of(metric).count(), 0, "{metric}");
    }
    assert_eq!(text.value("queue_backend_up"), 1.0);
    let build = format!(r#"queue_build_info{{version="{}",backend="memory"}}"#, env!("CARGO_PKG_VERSION"));
    assert_eq!(text.value(&build), 1.0);
}

#[tokio::test]
async fn every_number_of_a_known_run() {
    let mut place = Place::new().await;
    let metrics = place.metrics().backend(&place.observed).build();
    fill(&mut place).await;
    assert_before(&read(&metrics).await);

    let go = Arc::new(Semaphore::new(0));
    let builder = Worker::builder(&place.client).tasks(tasks![Fare]).data_arc(Arc::clone(&go));
    let worker = builder.concurrency(3).lease(MINUTE * 600).build().unwrap();
    let id = worker.id().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let work = tokio::spawn(worker.run_until(async { drop(stopped.await) }));
    place.sees([Succeeded, Succeeded, Died, Retrying, Expired]).await;
    place.clock.advance(Duration::from_secs(12));
    place.sees([Succeeded]).await;
    Fare::new("on").enqueue(&place.client).await.unwrap();
    place.sees([Started]).await;
    place.clock.advance(Duration::from_secs(2));
    assert_during(&read(&metrics).await, &id);
    go.add_permits(1);
    place.sees([Succeeded]).await;
    stop.send(()).unwrap();
    work.await.unwrap().unwrap();

    place.clock.advance(MINUTE * 61 - Duration::from_secs(314));
    let text = read(&metrics).await;
    assert_counted(&text);
    assert_after(&text);
}
