use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::panic::catch_unwind;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, test_kill_process};

use super::*;

fn is_alive(pid: u32) -> bool {
    test_kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap()).is_ok()
}

/// What a panic says.
fn complaint<T>(of: impl FnOnce() -> T + std::panic::UnwindSafe) -> String {
    let panic = catch_unwind(|| drop(of())).unwrap_err();
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| (*panic.downcast::<&str>().unwrap()).to_owned())
}

#[test]
fn a_server_answers_on_its_port_and_on_its_socket() {
    let server = Redis::start();
    assert_eq!(server.cli(&["SET", "greeting", "good morning"]), "OK");
    assert_eq!(server.cli(&["GET", "greeting"]), "good morning");
    assert_eq!(server.url(), format!("redis://127.0.0.1:{}", server.port()));
    TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    UnixStream::connect(server.socket()).unwrap();
}

#[test]
fn its_pid_is_the_servers_own() {
    let server = Redis::start();
    assert_eq!(server.info("server", "process_id"), Some(server.pid().to_string()));
    assert_eq!(server.info("server", "tcp_port"), Some(server.port().to_string()));
    assert_eq!(server.info("server", "no_such_field"), None);
}

#[test]
fn two_servers_are_two() {
    let servers = [Redis::start(), Redis::start()];
    servers[0].cli(&["SET", "where", "here"]);
    assert_eq!(servers[1].cli(&["EXISTS", "where"]), "0");
    assert_ne!(servers[0].dir(), servers[1].dir());
}

#[test]
fn a_killed_server_comes_back_in_its_place_without_what_it_did_not_keep() {
    let server = Redis::start();
    let (port, pid) = (server.port(), server.pid());
    server.cli(&["SET", "a", "1"]);
    server.kill();
    assert!(!server.is_running());
    assert!(!is_alive(pid));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());

    server.start_again();
    assert_eq!((server.port(), server.cli(&["EXISTS", "a"])), (port, "0".to_owned()));
    assert_ne!(server.pid(), pid);
}

#[test]
fn a_killed_server_with_a_log_of_writes_comes_back_with_them() {
    let server = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    server.cli(&["SET", "a", "1"]);
    server.kill();
    server.start_again();
    assert_eq!(server.cli(&["GET", "a"]), "1");
}

#[test]
fn a_stopped_server_saves_what_it_was_told_to_save() {
    let server = Redis::start_with(&["--save", "3600 1"]);
    server.cli(&["SET", "a", "1"]);
    server.stop();
    assert!(!server.is_running());
    server.start_again();
    assert_eq!(server.cli(&["GET", "a"]), "1");
}

#[test]
fn a_start_waits_for_the_data() {
    let server = Redis::start_with(&[
        "--appendonly",
        "yes",
        "--key-load-delay",
        "1000",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    server.cli(&["DEBUG", "POPULATE", "1000"]);
    server.cli(&["BGREWRITEAOF"]);
    look(|| (server.info("persistence", "aof_rewrite_in_progress")? == "0").then_some(())).unwrap();
    server.kill();
    server.start_again();
    assert_eq!(server.cli(&["DBSIZE"]), "1000");
}

#[test]
fn a_frozen_server_is_silent_until_it_thaws() {
    use std::io::Write;
    let server = Redis::start();
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    server.freeze();
    assert!(server.is_running());
    client.write_all(b"PING\r\n").unwrap();
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0; 16]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);

    server.thaw();
    client.set_nonblocking(false).unwrap();
    let mut answer = String::new();
    BufReader::new(client).read_line(&mut answer).unwrap();
    assert_eq!(answer, "+PONG\r\n");
}

#[test]
fn a_frozen_server_can_be_stopped_and_dropped() {
    let server = Redis::start();
    server.freeze();
    server.stop();
    server.start_again();
    let (pid, dir) = (server.pid(), server.dir().to_owned());
    server.freeze();
    drop(server);
    assert!(!is_alive(pid));
    assert!(!dir.exists());
}

#[test]
fn a_password_is_used_and_in_the_url() {
    let server = Redis::start_with(&["--requirepass", "sesame"]);
    assert_eq!(server.cli(&["PING"]), "PONG");
    assert_eq!(server.url(), format!("redis://:sesame@127.0.0.1:{}", server.port()));
    assert!(ask(server.dir(), None, &["PING"]).unwrap_err().contains("NOAUTH"));
    server.kill();
    server.start_again();
    assert_eq!(server.cli(&["PING"]), "PONG");
}

#[test]
fn a_limit_of_memory_holds() {
    let server = Redis::start_with(&["--maxmemory", "50mb"]);
    assert_eq!(server.info("memory", "maxmemory"), Some((50 << 20).to_string()));
}

#[test]
fn a_taken_port_is_passed_over() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (taken, free) = (other.local_addr().unwrap().port(), free_port());
    let server = Redis::launch([taken, free].into_iter(), plain);
    assert_eq!(server.port(), free);
}

#[test]
fn a_wrong_argument_is_shown_as_the_server_says_it() {
    let complaint = complaint(|| Redis::start_with(&["--no-such-option", "1"]));
    assert!(complaint.contains("Bad directive"), "{complaint}");
}

#[test]
fn a_command_which_fails_says_why() {
    let server = Redis::start();
    server.cli(&["SET", "word", "abc"]);
    let server = std::panic::AssertUnwindSafe(&server);
    let complaint = complaint(|| server.cli(&["INCR", "word"]));
    assert!(complaint.contains("not an integer"), "{complaint}");
    assert!(complaint.contains("INCR") && complaint.contains(&server.port().to_string()), "{complaint}");
}

#[test]
fn a_running_server_is_not_started_twice() {
    let server = Redis::start();
    let server = std::panic::AssertUnwindSafe(&server);
    assert!(complaint(|| server.start_again()).contains("still runs"));
}

#[test]
fn a_missing_program_is_named_with_the_way_to_get_it() {
    let mut child = this_test("starts_a_server_and_waits");
    let child = child.env("QUEUE_REDIS_SERVER", "no-such-server").stdin(Stdio::null()).stdout(Stdio::piped());
    let output = child.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("`no-such-server` is missing. Install redis-server"), "{said}");
    assert!(said.contains("apt-get install redis-server") && said.contains("scripts/test"), "{said}");
}

#[test]
fn all_callers_share_one_server() {
    assert_eq!(shared().pid(), shared().pid());
    assert_eq!(shared().cli(&["PING"]), "PONG");
}

#[test]
fn no_server_outlives_a_process_which_is_killed() {
    for how in ["running", "frozen", "shared"] {
        let mut child = Holder::start(how);
        assert!(is_alive(child.server), "{how}");
        child.process.kill().unwrap();
        child.process.wait().unwrap();
        assert_eq!(look(|| (!is_alive(child.server)).then_some(())), Some(()), "{how}");
        assert_eq!(look(|| (!child.dir.exists()).then_some(())), Some(()), "{how}");
    }
}

#[test]
fn no_server_outlives_a_process_which_ends() {
    let mut child = Holder::start("shared");
    drop(child.process.stdin.take());
    assert!(child.process.wait().unwrap().success());
    assert_eq!(look(|| (!is_alive(child.server) && !child.dir.exists()).then_some(())), Some(()));
}

/// This program again, for one test.
fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("redis::tests::{name}"), "--exact", "--ignored", "--nocapture"]);
    command
}

/// A process which holds a server.
struct Holder {
    process: Child,
    /// Kept open, for the process writes there at its end too.
    _output: BufReader<ChildStdout>,
    server: u32,
    dir: PathBuf,
}

impl Holder {
    fn start(how: &str) -> Self {
        let mut command = this_test("starts_a_server_and_waits");
        let mut process = command.env("HOW", how).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map(Result::unwrap);
        let line = lines.find_map(|line| line.strip_prefix("server ").map(str::to_owned)).unwrap();
        let (server, dir) = line.split_once(' ').unwrap();
        Self { process, _output: output, server: server.parse().unwrap(), dir: dir.into() }
    }
}

#[test]
#[ignore = "a process for other tests to kill"]
fn starts_a_server_and_waits() {
    let how = std::env::var("HOW").unwrap_or_default();
    let own = (how != "shared").then(Redis::start);
    let server = own.as_ref().unwrap_or_else(|| shared());
    if how == "frozen" {
        server.freeze();
    }
    println!("\nserver {} {}", server.pid(), server.dir().display());
    let _ = std::io::stdin().read(&mut [0]);
}
