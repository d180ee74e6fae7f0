//! The application as a process.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::asking::{Answer, ask};

/// Longer than anything here takes on the slowest machine: a lease is 10 s, a drain at most 25 s.
const PATIENCE: Duration = Duration::from_secs(300);

const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A folder for the queue file.
pub(super) struct Place(TempDir);

impl Place {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The queue file in it.
    pub(super) fn url(&self) -> String {
        format!("sqlite://{}", self.path().join("jobs.db").display())
    }
}

/// A process; killed when the test is done with it, or fails.
pub(super) struct App {
    child: Child,
    said: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
}

/// What a process has written to its output and its log.
#[derive(Default)]
struct Lines {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl App {
    /// Starts it with these words, on this storage, at whatever port is free.
    pub(super) fn start(words: &[&str], url: &str) -> Self {
        Self::start_with(words, &[("QUEUE_URL", url)])
    }

    /// Starts it with these words and variables, and none of ours that mean something to it.
    pub(super) fn start_with(words: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_logging_to(Stdio::piped(), words, variables)
    }

    /// Starts it with a log that nobody reads any more.
    pub(super) fn start_unread(words: &[&str], url: &str) -> Self {
        let (reader, closed) = io::pipe().unwrap();
        drop(reader);
        Self::start_logging_to(closed.into(), words, &[("QUEUE_URL", url)])
    }

    fn start_logging_to(log: Stdio, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(crate::APP);
        command.env_clear().env("PORT", "0").env("QUEUE_HEALTH_ADDR", "127.0.0.1:0").args(words);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Lines::default());
        let mut readers = vec![said.follow(child.stdout.take().unwrap())];
        readers.extend(child.stderr.take().map(|log| said.follow(log)));
        Self { child, said, readers }
    }

    /// Waits for a line that holds this, and returns it.
    pub(super) fn says(&self, what: &str) -> String {
        let lines = self.said.lines.lock().unwrap();
        let none = |lines: &mut Vec<String>| !lines.iter().any(|line| line.contains(what));
        let (lines, _) = self.said.more.wait_timeout_while(lines, PATIENCE, none).unwrap();
        let line = lines.iter().find(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("it never said {what:?}:\n{}", lines.join("\n"))).clone()
    }

    /// Whether it has said this; true of nothing that may still come.
    pub(super) fn has_said(&self, what: &str) -> bool {
        self.said.lines.lock().unwrap().iter().any(|line| line.contains(what))
    }

    /// All of the log of one that has ended.
    pub(super) fn logged(&mut self) -> Vec<String> {
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        let lines = self.said.lines.lock().unwrap();
        lines.iter().filter(|line| !line.starts_with("listening on ")).cloned().collect()
    }

    /// Where it listens, once it does.
    pub(super) fn address(&self) -> SocketAddr {
        self.says("listening on http://").rsplit('/').next().unwrap().parse().unwrap()
    }

    /// Where the worker answers health, once it does.
    pub(super) fn health_address(&self) -> SocketAddr {
        self.says("health is answered").rsplit("address=").next().unwrap().parse().unwrap()
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        ask(self.address(), "GET", path, "text/plain", "").unwrap()
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Answer {
        ask(self.address(), "POST", path, "application/json", &body.to_string()).unwrap()
    }

    /// Waits until a task has ended: the answer to who asks for it.
    pub(super) fn ended(&self, id: &str) -> Value {
        let path = format!("/tasks/{id}");
        eventually(&format!("{path} is complete"), || Some(self.get(&path).json()).filter(|at| at["complete"] == true))
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.code().is_none(), "it ended before it was killed: {status}");
    }

    /// Waits until it ends by itself.
    pub(super) fn ends(&mut self) -> ExitStatus {
        eventually("the process ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // Both fail for a child that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.said.lines.lock().map(|lines| lines.join("\n")).unwrap_or_default();
            eprintln!("the process said:\n{lines}");
        }
    }
}

impl Lines {
    fn follow(self: &Arc<Self>, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let said = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                said.lines.lock().unwrap().push(line);
                said.more.notify_all();
            }
        })
    }
}

/// What there is to see, as soon as there is something.
pub(super) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looks = PATIENCE.as_millis() / BETWEEN_LOOKS.as_millis();
    for _ in 0..looks {
        if let Some(seen) = look() {
            return seen;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    panic!("never so: {what}")
}
