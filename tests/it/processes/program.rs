//! A worker as a program: its words, its signals, its log, and whom it tells how it does.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use queue::State;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::stage::{Process, Stage, on_every_shared_storage, stored};
use super::tasks::{cling, hold};
use crate::support::{PATIENCE, eventually};

on_every_shared_storage!(
    a_signal_drains,
    a_second_signal_gives_back_at_once,
    a_check_says_what_would_run,
    the_command_line_overrides_the_code,
);

/// Asked to stop, by either signal, it lets its job end however long that takes, and claims no other.
async fn a_signal_drains(stage: Stage) {
    let client = stage.client().await;
    for (job, signal) in [(1, Signal::TERM), (2, Signal::INT)] {
        let name = format!("drains-{job}");
        let mut program = stage.program(&name, "--workers 1", &[]);
        let held = hold::new(job).enqueue(&client).await.unwrap();
        stage.logged("begin", job, &name).await;
        let next = hold::new(job + 10).enqueue(&client).await.unwrap();
        program.signal(signal);
        program.says("worker stops: claiming no more").await;
        stage.open_gate(job);
        assert_eq!(program.ends().await.code(), Some(0), "{}", program.stderr());
        assert_eq!(stored(&client, held.id()).await.state, State::Completed);
        assert_eq!(stored(&client, next.id()).await.state, State::Ready, "it claimed no more");
        next.cancel().await.unwrap();
    }
}

/// Asked again it stops though its grace has hardly begun; what ran is given back, at no cost, and runs elsewhere.
async fn a_second_signal_gives_back_at_once(stage: Stage) {
    let client = stage.client().await;
    let mut program = stage.program("hasty", "", &[]);
    let job = hold::new(1).enqueue(&client).await.unwrap();
    stage.logged("begin", 1, "hasty").await;
    program.signal(Signal::TERM);
    program.says("worker stops: claiming no more").await;
    program.signal(Signal::INT);
    assert_eq!(program.ends().await.code(), Some(3), "{}", program.stderr());
    assert_eq!(stage.who("drop", 1), ["hasty"]);
    let given_back = stored(&client, job.id()).await;
    assert_eq!((given_back.state, given_back.attempts, given_back.crashes), (State::Ready, 0, 0));
    assert!(client.workers().await.unwrap().is_empty(), "it said goodbye");

    stage.open_gate("next");
    let mut next = stage.program("next", "", &[]);
    assert_eq!(job.wait(PATIENCE).await.unwrap(), "next");
    next.signal(Signal::TERM);
    assert_eq!(next.ends().await.code(), Some(0));
}

/// What it would run is said, and nothing runs.
async fn a_check_says_what_would_run(stage: Stage) {
    let client = stage.client().await;
    let job = hold::new(1).enqueue(&client).await.unwrap();
    let mut program = stage.program("check", "--check -w 3 --queues mail=2,default=1", &[]);
    assert_eq!(program.ends().await.code(), Some(0), "{}", program.stderr());
    let said = program.stdout();
    for line in [
        &format!("storage      {}", client.location()),
        "queues       mail (weight 2), default (weight 1)",
        "concurrency  3",
        "  task hold (queue default, priority 0, 0 retries)",
        "  schedule hourly (tick in queue default, ",
        "ok: nothing is wrong",
    ] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line:?} is not in\n{said}");
    }
    assert_eq!(program.stderr(), "");
    assert_eq!(stored(&client, job.id()).await.state, State::Ready);
    assert!(client.workers().await.unwrap().is_empty());
}

/// A word of the command line counts more than the code and than a variable, and a variable more than the code.
async fn the_command_line_overrides_the_code(stage: Stage) {
    let client = stage.client().await;
    let variables = [("QUEUE_WORKERS", "7"), ("QUEUE_QUEUES", "mail"), ("QUEUE_SHUTDOWN_TIMEOUT", "0")];
    let mut program = stage.program("told", "--queues default --no-periodic -k thread --verbose", &variables);
    let job = hold::new(1).enqueue(&client).await.unwrap();
    stage.logged("begin", 1, "told").await;
    let worker = client.workers().await.unwrap().remove(0);
    assert_eq!(worker.concurrency, 7);
    let queues: Vec<_> = worker.shards.iter().map(|shard| shard.queue.as_str()).collect();
    assert_eq!(queues, ["default"]);
    // Its grace is none: what runs is given back.
    program.signal(Signal::TERM);
    assert_eq!(program.ends().await.code(), Some(0), "{}", program.stderr());
    assert_eq!(stored(&client, job.id()).await.state, State::Ready);
    assert!(client.schedules().next().await.is_none(), "it carries out no schedules");
    let log = program.stderr();
    assert!(log.contains("`--worker-type thread` changes nothing: jobs are tokio tasks"), "{log}");
    assert!(log.contains("DEBUG"), "{log}");
}

/// What no queue of the worker serves is listed, and said in the verdict; that others serve it is nothing wrong.
#[tokio::test]
async fn a_check_warns_of_what_is_not_served() {
    let stage = Stage::sqlite();
    let mut program = stage.program("elsewhere", "--check --queues nope=3,void", &[]);
    assert_eq!(program.ends().await.code(), Some(0), "{}", program.stderr());
    let (said, warned) = (program.stdout(), program.stderr());
    assert!(said.contains("\nqueues       nope (weight 3), void (weight 1)\n"), "{said}");
    assert!(said.ends_with("\nok, with 4 warnings\n"), "{said}");
    let lines: Vec<_> = warned.lines().collect();
    assert_eq!(lines.len(), 4, "{warned}");
    assert!(
        lines.contains(
            &"warning: task `hold`: its queue `default` is not served here, so its jobs wait for a worker that serves it"
        ),
        "{warned}"
    );
    assert!(
        lines[3].starts_with("warning: schedule `hourly`: its queue `default` is not served here, so it ticks"),
        "{warned}"
    );

    let mut program = stage.program("no-ticks", "--check --queues nope --no-periodic", &[]);
    assert_eq!(program.ends().await.code(), Some(0));
    assert!(program.stdout().ends_with("\nok, with 3 warnings\n"), "{}", program.stdout());
}

#[tokio::test]
async fn all_that_is_wrong_is_said_by_a_check() {
    let stage = Stage::sqlite();
    let nowhere = "--check --url sqlite:///no/such/folder/jobs.db --queues default,default";
    let mut program = stage.program("wrong", nowhere, &[]);
    assert_eq!(program.ends().await.code(), Some(2));
    let said = program.stderr();
    assert!(said.starts_with("error: 2 things are wrong:\n  - ") && said.contains("/no/such/folder/jobs.db"), "{said}");
    assert!(said.contains("  - queue `default` is named twice"), "{said}");

    let mut program = stage.program("away", "--check --url redis://127.0.0.1:1", &[]);
    assert_eq!(program.ends().await.code(), Some(1));
    assert!(
        program.stderr().starts_with("error: ") && program.stderr().contains("127.0.0.1:1"),
        "{}",
        program.stderr()
    );
    assert!(program.stdout().contains("  task hold (queue default"), "the rest is told all the same");
}

#[tokio::test]
async fn a_check_tries_the_health_port() {
    let stage = Stage::sqlite();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let words = format!("--check --health-addr {address}");
    let mut program = stage.program("taken", &words, &[]);
    assert_eq!(program.ends().await.code(), Some(1));
    let said = program.stderr();
    assert!(said.starts_with(&format!("error: the health port {address} can't be had: ")), "{said}");
    drop(taken);
    let mut program = stage.program("free", &words, &[]);
    assert_eq!(program.ends().await.code(), Some(0), "{}", program.stderr());
}

/// Whoever read what it says is gone, or the disk is full: jobs run all the same, and signals are heard.
#[tokio::test]
async fn words_that_nobody_takes_stop_nothing() {
    let stage = Stage::sqlite();
    let client = stage.client().await;
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let unread = || Stdio::from(closed.try_clone().unwrap());
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let file = format!("-l {}", stage.dir().join("a.log").display());
    let table: [(&str, &str, &dyn Fn() -> Stdio); 4] = [
        ("unread", "--verbose", &unread),
        ("full", "--log-format json", &full),
        ("unread-with-file", &file, &unread),
        ("full-file", "-l /dev/full", &full),
    ];
    for (job, (name, words, out)) in (1..).zip(table) {
        let mut program = stage.program_into(name, words, out);
        let job_of_it = hold::new(job).enqueue(&client).await.unwrap();
        stage.logged("begin", job, name).await;
        program.signal(Signal::TERM);
        stage.open_gate(job);
        assert_eq!(program.ends().await.code(), Some(0), "{name}");
        assert_eq!(stored(&client, job_of_it.id()).await.state, State::Completed, "{name}");
    }
    // What it has to say before there is a log, too, and the verdict of a check.
    let away = format!("--logfile {}/worker.log --url redis://127.0.0.1:1", stage.dir().display());
    let told = [
        ("--workers 0", 2),
        ("--url foo://", 2),
        ("--check", 0),
        ("--check --url foo://", 2),
        ("--check --url redis://127.0.0.1:1", 1),
        ("--check --queues default,default --url redis://127.0.0.1:1", 2),
        (&away, 1),
    ];
    for (words, code) in told {
        let mut program = stage.program_into("told", words, unread);
        assert_eq!(program.ends().await.code(), Some(code), "{words}");
    }
}

/// Words and variables, and the code and the words of the refusal.
type Refusal<'a> = (&'a str, &'a [(&'a str, &'a str)], i32, &'a str);

#[tokio::test]
async fn what_can_not_begin_says_why() {
    let stage = Stage::sqlite();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--health-addr {}", taken.local_addr().unwrap());
    let table: [Refusal<'_>; 9] = [
        ("--wrokers 4", &[], 2, "a similar argument exists: '--workers'"),
        ("", &[("QUEUE_WORKERS", "none")], 2, "error: the variable QUEUE_WORKERS is `none`: write how many"),
        ("", &[("RUST_LOG", "a=loud")], 2, "error: the variable RUST_LOG is `a=loud`"),
        ("", &[("QUEUE_URL", ""), ("ENVIRONMENT", "production")], 2, "set REDIS_HOST"),
        ("--url postgres://bob:hush@db", &[], 2, "error: `postgres://bob:***@db` names no storage"),
        ("--url foo:// --log-format json", &[], 2, "{\"timestamp\":"),
        (
            "--logfile /no/such/folder/worker.log",
            &[],
            2,
            "error: the log file /no/such/folder/worker.log can't be written",
        ),
        (&taken, &[], 1, "error: the health port "),
        ("--url redis://127.0.0.1:1", &[], 1, "127.0.0.1:1"),
    ];
    for (at, (words, variables, code, said)) in table.into_iter().enumerate() {
        let mut program = stage.program(&format!("begins-{at}"), words, variables);
        assert_eq!(program.ends().await.code(), Some(code), "{words} {variables:?}");
        assert!(program.stderr().contains(said), "{words} {variables:?}: {}", program.stderr());
        assert!(!program.stderr().contains("hush"));
    }
}

#[tokio::test]
async fn a_log_file_is_appended_to_and_opened_anew() {
    let stage = Stage::sqlite();
    let (log, moved) = (stage.dir().join("worker.log"), stage.dir().join("worker.log.1"));
    std::fs::write(&log, "{\"message\":\"before\"}\n").unwrap();
    let words = format!("--log-format json -l {}", log.display());
    let mut program = stage.program("logs", &words, &[]);
    let holds = async |file: &std::path::Path, what: &str| {
        let told = async || std::fs::read_to_string(file).ok()?.contains(what).then_some(());
        eventually(&format!("{what:?} in {}", file.display()), told).await;
    };
    holds(&log, "worker starts").await;
    std::fs::rename(&log, &moved).unwrap();
    program.signal(Signal::HUP);
    holds(&log, "log file opened anew").await;
    program.signal(Signal::TERM);
    assert_eq!(program.ends().await.code(), Some(0));
    assert_eq!(program.stderr(), format!("logging to {}\n", log.display()));

    let lines = |file| {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let (old, new) = (lines(&moved), lines(&log));
    assert_eq!(old[0]["message"], "before");
    let starts = old.iter().find(|line| line["message"] == "worker starts").unwrap();
    assert_eq!((&starts["level"], &starts["queues"]), (&"INFO".into(), &"default".into()));
    assert!(new.iter().any(|line| line["message"] == "worker stopped"), "{new:?}");
}

#[tokio::test]
async fn the_service_manager_is_told_in_order() {
    let stage = Stage::sqlite();
    let client = stage.client().await;
    let path = stage.dir().join("notify");
    let manager = tokio::net::UnixDatagram::from_std(bound(&path)).unwrap();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "20000")];
    let mut program = stage.program("told", "", &variables);

    assert_eq!(heard(&manager).await, format!("STATUS=connected to {}, registering", client.location()));
    assert_eq!(heard(&manager).await, format!("READY=1\nSTATUS=running jobs of {}", client.location()));
    assert_eq!(client.workers().await.unwrap().len(), 1, "ready means that the storage knows it");
    assert!(barks(&manager).await && barks(&manager).await, "half of 20 ms has passed each time");
    let job = hold::new(1).enqueue(&client).await.unwrap();
    stage.logged("begin", 1, "told").await;
    program.signal(Signal::TERM);
    assert!(heard(&manager).await.starts_with("STOPPING=1\nSTATUS=stopping: "));
    assert!(barks(&manager).await, "a worker that drains lives");
    stage.open_gate(1);
    assert_eq!(program.ends().await.code(), Some(0));
    assert_eq!(stored(&client, job.id()).await.state, State::Completed);
}

fn bound(path: &std::path::Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

async fn told(manager: &tokio::net::UnixDatagram) -> String {
    let mut bytes = [0; 1_024];
    let told = tokio::time::timeout(PATIENCE, manager.recv(&mut bytes)).await;
    let length = told.expect("the manager is told").unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

/// The next word that is more than a sign of life.
async fn heard(manager: &tokio::net::UnixDatagram) -> String {
    loop {
        let told = told(manager).await;
        if told != "WATCHDOG=1" {
            return told;
        }
    }
}

async fn barks(manager: &tokio::net::UnixDatagram) -> bool {
    told(manager).await == "WATCHDOG=1"
}

#[tokio::test]
async fn the_health_port_answers_from_readiness_to_the_drain() {
    let stage = Stage::sqlite();
    let client = stage.client().await;
    let mut program = stage.program("healthy", "--health-addr 127.0.0.1:0", &[]);
    let address: SocketAddr =
        program.says("health is answered").await.split_once("address=").unwrap().1.parse().unwrap();
    let ready = async || (asked(address, "/readyz").await.starts_with("HTTP/1.1 200 ")).then_some(());
    eventually("the worker is ready", ready).await;
    assert!(asked(address, "/livez").await.starts_with("HTTP/1.1 200 "));
    for path in ["/", "/jobs", "/health", "/openapi.json"] {
        let nothing = asked(address, path).await;
        assert!(nothing.starts_with("HTTP/1.1 404 "), "{path}: {nothing}");
        assert!(nothing.contains("there are `/livez`, `/readyz`, `/healthz` and `/metrics`"), "{path}: {nothing}");
    }
    let metrics = asked(address, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200 ") && metrics.contains("queue_worker_up{"), "{metrics}");
    hold::new(1).enqueue(&client).await.unwrap();
    stage.logged("begin", 1, "healthy").await;
    program.signal(Signal::TERM);
    program.says("worker stops: claiming no more").await;
    let draining = asked(address, "/readyz").await;
    assert!(draining.starts_with("HTTP/1.1 503 ") && draining.contains("the worker stops"), "{draining}");
    assert!(asked(address, "/livez").await.starts_with("HTTP/1.1 200 "));
    stage.open_gate(1);
    assert_eq!(program.ends().await.code(), Some(0));
}

pub async fn asked(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A job that keeps its thread keeps a process that stops, but not one that stops at once: that gives up on it when the
/// storage has heard of the stop, or when it is asked a third time.
#[tokio::test]
async fn a_job_that_keeps_its_thread_does_not_keep_a_process_that_stops_at_once() {
    let stage = Stage::sqlite();
    let client = stage.client().await;
    for (job, name, third) in [(1, "twice", false), (2, "thrice", true)] {
        let mut program = stage.program(name, "-w 1", &[]);
        let clings = cling::new(job).enqueue(&client).await.unwrap();
        stage.logged("begin", job, name).await;
        program.signal(Signal::TERM);
        program.says("worker stops: claiming no more").await;
        program.signal(Signal::TERM);
        program.says("worker stops at once").await;
        if third {
            program.signal(Signal::TERM);
        }
        assert_eq!(program.ends().await.code(), Some(3), "{}", program.stderr());
        assert!(stage.who("end", job).is_empty());
        assert_eq!(client.workers().await.unwrap().len(), usize::from(third), "the second time it says goodbye");
        assert_eq!(stored(&client, clings.id()).await.attempts, 0);
    }
}

/// Whatever hangs, and be it the thread on which the program itself runs: the third word is the last.
#[tokio::test]
async fn a_program_that_hangs_ends_when_it_is_asked_a_third_time() {
    let stage = Stage::sqlite();
    let mut program = stage.program("stuck", "", &[("QUEUE_TEST_STUCK", "1")]);
    program.says("stuck").await;
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT")] {
        program.signal(signal);
        program.says(&format!("asked to stop signal=\"{name}\"")).await;
    }
    assert!(program.ended().is_none(), "it hangs");
    program.signal(Signal::TERM);
    assert_eq!(program.ends().await.code(), Some(3), "{}", program.stderr());
}

impl Process {
    /// Waits for a line in the log that holds this.
    pub async fn says(&self, what: &str) -> String {
        let said = async || self.stderr().lines().find(|line| line.contains(what)).map(str::to_owned);
        eventually(&format!("{} says {what:?}", self.name), said).await
    }
}
