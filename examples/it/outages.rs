//! The storage goes away under a running application, and comes back.

use std::time::Duration;

use queue_servers::Redis;
use serde_json::json;

use super::asking::ask_within;
use super::process::{App, eventually};

/// The applications give an enqueue 2 s.
const DEADLINE: Duration = Duration::from_secs(5);

#[test]
fn without_its_storage_it_says_so_in_time_and_goes_on_when_it_is_back() {
    let server = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    // As in production: no URL, but the parts of one.
    let port = server.port().to_string();
    let variables = [("ENVIRONMENT", "production"), ("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &port)];
    let app = App::start_with(&[], &variables);
    let ready = || Some(app.get("/readyz").status).filter(|status| *status == 200);
    eventually("it is ready", ready);
    let before = app.post("/users", &json!({ "email": "a@b.c", "name": "A" })).text("email_task_id");
    app.ended(&before);

    server.stop();
    down(&app, &before);
    server.start_again();
    eventually("it is ready again", ready);

    let after = app.post("/payments", &json!({ "amount": 1 })).text("task_id");
    assert_eq!(app.ended(&after)["result"]["status"], "completed");
    assert_eq!(app.ended(&before)["result"]["sent"], true, "what was stored is there still");
}

/// A server that takes connections and never answers is the worse outage: only deadlines tell.
#[test]
fn a_storage_that_hangs_is_told_in_time() {
    let server = Redis::start();
    let app = App::start(&[], &server.url());
    let ready = || Some(app.get("/readyz").status).filter(|status| *status == 200);
    eventually("it is ready", ready);
    let before = app.post("/reports", &json!({ "seconds": 0 })).text("task_id");
    app.ended(&before);

    server.freeze();
    down(&app, &before);
    server.thaw();
    eventually("it is ready again", ready);
    let after = app.post("/reports", &json!({ "seconds": 0 })).text("task_id");
    app.ended(&after);
}

/// What is answered while the storage is away.
fn down(app: &App, known: &str) {
    assert_eq!(app.get("/livez").status, 200, "no reason to start this process again");
    let unready = app.get("/readyz");
    assert_eq!((unready.status, unready.text("status")), (503, "unready".to_owned()));
    assert!(unready.text("reason").starts_with("the storage does not answer"), "{unready:?}");
    assert_eq!(app.get("/health/queue").status, 503);

    let asked = [
        ("POST", "/users".to_owned(), json!({ "email": "a@b.c", "name": "A" }).to_string()),
        ("POST", "/payments".to_owned(), json!({ "amount": 1 }).to_string()),
        ("POST", "/reports".to_owned(), json!({ "seconds": 0 }).to_string()),
        ("GET", format!("/tasks/{known}"), String::new()),
    ];
    for (method, path, body) in asked {
        let answer = ask_within(DEADLINE, app.address(), method, &path, "application/json", &body).unwrap();
        assert_eq!(answer.refusal(503), "unavailable", "{method} {path}");
        assert!(answer.head.contains("\r\nretry-after: 1"), "{answer:?}");
        assert!(!answer.body.contains("127.0.0.1"), "where the storage is, is nobody's business: {answer:?}");
    }
}
