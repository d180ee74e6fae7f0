//! One test's storage, its folder and its child processes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use queue::{Client, Job, JobId, JobQuery, Lookup, State};
use queue_servers::Redis;
use queue_storage::conformance::invariants;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{eventually, namespace};

/// Longer than any child needs for all it has to do, on the slowest machine.
const EXIT_PATIENCE: Duration = Duration::from_secs(300);

/// A storage that processes can share, and the folder of one test: the effect log, the gates, what its children print.
pub struct Stage {
    dir: TempDir,
    url: String,
}

/// A stage on a server of its own, which has on disk what it has answered, and so may be killed.
pub struct Durable {
    stage: Stage,
    pub server: Redis,
}

/// Runs each case on every storage that processes can share, as `on_every_storage!` does.
macro_rules! on_every_shared_storage {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case($crate::processes::stage::Stage::sqlite()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case($crate::processes::stage::Stage::redis()).await;
            })*
        }
    };
}
pub(crate) use on_every_shared_storage;

/// A line of the effect log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `begin`, `end`, or `drop`: ended before its end; of enqueuers, `asked` and `stored`.
    pub what: String,
    pub job: u64,
    /// The child that wrote it, by the name the test gave it.
    pub by: String,
    /// When: since 1970.
    pub at: Duration,
}

impl Stage {
    /// On a file of its own.
    pub fn sqlite() -> Self {
        Self::on(|dir| format!("sqlite://{}", dir.join("jobs.db").display()))
    }

    /// In a namespace of its own on the tests' server.
    pub fn redis() -> Self {
        Self::at(&queue_servers::shared().url())
    }

    /// In a namespace of its own on this server.
    pub fn at(server: &str) -> Self {
        Self::on(|_| format!("{server}?namespace={}", namespace()))
    }

    fn on(url: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("gates")).unwrap();
        Self { url: url(dir.path()), dir }
    }

    /// The URL of the storage.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The queue file, if the storage is one.
    pub fn file(&self) -> Option<&Path> {
        self.url.strip_prefix("sqlite://").map(Path::new)
    }

    /// What kind of storage it is.
    pub fn kind(&self) -> &str {
        self.url.split(':').next().unwrap_or_default()
    }

    pub async fn client(&self) -> Client {
        queue::connect(&self.url).await.unwrap()
    }

    /// Starts a worker.
    pub fn worker(&self, name: &str, flags: &str) -> Process {
        Process::start(self, "worker", name, flags)
    }

    /// Starts an enqueuer.
    pub fn enqueuer(&self, name: &str, flags: &str) -> Process {
        Process::start(self, "enqueue", name, flags)
    }

    /// Starts a worker's program, with these words and these variables; where the jobs are it reads from one too.
    pub fn program(&self, name: &str, words: &str, variables: &[(&str, &str)]) -> Process {
        Process::spawn(self, name, |child| self.tell(child, name, words).envs(variables.iter().copied()))
    }

    /// The same where what it says goes here.
    pub fn program_into(&self, name: &str, words: &str, out: impl Fn() -> Stdio) -> Process {
        Process::spawn(self, name, |child| self.tell(child, name, words).stdout(out()).stderr(out()))
    }

    fn tell<'a>(&self, child: &'a mut Command, name: &str, words: &str) -> &'a mut Command {
        let child = child.env("QUEUE_TEST_DIR", self.dir()).env("QUEUE_TEST_NAME", name).env("QUEUE_URL", &self.url);
        child.arg("program").args(words.split_whitespace())
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Lets a job end, or all jobs of a process.
    pub fn open_gate(&self, of: impl Display + Copy) {
        File::create(self.dir.path().join("gates").join(of.to_string())).unwrap();
    }

    /// The effect log, in the order in which it was written.
    pub fn log(&self) -> Vec<Line> {
        let text = fs::read_to_string(self.dir.path().join("effects.log")).unwrap_or_default();
        text.lines().map(Line::parse).collect()
    }

    /// Waits for a line.
    pub async fn logged(&self, what: &str, job: u64, by: &str) {
        let seen = async || self.who(what, job).iter().any(|who| who == by).then_some(());
        eventually(&format!("{what} of job {job} by {by}"), seen).await;
    }

    /// Who wrote such lines about a job, in order.
    pub fn who(&self, what: &str, job: u64) -> Vec<String> {
        let log = self.log().into_iter();
        log.filter(|line| line.what == what && line.job == job).map(|line| line.by).collect()
    }
}

impl Durable {
    pub fn new() -> Self {
        let server = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always", "--requirepass", "hush"]);
        Self { stage: Stage::at(&server.url()), server }
    }
}

impl Deref for Durable {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl Line {
    fn parse(line: &str) -> Self {
        let [what, job, by, at] = line.trim_end().split(' ').collect::<Vec<_>>()[..] else {
            panic!("torn line: {line:?}")
        };
        let at = Duration::from_micros(at.parse().unwrap());
        Self { what: what.to_owned(), job: job.parse().unwrap(), by: by.to_owned(), at }
    }
}

/// A child process; killed when the test is done with it, or fails.
pub struct Process {
    pub name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    fn start(stage: &Stage, mode: &str, name: &str, flags: &str) -> Self {
        Self::spawn(stage, name, |child| {
            let child = child.arg(mode).arg("--dir").arg(stage.dir()).args(["--name", name, "--url", &stage.url]);
            child.args(flags.split_whitespace())
        })
    }

    fn spawn(stage: &Stage, name: &str, told: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let (out, err) = (stage.dir().join(format!("{name}.out")), stage.dir().join(format!("{name}.err")));
        let mut child = Command::new(env!("CARGO_BIN_EXE_queue-test-child"));
        let told_to = |path| Stdio::from(File::create(path).unwrap());
        child.stdin(Stdio::null()).stdout(told_to(&out)).stderr(told_to(&err));
        let child = told(&mut child).spawn().unwrap();
        Self { name: name.to_owned(), child, out, err }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone; it must have been alive. What it had printed.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{} ended before it was killed: {status}", self.name);
        self.stdout()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it ends by itself.
    pub async fn ends(&mut self) -> ExitStatus {
        let ending = async {
            loop {
                match self.ended() {
                    Some(status) => return status,
                    None => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        let status = tokio::time::timeout(EXIT_PATIENCE, ending).await;
        status.unwrap_or_else(|_| panic!("{} never ended", self.name))
    }

    /// Waits until it ends well: exit code 0, and not a word of trouble.
    pub async fn ends_well(&mut self) {
        let status = self.ends().await;
        assert!(status.success(), "{}: {status}: {}", self.name, self.stderr());
        assert_eq!(self.stderr(), "", "{} had something to say", self.name);
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail for a child that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("stderr of {}:\n{}", self.name, self.stderr());
        }
    }
}

/// The job as it is stored now.
pub async fn stored(client: &Client, id: JobId) -> Job {
    match client.job(id).await.unwrap() {
        Lookup::Found(job) => *job,
        other => panic!("{id} is not stored: {other:?}"),
    }
}

/// What is true of a storage at every moment: nothing that was acknowledged is missing, and counts agree with the jobs.
pub async fn whole(client: &Client) {
    invariants(&**client.storage()).await;
}

/// Every stored job in this state, or every stored job.
pub async fn all(client: &Client, state: Option<State>) -> BTreeMap<JobId, Job> {
    let mut query = JobQuery::default();
    query.state = state;
    let mut jobs = BTreeMap::new();
    loop {
        let page = client.jobs(&query).await.unwrap();
        jobs.extend(page.jobs.into_iter().map(|job| (job.id, job)));
        query.after = page.next;
        if query.after.is_none() {
            return jobs;
        }
    }
}

/// A seed for random numbers, shown so that a failure can be tried again: `QUEUE_TEST_SEED=…`.
pub fn seeded(test: &str) -> fastrand::Rng {
    let given = std::env::var("QUEUE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: QUEUE_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
