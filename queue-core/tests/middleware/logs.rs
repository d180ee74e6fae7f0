//! What the log says of runs, for programs.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use queue_core::{Backoff, Call, Client, Redact, TaskError, Verdict, Worker, WorkerBuilder, tasks};
use serde_json::Value;

use super::{PATIENCE, Say};

#[derive(Clone, Default)]
struct Pages(Arc<Mutex<Vec<u8>>>);

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs one call on this thread until it has ended, and returns the lines that were logged of it.
fn log_of(call: Call<Say>, with: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> Vec<Value> {
    let pages = Pages::default();
    let writer = pages.clone();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    // While there is but one subscriber, whichever thread comes by a line first decides for all whether it is logged; of
    // two each is asked.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = Client::memory();
            let builder = Worker::builder(&client).tasks(tasks![Say]).queue("talk");
            let job = call.queue("talk").enqueue(&client).await.unwrap();
            let ended = async { drop(job.wait(PATIENCE).await) };
            with(builder).build().unwrap().run_until(ended).await.unwrap();
        });
    });
    let text = String::from_utf8(pages.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    lines.filter(|line| line["target"] == "queue::job").collect()
}

fn events(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["fields"]["event"].as_str().unwrap()).collect()
}

#[test]
fn a_run_that_succeeds() {
    let call = Say::new("hm").queue("talk");
    let id = call.id().to_string();
    let lines = log_of(call, |worker| worker);
    assert_eq!(events(&lines), ["task_started", "task_completed"]);
    for line in &lines {
        assert_eq!(line["level"], "INFO");
        let span = serde_json::json!({"name": "job", "id": id, "task": "say", "queue": "talk", "attempt": 1});
        assert_eq!(line["span"], span, "and nothing else");
    }
    assert_eq!(lines[0]["fields"].get("args"), None, "arguments are logged only if that is asked for");
    let duration = lines[1]["fields"]["duration_seconds"].as_f64().unwrap();
    assert!((0.0..30.0).contains(&duration));
}

#[test]
fn failures_tell_their_type_and_attempt() {
    let retried = Say::new("fail").retries(1).backoff(Backoff::fixed(Duration::from_millis(1)));
    let lines = log_of(retried, |worker| worker);
    assert_eq!(events(&lines), ["task_started", "task_failed", "task_started", "task_dead"]);
    let failed = [&lines[1], &lines[3]];
    for (attempt, line) in (1..).zip(&failed) {
        assert_eq!(
            (&line["fields"]["error"], &line["fields"]["error_type"]),
            (&"no".into(), &"std::io::error::Error".into())
        );
        assert!(line["fields"]["duration_seconds"].is_f64());
        assert_eq!(line["span"]["attempt"], attempt);
    }
    assert_eq!((&failed[0]["level"], &failed[1]["level"]), (&"WARN".into(), &"ERROR".into()));
    let retry_in = failed[0]["fields"]["retry_in_seconds"].as_f64().unwrap();
    assert!(0.0 < retry_in && retry_in <= 0.001, "a delay of 1 ms, with jitter: {retry_in}");
    assert_eq!(failed[1]["fields"].get("retry_in_seconds"), None);
    assert!(failed[1]["fields"]["reason"].is_string());
    for (call, error_type) in
        [(Say::new("panic"), "panic"), (Say::new("hang").timeout(Duration::from_millis(5)), "timeout")]
    {
        assert_eq!(log_of(call, |worker| worker)[1]["fields"]["error_type"], error_type);
    }
}

#[test]
fn other_ends_have_names_of_their_own() {
    let off = |worker: WorkerBuilder| worker.before_run(|_| async { Err(TaskError::cancel("off")) });
    assert_eq!(events(&log_of(Say::new("hm"), off)), ["task_started", "task_cancelled"]);
    let first = std::sync::atomic::AtomicBool::new(true);
    let lines = log_of(Say::new("hm"), move |worker| {
        worker.before_run(move |_| {
            let again = first.swap(false, std::sync::atomic::Ordering::SeqCst);
            std::future::ready(if again { Err(TaskError::snooze(Duration::from_millis(1))) } else { Ok(()) })
        })
    });
    assert_eq!(events(&lines), ["task_started", "task_snoozed", "task_started", "task_completed"]);
    assert_eq!(lines[1]["fields"]["again_in_seconds"], 0.001);
}

/// A delay is a number, and a moment is one that programs read.
#[test]
fn a_retry_at_a_moment_tells_the_moment() {
    let at_a_moment = |_: &std::io::Error| Verdict::retry_at(UNIX_EPOCH + Duration::from_secs(1));
    let lines = log_of(Say::new("fail").retries(1), |worker| worker.classify(at_a_moment));
    let fields = &lines[1]["fields"];
    assert_eq!((&fields["event"], &fields["retry_at"]), (&"task_failed".into(), &"1970-01-01T00:00:01.000Z".into()));
    assert_eq!(fields.get("retry_in_seconds"), None);
}

#[test]
fn arguments_are_logged_as_asked() {
    let call = || Call::new(Say { word: "hm".into(), password: Some("secret".into()) });
    let lines = log_of(call(), |worker| worker.log_arguments(Redact::keys(["PassWord"])));
    let args = lines[0]["fields"]["args"].as_str().unwrap();
    let args: Value = serde_json::from_str(args).unwrap();
    assert_eq!(args, serde_json::json!({"word": "hm", "password": "[redacted]"}));
    let lines = log_of(call(), |worker| worker.log_arguments(Redact::nothing()));
    assert_eq!(lines[0]["fields"]["args"], r#"{"password":"secret","word":"hm"}"#);
}
