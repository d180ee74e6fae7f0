//! Signals and deaths: what becomes of the job that runs, and of the process.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::asking::ask;
use super::process::{App, Place, eventually};

/// The exit codes of the program.
const AT_ONCE: i32 = 3;

#[test]
fn sigterm_lets_the_running_job_end() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let mut app = App::start(&[], &place.url());
        let job = app.post("/reports", &json!({ "seconds": 3 })).text("task_id");
        app.says("writing a report");
        app.signal(signal);
        app.says("asked to stop");
        assert!(!app.has_said("a report is written"), "the report was written before the signal came");
        app.says("a report is written");
        assert_eq!(app.ends().code(), Some(0));

        let looker = App::start(&["web"], &place.url());
        assert_eq!(looker.ended(&job)["result"], "a report of 3 s");
        assert_eq!(looker.get(&format!("/queue/jobs/{job}")).json()["attempts"], 1);
    }
}

#[test]
fn asked_twice_it_ends_at_once() {
    let place = Place::new();
    let mut app = App::start(&[], &place.url());
    app.post("/reports", &json!({ "seconds": 3_600 }));
    app.says("writing a report");
    app.signal(Signal::TERM);
    app.says("asked to stop");
    app.signal(Signal::TERM);
    assert_eq!(app.ends().code(), Some(AT_ONCE));
}

#[test]
fn a_stopping_server_takes_no_more_requests() {
    let place = Place::new();
    let mut app = App::start(&["web"], &place.url());
    let address = app.address();
    app.signal(Signal::TERM);
    assert_eq!(app.ends().code(), Some(0));
    assert!(ask(address, "GET", "/livez", "text/plain", "").is_err());
}

#[test]
fn a_job_outlives_the_death_of_its_process() {
    let place = Place::new();
    let app = App::start(&[], &place.url());
    let job = app.post("/reports", &json!({ "seconds": 5 })).text("task_id");
    let queued: Vec<_> = (0..20).map(|_| app.post("/payments", &json!({ "amount": 1 })).text("task_id")).collect();
    app.says("writing a report");
    app.kill();

    let app = App::start(&[], &place.url());
    for payment in queued {
        assert_eq!(app.ended(&payment)["result"]["status"], "completed");
    }
    assert_eq!(app.ended(&job)["result"], "a report of 5 s");
    let job = app.get(&format!("/queue/jobs/{job}")).json();
    assert_eq!(
        (&job["attempts"], &job["crashes"]),
        (&json!(1), &json!(1)),
        "the first run died with its process: {job}"
    );
}

#[test]
fn web_and_worker_are_two_processes_on_one_file() {
    let place = Place::new();
    let web = App::start(&["web"], &place.url());
    let job = web.post("/reports", &json!({ "seconds": 3 })).text("task_id");

    let mut worker = App::start(&["worker", "--workers", "4"], &place.url());
    worker.says("writing a report");
    let health = worker.health_address();
    let asked = |path: &str| ask(health, "GET", path, "text/plain", "").unwrap();
    assert_eq!((asked("/livez").status, asked("/readyz").status), (200, 200));
    worker.signal(Signal::TERM);
    worker.says("asked to stop");
    assert!(!worker.has_said("a report is written"), "the report was written before the signal came");
    assert_eq!(worker.ends().code(), Some(0));
    assert_eq!(web.ended(&job)["result"], "a report of 3 s");

    // The web server goes on, and what it enqueues waits for the next worker.
    let job = web.post("/reports", &json!({ "seconds": 0 })).text("task_id");
    assert_eq!(web.get("/readyz").status, 200);
    let _worker = App::start(&["worker"], &place.url());
    assert_eq!(web.ended(&job)["result"], "a report of 0 s");
}

#[test]
fn what_it_is_told_wrong_is_said() {
    let place = Place::new();
    let url = place.url();
    let table = [
        (&["serve"][..], &[("QUEUE_URL", &url[..])][..], 2, "usage: "),
        (&["web"], &[("QUEUE_URL", &url), ("PORT", "http")], 1, "PORT is `http`"),
        (
            &["web"],
            &[("QUEUE_URL", &url), ("HOST", "no host")],
            1,
            "can't listen at no host:0, which HOST and PORT say: ",
        ),
        (&["web"], &[("QUEUE_URL", &url), ("QUEUE_LOG_FORMAT", "xml")], 1, "the variable QUEUE_LOG_FORMAT is `xml`"),
        (&[], &[("ENVIRONMENT", "production")], 1, "set REDIS_HOST"),
        (&["worker", "--workers", "0"], &[("QUEUE_URL", &url)], 2, "at least 1"),
        (&["worker"], &[("ENVIRONMENT", "production")], 2, "set REDIS_HOST"),
    ];
    for (words, variables, code, said) in table {
        let mut app = App::start_with(words, variables);
        assert_eq!(app.ends().code(), Some(code), "{words:?} {variables:?}");
        app.says(said);
    }
}

/// Lines for people without colours where no terminal is, or objects for programs: of each part of the application.
#[test]
fn the_log_is_as_the_variables_say() {
    // What each says once it hears signals.
    for (words, hears) in [(&[][..], "listening on"), (&["web"], "listening on"), (&["worker"], "health is answered")] {
        let place = Place::new();
        let url = place.url();
        let told = |variables: &[(&str, &str)]| {
            let mut app = App::start_with(words, &[&[("QUEUE_URL", &*url)], variables].concat());
            app.says(hears);
            app.signal(Signal::TERM);
            assert_eq!(app.ends().code(), Some(0), "{words:?} {variables:?}");
            app.logged()
        };
        let text = told(&[]);
        assert!(text.iter().any(|line| line.contains(" INFO ")) && !text.concat().contains('\x1b'), "{text:?}");
        let json = told(&[("QUEUE_LOG_FORMAT", "json")]);
        let lines: Vec<Value> = json.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert!(lines.iter().any(|line| line["level"] == "INFO"), "{json:?}");
    }
}

/// Whoever read the log is gone: jobs run, requests are answered, and signals are heard all the same.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let place = Place::new();
    let mut app = App::start_unread(&[], &place.url());
    for _ in 0..2 {
        let job = app.post("/reports", &json!({ "seconds": 0 })).text("task_id");
        assert_eq!(app.ended(&job)["result"], "a report of 0 s");
    }
    app.signal(Signal::TERM);
    assert_eq!(app.ends().code(), Some(0));
}

/// A port that is taken is told, and nothing is left running: the worker does not go on alone.
#[test]
fn a_port_that_is_taken_ends_it() {
    let place = Place::new();
    let first = App::start(&["web"], &place.url());
    let port = first.address().port().to_string();
    let mut second = App::start_with(&[], &[("QUEUE_URL", &place.url()), ("PORT", &port)]);
    assert_eq!(second.ends().code(), Some(1));
    second.says(&format!("error: can't listen at 127.0.0.1:{port}, which HOST and PORT say: Address already in use"));
    eventually("the first goes on", || (first.get("/livez").status == 200).then_some(()));
}
