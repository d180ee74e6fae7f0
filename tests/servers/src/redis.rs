//! One Redis server.

use std::iter;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::patience::{PATIENCE, lock, look};
use crate::ports::free_port;
use crate::process::Process;
use crate::programs::{self, LOG, NOT_FOUND, SOCKET, ask, log_tail, missing};

#[cfg(test)]
mod tests;

/// How many ports to try: others take them between the choice and the server's start.
const PORTS: usize = 20;

/// A server on a port of 127.0.0.1 that was free, with its own folder; it ends when this is dropped.
///
/// Its commands by [`cli`](Self::cli) go over the Unix socket in its folder, so that they can never reach another
/// server. `DEBUG` is allowed to clients of this machine.
#[derive(Debug)]
pub struct Redis {
    // First, to end before the folder goes.
    process: Mutex<Process>,
    dir: TempDir,
    port: u16,
    socket: PathBuf,
    command: Vec<String>,
    password: Option<String>,
}

/// One server for the whole test process, for tests which keep to keys of their own.
///
/// # Panics
///
/// When it cannot be started: see [`Redis::start`].
#[must_use]
pub fn shared() -> &'static Redis {
    static SHARED: OnceLock<Redis> = OnceLock::new();
    // Told to save, so that nobody is warned that it does not; it never comes to it.
    SHARED.get_or_init(|| Redis::start_with(&["--save", "3600 100000000"]))
}

impl Redis {
    /// Starts a server which keeps nothing on disk, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When there is no `redis-server`, or it does not come to answer: with what it wrote to its log.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments, such as `["--appendonly", "yes", "--appendfsync", "always"]`,
    /// `["--maxmemory", "50mb"]` or `["--requirepass", "x"]`.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start), and when the server does not know an argument.
    #[must_use]
    pub fn start_with(args: &[&str]) -> Self {
        let mut server = Self::launch(iter::repeat_with(free_port), |dir, port| {
            plain(dir, port).into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect()
        });
        server.password = args.windows(2).rev().find(|pair| pair[0] == "--requirepass").map(|pair| pair[1].to_owned());
        server.wait_until_ready();
        server
    }

    /// Starts a server on the first of these ports which it gets, with the arguments for it, and waits until it
    /// listens.
    pub(crate) fn launch(ports: impl Iterator<Item = u16>, arguments: impl Fn(&Path, u16) -> Vec<String>) -> Self {
        let mut servers = ports.take(PORTS).filter_map(|port| Self::launch_on(port, &arguments));
        servers.next().unwrap_or_else(|| panic!("each of {PORTS} ports was taken when the server came to it"))
    }

    /// Nothing if the port is taken.
    fn launch_on(port: u16, arguments: impl Fn(&Path, u16) -> Vec<String>) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let command: Vec<String> = iter::once(programs::server()).chain(arguments(dir.path(), port)).collect();
        let process = Mutex::new(Process::start(dir.path(), &command));
        let socket = dir.path().join(SOCKET);
        let server = Self { process, dir, port, socket, command, password: None };
        // The socket comes after the port.
        match server.wait_for("a socket", || server.socket.exists()) {
            Ok(()) => Some(server),
            Err(trouble) if trouble.contains("Address already in use") => None,
            Err(trouble) => panic!("{trouble}"),
        }
    }

    /// The port on 127.0.0.1; the same for life.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:PORT`, with the password if it has one: `redis://:PASSWORD@127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        let login = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{login}127.0.0.1:{}", self.port)
    }

    /// The Unix socket on which it listens too.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The folder of its data and of its log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The server's process, of the last start.
    #[must_use]
    pub fn pid(&self) -> u32 {
        lock(&self.process).pid()
    }

    /// Whether its process lives, frozen or not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        lock(&self.process).ended().is_none()
    }

    /// Sends one command, `["SET", "key", "value"]`: what the server answers, as `redis-cli` prints it to a file
    /// (strings as they are, lists one element a line), without the space around.
    ///
    /// # Panics
    ///
    /// When the server answers with an error, or not at all.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> String {
        match self.try_cli(args) {
            Ok(answer) => answer,
            Err(error) => panic!("{args:?} to {}: {error}{}", self.name(), self.log_tail()),
        }
    }

    /// A field of `INFO`: `info("memory", "used_memory")`; nothing when the section has no such field.
    ///
    /// # Panics
    ///
    /// As [`cli`](Self::cli).
    #[must_use]
    #[track_caller]
    pub fn info(&self, section: &str, field: &str) -> Option<String> {
        let info = self.cli(&["INFO", section]);
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    }

    /// `kill -9`: what it had not written to disk is lost. Returns when it is gone.
    ///
    /// # Panics
    ///
    /// When it does not go.
    pub fn kill(&self) {
        lock(&self.process).signal(Signal::KILL);
        self.wait_until_gone();
    }

    /// Asks it to end as an operator would (`SIGTERM`): it saves first, if it was told to save. A frozen one thaws.
    /// Returns when it is gone.
    ///
    /// # Panics
    ///
    /// When it does not go.
    pub fn stop(&self) {
        lock(&self.process).signal(Signal::TERM);
        self.thaw();
        self.wait_until_gone();
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), with the same port, folder and arguments,
    /// and waits until it has loaded its data and answers.
    ///
    /// # Panics
    ///
    /// When it still runs, when somebody else has taken the port, or when it does not come to answer.
    pub fn start_again(&self) {
        assert!(!self.is_running(), "{} still runs: kill or stop it first", self.name());
        *lock(&self.process) = Process::start(self.dir(), &self.command);
        self.wait_until_ready();
    }

    /// Stops the process in its tracks (`SIGSTOP`): connections stay open, and nothing is answered. Returns when it
    /// stands still.
    pub fn freeze(&self) {
        lock(&self.process).signal(Signal::STOP);
        look(|| self.is_frozen().then_some(()));
    }

    /// Lets a frozen server go on (`SIGCONT`).
    pub fn thaw(&self) {
        lock(&self.process).signal(Signal::CONT);
    }

    /// Whether no thread of it runs, or that cannot be known: only Linux tells by file.
    fn is_frozen(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid())) else { return true };
        let mut stats = threads.flatten().flat_map(|thread| std::fs::read_to_string(thread.path().join("stat")));
        // `PID (NAME) STATE …`
        stats.all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
    }

    pub(crate) fn try_cli(&self, args: &[&str]) -> Result<String, String> {
        ask(self.dir(), self.password.as_deref(), args)
    }

    pub(crate) fn wait_until_ready(&self) {
        // While it loads its data it answers with an error.
        let ready = self.wait_for("an answer to PING", || self.try_cli(&["PING"]).is_ok_and(|said| said == "PONG"));
        ready.unwrap_or_else(|trouble| panic!("{trouble}"));
    }

    /// Waits for a sign of life; the error says what came instead.
    fn wait_for(&self, what: &str, sign: impl Fn() -> bool) -> Result<(), String> {
        let seen = look(|| {
            let ended = lock(&self.process).ended();
            ended.map(Err).or_else(|| sign().then_some(Ok(())))
        });
        match seen {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) if status.code() == Some(NOT_FOUND) => Err(missing(&self.command[0])),
            Some(Err(status)) => Err(format!("{} ended ({status}) before {what}{}", self.name(), self.log_tail())),
            None => Err(format!("{}: {PATIENCE:?} without {what}{}", self.name(), self.log_tail())),
        }
    }

    fn wait_until_gone(&self) {
        let gone = look(|| lock(&self.process).ended());
        assert!(gone.is_some(), "{} did not end in {PATIENCE:?}{}", self.name(), self.log_tail());
    }

    fn name(&self) -> String {
        format!("the server on port {} ({})", self.port, self.command.join(" "))
    }

    fn log_tail(&self) -> String {
        format!("\nthe end of its {LOG}:\n{}", log_tail(self.dir()))
    }
}

/// The arguments which say where a server lives.
pub(crate) fn place(dir: &Path, port: u16) -> Vec<String> {
    let (folder, socket) = (dir.display().to_string(), dir.join(SOCKET).display().to_string());
    let port = port.to_string();
    let place = ["--port", &port, "--bind", "127.0.0.1", "--dir", &folder, "--unixsocket", &socket];
    place.map(str::to_owned).to_vec()
}

/// The arguments of every server for data: nothing on disk, unless a later argument says otherwise.
pub(crate) fn plain(dir: &Path, port: u16) -> Vec<String> {
    let quiet = ["--save", "", "--appendonly", "no", "--enable-debug-command", "local"];
    place(dir, port).into_iter().chain(quiet.map(str::to_owned)).collect()
}
