//! A server process on a leash: it ends when the process which holds the other end does, however that ends.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::programs::LOG;

/// Starts a server, says its pid, and ends with it and with its exit code.
///
/// Arguments: the server's folder, the name of its log there, the server's command line. Standard input is the leash:
/// a pipe which nobody writes to. Its end of file means that the holder is gone or done; the watcher then kills the
/// server, which works on a frozen one too, and the guard removes the folder, since a static is never dropped. A
/// watcher that the guard had to end instead says by its status that the leash was still held: the folder stays, for
/// the next start.
///
/// When the holder of a frozen server dies, a process group with a stopped process in it has lost its parent, and the
/// system sends SIGHUP to them all: the guard and the watcher must not mind.
const GUARD: &str = r#"
trap '' HUP
dir=$1 log=$1/$2; shift 2
exec 3<&0 </dev/null
"$@" 3<&- >>"$log" 2>&1 &
server=$!
(
    read -r _ <&3
    trap '' TERM
    kill -KILL "$server"
    exit 0
) >/dev/null 2>&1 &
watcher=$!
exec 3<&-
echo "$server"
exec >/dev/null
wait "$server"
status=$?
kill "$watcher"
wait "$watcher" && rm -rf "$dir"
exit "$status"
"#;

/// A server process and its guard.
#[derive(Debug)]
pub(crate) struct Process {
    guard: Child,
    leash: Option<ChildStdin>,
    pid: Pid,
}

impl Process {
    /// Starts a command in a folder, where it leaves its log.
    pub(crate) fn start(dir: &Path, command: &[String]) -> Self {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(dir)
            .arg(LOG)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A signal to the tests' process group, such as that of Ctrl-C, must not end the guard before its server.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `sh`, which guards a server: {error}"));
        let mut pid = String::new();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) else {
            panic!("the guard of {command:?} did not start it: {:?}", guard.wait());
        };
        // Taken out, since to wait for a child is to close its standard input.
        let leash = guard.stdin.take();
        Self { guard, leash, pid }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal, unless it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // Fails for a process which ends just now.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// How it ended, if it has: its exit code, or 128 and the signal.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.guard.try_wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.leash.take());
        let _ = self.guard.wait();
    }
}
