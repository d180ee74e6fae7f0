//! What each route answers, with a worker in the same process.

use serde_json::json;

use super::asking::ask;
use super::process::{App, Place, eventually};

#[test]
fn a_user_gets_an_email_and_a_payment_goes_through() {
    let place = Place::new();
    let app = App::start(&[], &place.url());

    let user = app.post("/users", &json!({ "email": "ada@example.com", "name": "Ada" }));
    assert_eq!(user.status, 202, "{user:?}");
    let (user_id, email) = (user.text("user_id"), user.text("email_task_id"));
    let ended = app.ended(&email);
    assert_eq!(
        ended,
        json!({ "task_id": email, "complete": true, "result": { "sent": true, "user_id": user_id } }),
        "no more and no less"
    );

    let payment = app.post("/payments", &json!({ "amount": 49.99 }));
    assert_eq!(payment.status, 202, "{payment:?}");
    let (payment_id, task) = (payment.text("payment_id"), payment.text("task_id"));
    assert_eq!(app.ended(&task)["result"], json!({ "status": "completed", "payment_id": payment_id }));

    let other = app.post("/users", &json!({ "email": "bob@example.com", "name": "Bob" }));
    assert_ne!(other.text("user_id"), user_id);
    assert_ne!(other.text("email_task_id"), email);
}

/// Priorities, counts and the state of a task that has not run, which only shows while no worker is there.
#[test]
fn what_waits_is_counted_and_large_payments_go_first() {
    let place = Place::new();
    let app = App::start(&["web"], &place.url());
    let health = app.get("/health/queue").json();
    assert_eq!((&health["pending"], &health["scheduled"]), (&json!(0), &json!(0)));

    let priority = |body, path: &str, id: &str| {
        let id = app.post(path, &body).text(id);
        app.get(&format!("/queue/jobs/{id}")).json()["priority"].clone()
    };
    assert_eq!(priority(json!({ "amount": 9_999.99 }), "/payments", "task_id"), 100);
    assert_eq!(priority(json!({ "amount": 10_000 }), "/payments", "task_id"), 200);
    assert_eq!(priority(json!({ "email": "a@b.c", "name": "A" }), "/users", "email_task_id"), 0);
    let waits = app.post("/reports", &json!({ "seconds": 0 })).text("task_id");
    let task = app.get(&format!("/tasks/{waits}"));
    assert_eq!((task.status, task.json()), (200, json!({ "task_id": waits, "complete": false, "result": null })));

    let health = app.get("/health/queue");
    assert_eq!((health.status, health.json()["pending"].clone()), (200, json!(4)));
}

#[test]
fn what_is_wrong_with_a_request_is_told_as_json() {
    let place = Place::new();
    let app = App::start(&["web"], &place.url());
    let refused = |method: &str, path: &str, kind: &str, body: &str, status: u16| {
        ask(app.address(), method, path, kind, body).unwrap().refusal(status)
    };
    const JSON: &str = "application/json";
    let unknown = "/tasks/01M83EXYMREKKVQH9KVH0Y2XWH";
    let table = [
        ("POST", "/users", JSON, "{", 400, "bad_request"),
        ("POST", "/users", JSON, "", 400, "bad_request"),
        ("POST", "/users", "text/plain", r#"{"email":"a@b.c","name":"A"}"#, 415, "bad_request"),
        ("POST", "/users", JSON, r#"{"email":"a@b.c"}"#, 422, "bad_request"),
        ("POST", "/users", JSON, r#"{"email":"nobody","name":"A"}"#, 422, "invalid"),
        ("POST", "/users", JSON, r#"{"email":"a@b.c","name":" "}"#, 422, "invalid"),
        ("POST", "/payments", JSON, r#"{"amount":"much"}"#, 422, "bad_request"),
        ("POST", "/payments", JSON, r#"{"amount":-1}"#, 422, "invalid"),
        ("POST", "/payments", JSON, r#"{"amount":0}"#, 422, "invalid"),
        ("POST", "/payments", JSON, r#"{"amount":1e999}"#, 400, "bad_request"),
        ("POST", "/reports", JSON, r#"{"seconds":-1}"#, 422, "bad_request"),
        ("POST", "/reports", JSON, r#"{"seconds":3601}"#, 422, "invalid"),
        ("GET", "/tasks/7", JSON, "", 422, "invalid"),
        ("GET", unknown, JSON, "", 404, "unknown"),
        ("GET", "/users", JSON, "", 405, "wrong_method"),
        ("DELETE", unknown, JSON, "", 405, "wrong_method"),
        ("GET", "/nothing", JSON, "", 404, "no_route"),
        ("GET", "/queue/nothing", JSON, "", 404, "no_route"),
    ];
    for (method, path, kind, body, status, code) in table {
        assert_eq!(refused(method, path, kind, body, status), code, "{method} {path} {body}");
    }
    // More than a job holds (1 MiB), and more than is read at all (2 MiB).
    for (size, code) in [(1_100_000, "too_large"), (2_200_000, "bad_request")] {
        let body = json!({ "email": format!("{}@b.c", "a".repeat(size)), "name": "A" }).to_string();
        assert_eq!(refused("POST", "/users", JSON, &body, 413), code, "{size}");
    }
    assert_eq!(app.get("/health/queue").json()["pending"], 0, "nothing of it was enqueued");
}

#[test]
fn the_queues_api_is_there_to_read_only() {
    let place = Place::new();
    let app = App::start(&[], &place.url());
    let ready = || Some(app.get("/readyz")).filter(|answer| answer.status == 200);
    assert_eq!(eventually("the worker is ready", ready).json(), json!({ "status": "ready" }));
    assert_eq!(app.get("/livez").json(), json!({ "status": "alive" }));
    assert_eq!(app.get("/queue/readyz").status, 200);
    assert_eq!(app.get("/queue/workers").json()["workers"].as_array().unwrap().len(), 1);

    let schedule = app.get("/queue/schedules").json()["schedules"][0].clone();
    assert_eq!(schedule["name"], "daily_cleanup", "{schedule}");
    assert!(schedule["next"].as_str().unwrap().ends_with("T06:00:00.000Z"), "{schedule}");
    let run = app.post("/queue/schedules/daily_cleanup/run", &json!({}));
    assert_eq!(run.refusal(403), "read_only");
    let job = app.post("/reports", &json!({ "seconds": 3_600 })).text("task_id");
    app.says("writing a report");
    assert_eq!(app.post(&format!("/queue/jobs/{job}/cancel"), &json!({})).refusal(403), "read_only");
}
