//! The programs: the server's, and the one which talks to it.

use std::env;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::patience::PATIENCE;

/// The name of a server's log in its folder.
pub(crate) const LOG: &str = "server.log";

/// The name of a server's Unix socket in its folder.
pub(crate) const SOCKET: &str = "server.sock";

/// What a shell says of a program which is not there.
pub(crate) const NOT_FOUND: i32 = 127;

pub(crate) fn server() -> String {
    env::var("QUEUE_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

fn client() -> String {
    env::var("QUEUE_REDIS_CLI").unwrap_or_else(|_| "redis-cli".to_owned())
}

/// What to do about a program which is not there.
pub(crate) fn missing(program: &str) -> String {
    format!(
        "`{program}` is missing. Install redis-server (Debian: apt-get install redis-server), or run scripts/test, \
         which does. QUEUE_REDIS_SERVER and QUEUE_REDIS_CLI name other programs."
    )
}

/// The end of a server's log.
pub(crate) fn log_tail(dir: &Path) -> String {
    let log = std::fs::read(dir.join(LOG)).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Sends one command to the server of a folder: what it answers, or what went wrong.
///
/// By the Unix socket, which no other server can have: a port may have changed hands.
pub(crate) fn ask(dir: &Path, password: Option<&str>, command: &[&str]) -> Result<String, String> {
    let mut cli = Command::new(client());
    // Else an error is an answer like others.
    cli.arg("-e").arg("-s").arg(dir.join(SOCKET)).args(command);
    match password {
        Some(password) => cli.env("REDISCLI_AUTH", password),
        None => cli.env_remove("REDISCLI_AUTH"),
    };
    let output = run(cli)?;
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => Ok(said.trim().to_owned()),
        false => Err(format!("{}{}", said.trim(), error.trim())),
    }
}

/// Runs a program to its end, or kills it: a frozen server never answers.
fn run(mut command: Command) -> Result<Output, String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!("{}", missing(&client())),
        _ => panic!("cannot start {command:?}: {error}"),
    });
    let pid = Pid::from_child(&child);
    let (tell, told) = mpsc::channel();
    let waiter = thread::spawn(move || tell.send(child.wait_with_output().unwrap()).unwrap_or_default());
    let output = told.recv_timeout(PATIENCE).map_err(|_| {
        let _ = kill_process(pid, Signal::KILL);
        format!("no answer in {PATIENCE:?}")
    });
    let _ = waiter.join();
    output
}
