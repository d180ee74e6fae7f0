//! One file, several users of it in one process.

use std::sync::Arc;
use std::time::Duration;

use queue_sqlite::rusqlite::{Connection, TransactionBehavior};
use queue_sqlite::{SqliteOptions, SqliteStorage};
use queue_storage::model::{State, WorkerId};
use queue_storage::storage::{Admission, Enqueue, Listener, Notify, Operate, Storage, Topic};
use tempfile::TempDir;

use crate::kit::{Caller, Hand, PATIENCE, job, jobs, mail};

pub(crate) async fn two() -> (TempDir, Arc<SqliteStorage>, Arc<SqliteStorage>) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    // At once: whoever comes second finds the file half made, or locked.
    let (a, b) = tokio::join!(SqliteStorage::open(&path), SqliteStorage::open(&path));
    (folder, Arc::new(a.unwrap()), Arc::new(b.unwrap()))
}

pub(crate) async fn hears(listener: &Listener) {
    tokio::time::timeout(PATIENCE, listener.changed()).await.expect("no hint came");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_storages_write_at_once() {
    let (_folder, a, b) = two().await;
    let mut tasks = Vec::new();
    for storage in [&a, &b, &a, &b] {
        let storage = Arc::clone(storage);
        tasks.push(tokio::spawn(async move {
            let mut caller = Caller::new();
            for _ in 0..100 {
                caller.enqueue(&storage, jobs(2)).await;
            }
            let mut hand = Hand::new(&storage).await;
            let mut ran = Vec::new();
            loop {
                let answer = hand.exchange(&storage, 7).await;
                if answer.claimed.is_empty() && answer.settled.is_empty() {
                    break ran;
                }
                ran.extend(answer.claimed.into_iter().map(|claimed| claimed.job.id));
            }
        }));
    }
    let mut ran = Vec::new();
    for task in tasks {
        ran.extend(task.await.unwrap());
    }
    assert_eq!(ran.len(), 800);
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len(), 800, "a job ran twice");
    assert_eq!(a.counts(&mail()).await.unwrap().of(State::Completed), 800);
    queue_storage::conformance::invariants(&*b).await;
}

#[tokio::test]
async fn another_storages_commit_is_noticed() {
    let (_folder, a, b) = two().await;
    let listener = b.listen(Topic::Worker(WorkerId::generate(), mail()));
    for _ in 0..3 {
        Caller::new().enqueue(&a, jobs(1)).await;
        hears(&listener).await;
    }
}

#[tokio::test]
async fn another_storages_end_of_a_job_is_noticed() {
    let (_folder, a, b) = two().await;
    let [one, other] = Caller::new().enqueue(&a, jobs(2)).await[..] else { unreachable!() };
    let (of_one, of_other) = (b.listen(Topic::Job(one)), b.listen(Topic::Job(other)));
    let mut hand = Hand::new(&a).await;
    hand.exchange(&a, 1).await;
    hand.exchange(&a, 0).await;
    hears(&of_one).await;
    // Told once, as it is not known what it was; then no more of the other's changes.
    quiet(&of_other).await;
    hand.exchange(&a, 1).await;
    hand.exchange(&a, 0).await;
    hears(&of_other).await;
    assert!(!quiet(&of_one).await, "told of another job");
}

#[tokio::test]
async fn idle_neighbours_let_each_other_sleep() {
    let (_folder, a, b) = two().await;
    Caller::new().enqueue(&a, jobs(1)).await;
    let (mut here, mut there) = (Hand::new(&a).await, Hand::new(&b).await);
    for _ in 0..3 {
        here.exchange(&a, 5).await;
    }
    let (at_a, at_b) = (a.listen(Topic::Worker(here.id, mail())), b.listen(Topic::Worker(there.id, mail())));
    quiet(&at_a).await;
    quiet(&at_b).await;
    for _ in 0..5 {
        here.exchange(&a, 5).await;
        there.exchange(&b, 5).await;
        assert!(!quiet(&at_a).await && !quiet(&at_b).await, "a look woke a sleeper");
    }
}

/// Waits until no more hints come; whether one came.
pub(crate) async fn quiet(listener: &Listener) -> bool {
    let mut came = false;
    while tokio::time::timeout(Duration::from_millis(80), listener.changed()).await.is_ok() {
        came = true;
    }
    came
}

#[tokio::test]
async fn own_commits_are_no_alarm() {
    let (_folder, a, _b) = two().await;
    let elsewhere =
        a.listen(Topic::Worker(WorkerId::generate(), queue_storage::model::Shard::of("web".parse().unwrap())));
    quiet(&elsewhere).await;
    let mut caller = Caller::new();
    for _ in 0..50 {
        caller.enqueue(&a, jobs(1)).await;
    }
    assert!(!quiet(&elsewhere).await, "told of its own commits in another shard");
}

#[tokio::test]
async fn jobs_enter_with_the_callers_own_transaction() {
    let (folder, storage, _other) = two().await;
    let mut own = Connection::open(folder.path().join("jobs.db")).unwrap();
    own.execute_batch("CREATE TABLE orders (number INTEGER PRIMARY KEY)").unwrap();
    let listener = storage.listen(Topic::Worker(WorkerId::generate(), mail()));

    let kept = job();
    let tx = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    tx.execute("INSERT INTO orders VALUES (1)", []).unwrap();
    let answer = storage.enqueue_in(&tx, &mail(), vec![kept.clone(), kept.clone()]).unwrap();
    assert_eq!(answer, [Admission::Added(State::Ready), Admission::Duplicate(State::Ready)]);
    assert_eq!(storage.counts(&mail()).await.unwrap().enqueued, 0, "seen before it was committed");
    tx.commit().unwrap();
    hears(&listener).await;
    assert!(storage.get(kept.id).await.unwrap().found().is_some());

    let dropped = job();
    let tx = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    storage.enqueue_in(&tx, &mail(), vec![dropped.clone()]).unwrap();
    tx.rollback().unwrap();
    assert!(storage.get(dropped.id).await.unwrap().found().is_none());
    queue_storage::conformance::invariants(&*storage).await;
}

#[tokio::test]
async fn a_transaction_elsewhere_is_refused() {
    let (folder, storage, _other) = two().await;
    let mut own = Connection::open(folder.path().join("other.db")).unwrap();
    let tx = own.transaction().unwrap();
    let error = storage.enqueue_in(&tx, &mail(), jobs(1)).unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("open a connection to that file"), "{error}");
}

#[tokio::test]
async fn a_lock_of_another_program_is_waited_for() {
    let (folder, storage, _other) = two().await;
    let mut own = Connection::open(folder.path().join("jobs.db")).unwrap();
    let tx = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let mut caller = Caller::new();
    let call = storage.enqueue(caller.call(jobs(1)));
    let release = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        tx.rollback().unwrap();
    };
    let (answer, ()) = tokio::join!(call, release);
    answer.unwrap();
}

#[tokio::test]
async fn a_lock_that_stays_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    let storage = SqliteOptions::new(&path).busy_timeout(Duration::from_millis(500)).open().await.unwrap();
    let mut own = Connection::open(&path).unwrap();
    let tx = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let error = storage.enqueue(Caller::new().call(jobs(1))).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("locked by another program"), "{error}");
    assert!(storage.counts(&mail()).await.is_ok(), "looking needs no lock");
    tx.rollback().unwrap();
    Caller::new().enqueue(&storage, jobs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_leave_harm_nobody() {
    let (_folder, storage, _other) = two().await;
    let mut tasks = Vec::new();
    for at in 0..200_u64 {
        let storage = Arc::clone(&storage);
        tasks.push(tokio::spawn(async move {
            let call = Caller::new().call(jobs(1));
            if at % 2 == 0 {
                storage.enqueue(call).await.unwrap();
            } else {
                let _ = tokio::time::timeout(Duration::from_micros(at), storage.enqueue(call)).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(storage.counts(&mail()).await.unwrap().enqueued >= 100);
    queue_storage::conformance::invariants(&*storage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_opened_and_closed_at_any_time() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    let first = SqliteStorage::open(&path).await.unwrap();
    let mut caller = Caller::new();
    for round in 0..30 {
        let other = Arc::new(SqliteStorage::open(&path).await.unwrap());
        let busy = tokio::spawn({
            let other = Arc::clone(&other);
            async move {
                let mut caller = Caller::new();
                while other.enqueue(caller.call(jobs(1))).await.is_ok() {}
            }
        });
        caller.enqueue(&first, jobs(1)).await;
        if round % 3 > 0 {
            other.close().await;
            busy.await.unwrap();
        } else {
            busy.abort();
        }
    }
    queue_storage::conformance::invariants(&first).await;
}
