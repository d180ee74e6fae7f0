//! Several processes on one file.

use std::collections::HashSet;
use std::path::Path;

use queue_sqlite::SqliteStorage;
use queue_storage::storage::{Operate, Storage};
use tempfile::TempDir;

use crate::kit::{Caller, Hand, child, heard, integrity, jobs, mail, say, this_program};

const PRODUCERS: usize = 3;
const WORKERS: usize = 2;
const EACH: usize = 400;

/// A child's part: takes jobs in, in calls of several sizes.
pub(crate) async fn enqueue(path: &Path) {
    let storage = SqliteStorage::open(path).await.unwrap();
    let (mut caller, mut left) = (Caller::new(), EACH);
    while left > 0 {
        let size = fastrand::usize(1..=8).min(left);
        for id in caller.enqueue(&storage, jobs(size)).await {
            say(&format!("enqueued {id}"));
        }
        left -= size;
    }
}

/// A child's part: runs jobs until all have ended.
pub(crate) async fn run(path: &Path) {
    let storage = SqliteStorage::open(path).await.unwrap();
    let mut hand = Hand::new(&storage).await;
    while storage.counts(&mail()).await.unwrap().ended.completed < (PRODUCERS * EACH) as u64 {
        for claimed in hand.exchange(&storage, fastrand::u32(1..=16)).await.claimed {
            say(&format!("ran {}", claimed.job.id));
        }
    }
    storage.close().await;
}

#[tokio::test]
async fn every_job_runs_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    let parts = [["enqueue"].repeat(PRODUCERS), ["run"].repeat(WORKERS)].concat();
    let children: Vec<_> = parts.iter().map(|part| child(&this_program(), part, &path).spawn().unwrap()).collect();
    let listening: Vec<_> =
        children.into_iter().map(|mut child| std::thread::spawn(move || heard(&mut child))).collect();
    let said: Vec<String> = listening.into_iter().flat_map(|child| child.join().unwrap()).collect();
    let of = |word: &str| -> Vec<&str> { said.iter().filter_map(|line| line.strip_prefix(word)).collect() };
    let (enqueued, ran) = (of("enqueued "), of("ran "));
    assert_eq!(enqueued.len(), PRODUCERS * EACH);
    assert_eq!(ran.len(), enqueued.len(), "a job ran twice, or never");
    assert_eq!(ran.into_iter().collect::<HashSet<_>>(), enqueued.into_iter().collect::<HashSet<_>>());
    let storage = SqliteStorage::open(&path).await.unwrap();
    queue_storage::conformance::invariants(&storage).await;
    storage.close().await;
    assert_eq!(integrity(&path), "ok");
}
