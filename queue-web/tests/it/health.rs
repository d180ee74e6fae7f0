//! What probes ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use queue_core::{Call, Client, State};
use queue_web::Web;
use serde_json::json;

use crate::support::{Add, Hold, Line, added, code, drain, get, until, work};

#[tokio::test]
async fn all_is_well() {
    let web = Web::new(&Client::memory());
    assert_eq!(get(&web, "/livez").await, (http::StatusCode::OK, json!({ "status": "alive" })));
    for path in ["/readyz", "/healthz"] {
        assert_eq!(get(&web, path).await, (http::StatusCode::OK, json!({ "status": "ready" })), "{path}");
    }
}

#[tokio::test]
async fn a_storage_that_is_away_is_unready_and_the_process_is_alive() {
    let (line, client) = Line::new();
    let web = Web::new(&client);
    line.cut();
    let reason = "the storage does not answer: connection refused";
    for path in ["/readyz", "/healthz"] {
        let (status, body) = get(&web, path).await;
        assert_eq!((status.as_u16(), body), (503, json!({ "status": "unready", "reason": reason })), "{path}");
    }
    for path in ["/health/tasks", "/health/queue", "/health/tasks?queue=mail"] {
        let (status, body) = get(&web, path).await;
        assert_eq!((status.as_u16(), body), (503, json!({ "status": "unhealthy", "reason": reason })), "{path}");
    }
    assert_eq!(get(&web, "/livez").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_silent_storage() {
    let (line, client) = Line::new();
    let web = Web::new(&client);
    line.silence();
    let started = tokio::time::Instant::now();
    assert_eq!(get(&web, "/livez").await.0, 200);
    assert_eq!(started.elapsed(), Duration::ZERO);
    for path in ["/readyz", "/health/tasks", "/health/queue"] {
        let (started, (status, body)) = (tokio::time::Instant::now(), get(&web, path).await);
        let reason = "the storage does not answer: timed out after 2s";
        assert_eq!((status.as_u16(), body["reason"].as_str()), (503, Some(reason)), "{path}");
        assert_eq!(started.elapsed().as_secs(), 2, "{path}");
    }
    let quick = web.health_timeout(Duration::from_millis(500)).timeout(Duration::from_secs(3));
    let started = tokio::time::Instant::now();
    assert_eq!(get(&quick, "/readyz").await.0, 503);
    assert_eq!(started.elapsed().as_millis(), 500);
    let late = get(&quick, "/stats").await;
    assert_eq!(code(&late), (504, "timeout"));
    assert_eq!(late.1["error"]["message"], "the storage does not answer: timed out after 3s");
}

#[tokio::test(start_paused = true)]
async fn many_queues_are_counted_in_time() {
    let (line, client) = Line::new();
    for number in 0..160 {
        Call::new(Add { a: 1, b: 1 }).queue(format!("q{number}")).enqueue(&client).await.unwrap();
    }
    line.slow();
    let (started, (status, body)) = (tokio::time::Instant::now(), get(&Web::new(&client), "/health/tasks").await);
    assert_eq!((status.as_u16(), &body["pending_tasks"]), (200, &json!(160)), "{body}");
    assert_eq!(started.elapsed().as_millis() / 100, 11, "one question for the queues, and ten rounds of sixteen");
}

#[tokio::test]
async fn a_draining_worker_is_unready() {
    let (line, client) = Line::new();
    let draining = Arc::new(AtomicBool::new(false));
    let (seen, asked) = (Arc::clone(&draining), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&asked);
    let web = Web::new(&client)
        .ready_when(move || if seen.load(Ordering::SeqCst) { Err("draining".into()) } else { Ok(()) })
        .ready_when(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
    assert_eq!((get(&web, "/readyz").await.0.as_u16(), asked.load(Ordering::SeqCst)), (200, 1));
    draining.store(true, Ordering::SeqCst);
    // The first that fails counts, and the storage is not asked for it.
    line.silence();
    let (status, body) = get(&web, "/readyz").await;
    assert_eq!((status.as_u16(), body), (503, json!({ "status": "unready", "reason": "draining" })));
    assert_eq!((get(&web, "/livez").await.0.as_u16(), asked.load(Ordering::SeqCst)), (200, 1));
}

#[tokio::test]
async fn the_backlog_is_counted_over_all_queues_or_one() {
    let client = Client::memory();
    let web = Web::new(&client).health_limit(2);
    let later = Call::new(Add { a: 1, b: 1 }).delay(Duration::from_secs(3_600)).queue("mail");
    later.enqueue(&client).await.unwrap();
    Call::new(Add { a: 1, b: 1 }).queue("mail").enqueue(&client).await.unwrap();
    added(&client).await;
    let (status, body) = get(&web, "/health/tasks").await;
    assert_eq!(
        (status.as_u16(), body),
        (200, json!({ "status": "healthy", "pending_tasks": 2, "scheduled_tasks": 1 }))
    );
    let (_, body) = get(&web, "/health/queue?queue=mail").await;
    assert_eq!(body, json!({ "status": "healthy", "pending": 1, "scheduled": 1 }));
    added(&client).await;
    let (status, body) = get(&web, "/health/tasks").await;
    let too_much = json!({
        "status": "unhealthy", "reason": "Queue backlog too large", "pending_tasks": 3, "scheduled_tasks": 1,
    });
    assert_eq!((status.as_u16(), body), (503, too_much));
    assert_eq!(get(&web, "/health/queue").await.0, 503);
    assert_eq!(get(&web, "/health/queue?queue=mail").await.0, 200);
    assert_eq!(code(&get(&web, "/health/queue?queue=%20").await), (400, "bad_request"));
    drain(&client).await;
    assert_eq!(get(&web, "/health/tasks").await.1["pending_tasks"], 1, "the worker serves another queue");
}

#[tokio::test]
async fn a_queue_that_nobody_knows_is_not_well() {
    let client = Client::memory();
    let web = Web::new(&client);
    for path in ["/health/tasks", "/health/queue"] {
        assert_eq!(get(&web, path).await.0, 200, "{path}: of all queues, none is missed");
    }
    let asked = ["/health/tasks?queue=default", "/health/queue?queue=default", "/queues/default"];
    for path in asked {
        let answer = get(&web, path).await;
        assert_eq!(code(&answer), (404, "unknown"), "{path}");
        assert_eq!(answer.1["error"]["message"], "no queue `default` was ever used, and no worker serves it", "{path}");
    }
    // A new deployment: a worker is there, and no job has come yet.
    let worker = work(&client);
    while client.workers().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    for path in asked {
        assert_eq!(get(&web, path).await.0, 200, "{path}");
    }
    worker.stop().await;
    // Somebody has said something of it.
    client.queue("held").pause().await.unwrap();
    assert_eq!(get(&web, "/health/queue?queue=held").await.0, 200);
    assert_eq!(get(&web, "/health/queue?queue=hell").await.0, 404);
}

#[tokio::test]
async fn what_runs_is_not_pending() {
    let client = Client::memory();
    let worker = work(&client);
    let id = Call::new(Hold {}).enqueue(&client).await.unwrap().id();
    until(&client, id, State::Running).await;
    let (_, body) = get(&Web::new(&client), "/health/tasks").await;
    assert_eq!(body["pending_tasks"], 0);
    client.cancel(id).await.unwrap();
    worker.stop().await;
}
