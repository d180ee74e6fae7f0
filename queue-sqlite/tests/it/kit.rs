//! Short words for these tests, and children: this same test program, started again to play a part.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use queue_sqlite::rusqlite::Connection;
use queue_sqlite::{SqliteOptions, SqliteStorage};
use queue_storage::model::{CallerId, Claimed, JobId, NewJob, Settled, Settlement, Shard, Timestamp, WorkerId};
use queue_storage::storage::{Claim, Enqueue, EnqueueCall, Exchange, Exchanged, LeaseTerms, WorkerRecord};

/// Longer than anything here takes on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn mail() -> Shard {
    Shard::of("mail".parse().unwrap())
}

pub(crate) fn job() -> NewJob {
    NewJob::new(JobId::new(&mail()), "t".parse().unwrap(), Bytes::from_static(b"\x01\x00\x80"))
}

pub(crate) fn jobs(count: usize) -> Vec<NewJob> {
    (0..count).map(|_| job()).collect()
}

/// A client that numbers its calls.
pub(crate) struct Caller {
    id: CallerId,
    number: u64,
}

impl Caller {
    pub(crate) fn new() -> Self {
        Self { id: CallerId::generate(), number: 0 }
    }

    pub(crate) fn call(&mut self, jobs: Vec<NewJob>) -> EnqueueCall {
        self.number += 1;
        EnqueueCall { caller: self.id, shard: mail(), number: self.number, jobs }
    }

    /// Takes jobs in and gives their ids.
    pub(crate) async fn enqueue(&mut self, storage: &SqliteStorage, jobs: Vec<NewJob>) -> Vec<JobId> {
        let ids = jobs.iter().map(|job| job.id).collect();
        storage.enqueue(self.call(jobs)).await.unwrap();
        ids
    }
}

/// A worker that numbers its exchanges and completes all it gets.
pub(crate) struct Hand {
    pub(crate) id: WorkerId,
    number: u64,
    pub(crate) settlements: Vec<Settled>,
}

impl Hand {
    pub(crate) async fn new(storage: &SqliteStorage) -> Self {
        let id = WorkerId::generate();
        storage.register(record(id)).await.unwrap();
        Self { id, number: 0, settlements: Vec::new() }
    }

    pub(crate) fn call(&mut self, want: u32) -> Exchange {
        self.number += 1;
        let settlements = std::mem::take(&mut self.settlements);
        Exchange { worker: self.id, shard: mail(), number: self.number, settlements, want, suspects: 1 }
    }

    /// Settles what it holds as completed and claims anew.
    pub(crate) async fn exchange(&mut self, storage: &SqliteStorage, want: u32) -> Exchanged {
        let answer = storage.exchange(self.call(want)).await.unwrap();
        self.settlements = answer.claimed.iter().map(completed).collect();
        answer
    }
}

pub(crate) fn completed(claimed: &Claimed) -> Settled {
    let settlement = Settlement::Complete { result: None, keep: Duration::from_secs(3_600) };
    Settled { job: claimed.job.id, fence: claimed.fence, attempts: claimed.job.attempts + 1, settlement }
}

pub(crate) fn record(id: WorkerId) -> WorkerRecord {
    WorkerRecord {
        id,
        host: "here".into(),
        version: None,
        shards: vec![mail()],
        tasks: ["t".parse().unwrap()].into(),
        understands: 1,
        lease: LeaseTerms { crash_limit: None, ..LeaseTerms::default() },
        concurrency: 64,
        started_at: Timestamp::EPOCH,
        seen_at: Timestamp::EPOCH,
    }
}

/// What a file says of itself when SQLite checks every page and index.
pub(crate) fn integrity(path: &Path) -> String {
    let conn = Connection::open(path).unwrap();
    conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

/// A runtime for a part that is played in a child.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

const PART: &str = "QUEUE_SQLITE_PART";
const FILE: &str = "QUEUE_SQLITE_FILE";

/// This program again, to play `part` on the file at `path`; what it says comes through a pipe.
pub(crate) fn child(program: &Path, part: &str, path: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["kit::plays_its_part", "--exact", "--nocapture"]);
    command.env(PART, part).env(FILE, path).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

pub(crate) fn this_program() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}

/// Says a line to the parent.
pub(crate) fn say(line: &str) {
    use std::io::Write;
    // One write, and out at once: a line that was said is said whatever happens next.
    let line = format!("\n|{line}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Everything a child said until it ended; a line cut short by its death is left out.
pub(crate) fn heard(child: &mut Child) -> Vec<String> {
    let mut said = Vec::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while out.read_line(&mut line).unwrap() > 0 {
        if let Some(text) = line.strip_suffix('\n').and_then(|line| line.strip_prefix('|')) {
            said.push(text.to_owned());
        }
        line.clear();
    }
    child.wait().unwrap();
    said
}

/// Not a test in itself: where a child begins. Without a part it has nothing to do.
#[test]
fn plays_its_part() {
    let (Ok(part), Some(path)) = (std::env::var(PART), std::env::var_os(FILE)) else { return };
    let path = Path::new(&path);
    match part.as_str() {
        "open" => say(&match block_on(SqliteOptions::new(path).open()) {
            Ok(_) => "opened".into(),
            Err(error) => error.to_string(),
        }),
        "work until killed" => block_on(crate::kill::work(path)),
        "enqueue" => block_on(crate::processes::enqueue(path)),
        "run" => block_on(crate::processes::run(path)),
        other => panic!("no part `{other}`"),
    }
}
