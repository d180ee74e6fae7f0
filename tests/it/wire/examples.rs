//! The examples of the page, run as they stand there, by users with no more than its permissions.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output};
use std::sync::Arc;

use queue::{Client, State, TaskError, Worker, task, tasks};
use queue_redis::RedisOptions;
use queue_servers::{Cluster, Proxy, Redis};
use queue_storage::model::{Envelope, JobId};

use super::{block, page, root};
use crate::support::PATIENCE;

#[task]
async fn add(a: i64, b: i64) -> Result<i64, TaskError> {
    Ok(a + b)
}

/// A server with the users of the page, and a client of one of them.
async fn scene() -> (Redis, Client) {
    let server = Redis::start();
    for user in block("acl").replace("\n    ", " ").lines() {
        server.cli(&user.split_whitespace().collect::<Vec<_>>());
    }
    let client = client(&server.url().replace("//", "//worker:secret@")).await;
    (server, client)
}

async fn client(url: &str) -> Client {
    Client::new(Arc::new(RedisOptions::from_url(url).unwrap().connect().await.unwrap()))
}

/// Runs an example against that server.
fn run(program: &str, text: &str, url: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("example");
    fs::write(&file, text).unwrap();
    Command::new(program).arg(&file).arg(url).current_dir(root()).output().unwrap()
}

/// The shell's example, with the tests' own `redis-cli`.
fn shell() -> String {
    let redis_cli = std::env::var("QUEUE_REDIS_CLI").unwrap_or_else(|_| "redis-cli".into());
    block("sh").replace("redis-cli", &redis_cli)
}

/// What it printed: the job's id.
fn printed(output: &Output) -> &str {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{}: {error}", output.status);
    std::str::from_utf8(&output.stdout).unwrap().trim()
}

/// Whether there is a Python; it is said where nobody can miss it if there is none.
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        let told = "\n*** LEFT OUT: the Python example of docs/wire-format.md was not run: there is no `python3`\n\n";
        // Not by a macro: the test's output is shown only if it fails.
        std::io::stderr().write_all(told.as_bytes()).unwrap();
    }
    found
}

/// The job is there as it was meant, runs, and returns three.
async fn is_added(client: &Client, id: JobId) {
    let job = client.job(id).await.unwrap().found().unwrap();
    assert_eq!((job.id, job.state, job.task.as_str(), job.sequence), (id, State::Ready, "add", Some(1)));
    assert_eq!((job.priority, job.needs, job.at_most_once, job.attempts), (0, 1, false, 0));
    assert_eq!((job.shard.queue.as_str(), job.shard.index), ("default", 0));
    let envelope = Envelope::decode(&job.envelope).unwrap();
    assert_eq!(envelope, Envelope { args: (&b"\x82\xa1a\x01\xa1b\x02"[..]).into(), ..Envelope::default() });
    assert!(job.enqueued_at.since(id.made_at()) < PATIENCE, "{job:?}");

    let handle = client.handle::<add>(id).await.unwrap();
    let worker = Worker::builder(client).tasks(tasks![add]).build().unwrap();
    worker.run_until(async { assert_eq!(handle.wait(PATIENCE).await.unwrap(), 3) }).await.unwrap();
    let job = client.job(id).await.unwrap().found().unwrap();
    assert_eq!((job.state, job.attempts, job.result.as_deref()), (State::Completed, 1, Some(&[3][..])));
}

fn as_enqueuer(server: &Redis) -> String {
    server.url().replace("//", "//enqueuer:secret@")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_enqueues() {
    let (server, client) = scene().await;
    let output = run("sh", &shell(), &as_enqueuer(&server));
    let id = JobId::from_u128(u128::from_str_radix(printed(&output), 16).unwrap());
    is_added(&client, id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_enqueues() {
    if !has_python() {
        return;
    }
    let (server, client) = scene().await;
    let output = run("python3", &block("python"), &as_enqueuer(&server));
    is_added(&client, printed(&output).parse().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_enqueues_once_whatever_answer_is_lost() {
    if !has_python() {
        return;
    }
    let server = Redis::start();
    let client = client(&server.url()).await;
    let proxy = Proxy::to(server.port());
    let mut ids = Vec::new();
    // Those to SET, SADD, SCRIPT LOAD and EVALSHA, and none.
    for lost in 1..=5 {
        proxy.lose_reply(lost);
        let output = run("python3", &block("python"), &proxy.url());
        ids.push(printed(&output).parse::<JobId>().unwrap());
        assert_eq!(client.counts("default").await.unwrap().enqueued, lost as u64);
    }
    for id in ids {
        assert_eq!(client.job(id).await.unwrap().found().unwrap().state, State::Ready);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_layout_is_left_alone() {
    let server = Redis::start();
    server.cli(&["SET", "queue:layout", "2.0"]);
    let mut examples = vec![("sh", shell())];
    examples.extend(has_python().then(|| ("python3", block("python"))));
    for (program, text) in examples {
        let output = run(program, &text, &server.url());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("can't use layout"), "{program}: {error}");
        assert_eq!(server.cli(&["DBSIZE"]), "1");
    }
}

/// What the page adds for a worker in a cluster.
fn in_a_cluster() -> Vec<String> {
    let page = page().split_whitespace().collect::<Vec<_>>().join(" ");
    let added = page.split("In a cluster add ").nth(1).unwrap().split(" to those of a worker").next().unwrap();
    added.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_of_a_cluster_needs_no_more_than_the_page_says() {
    let cluster = Cluster::start(2);
    let user = block("acl").replace("\n    ", " ").lines().next().unwrap().to_owned();
    let more = in_a_cluster();
    for node in cluster.nodes() {
        node.cli(&user.split_whitespace().chain(more.iter().map(String::as_str)).collect::<Vec<_>>());
    }
    let client = client(&cluster.url().replace("//", "//worker:secret@")).await;
    let handle = add::new(1, 2).enqueue(&client).await.unwrap();
    let worker = Worker::builder(&client).tasks(tasks![add]).build().unwrap();
    worker.run_until(async { assert_eq!(handle.wait(PATIENCE).await.unwrap(), 3) }).await.unwrap();
}

#[test]
fn the_task_of_the_page_is_the_one_run_here() {
    assert!(include_str!("examples.rs").contains(&block("rust")));
}
