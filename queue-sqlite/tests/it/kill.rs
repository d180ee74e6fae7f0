//! A process that is killed at any instant loses nothing that it was told is done.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use queue_sqlite::SqliteStorage;
use queue_storage::model::{JobId, State};
use queue_storage::storage::{Operate, Storage};
use tempfile::TempDir;

use crate::kit::{Caller, Hand, child, heard, integrity, jobs, say, this_program};

const ROUNDS: u32 = 25;
/// On a slow machine children are killed on their way up: there are more rounds then, of ever longer lives.
const MOST_ROUNDS: u32 = 250;
/// So much has been enqueued once they have worked.
const ENOUGH: usize = 100;

/// A child's part: several callers and workers at once, saying what was answered, until the end comes.
pub(crate) async fn work(path: &Path) {
    let storage = Arc::new(SqliteStorage::open(path).await.unwrap());
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let storage = Arc::clone(&storage);
        tasks.push(tokio::spawn(async move {
            let mut caller = Caller::new();
            loop {
                for id in caller.enqueue(&storage, jobs(fastrand::usize(1..=20))).await {
                    say(&format!("enqueued {id}"));
                }
            }
        }));
    }
    let mut hand = Hand::new(&storage).await;
    loop {
        let settling: Vec<_> = hand.settlements.iter().map(|settled| settled.job).collect();
        hand.exchange(&storage, fastrand::u32(1..=20)).await;
        settling.iter().for_each(|id| say(&format!("completed {id}")));
    }
}

#[tokio::test]
async fn nothing_answered_is_lost() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    let (mut enqueued, mut completed) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..MOST_ROUNDS {
        if round >= ROUNDS && enqueued.len() > ENOUGH && !completed.is_empty() {
            break;
        }
        let mut worker = child(&this_program(), "work until killed", &path).spawn().unwrap();
        let id = worker.id();
        let listening = std::thread::spawn(move || heard(&mut worker));
        // Where in its work the process is hit is up to chance, from its first moments on.
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..=60 + u64::from(round) * 10)));
        let killed = std::process::Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
        assert!(killed.success());
        for line in listening.join().unwrap() {
            let (word, id) = line.split_once(' ').unwrap();
            let id: JobId = id.parse().unwrap();
            if word == "enqueued" {
                enqueued.insert(id)
            } else {
                completed.insert(id)
            };
        }
        if round % 5 == 4 {
            assert_eq!(integrity(&path), "ok");
        }
    }
    let storage = SqliteStorage::open(&path).await.unwrap();
    for id in &enqueued {
        assert!(storage.get(*id).await.unwrap().found().is_some(), "job {id} is lost");
    }
    for id in &completed {
        let job = storage.get(*id).await.unwrap().found().unwrap();
        assert_eq!(job.state, State::Completed, "the end of job {id} is lost");
    }
    println!("{} enqueued, {} completed", enqueued.len(), completed.len());
    assert!(enqueued.len() > ENOUGH && !completed.is_empty(), "the children hardly worked");
    queue_storage::conformance::invariants(&storage).await;
    storage.close().await;
}
