//! What is announced by one user of a file and heard by another, and who is taken to watch.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use queue_sqlite::rusqlite::{Connection, params};
use queue_sqlite::{SqliteOptions, SqliteStorage};
use queue_storage::clock::{Clock, ManualClock, SystemClock};
use queue_storage::model::Timestamp;
use queue_storage::storage::{Heard, Maintain, Notify, Retention, Storage, Watch};
use tempfile::TempDir;

use crate::kit::{Caller, PATIENCE, jobs, mail};
use crate::shared::two;

const HOUR: Duration = Duration::from_secs(3_600);
/// As many news as are kept, as few as are removed at a time, and how long they are kept.
const KEPT: i64 = 1_024;
const REMOVED: i64 = 100;
const MINUTE: Duration = Duration::from_secs(60);

async fn hears(watch: &mut Watch) -> Heard {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("nothing came").expect("it ended")
}

fn news(text: impl Into<String>) -> Bytes {
    text.into().into()
}

/// Whether a call of the storage tells that someone watches.
async fn is_watched(storage: &SqliteStorage) -> bool {
    Caller::new().enqueue(storage, jobs(1)).await;
    storage.is_watched(&mail())
}

async fn until_unwatched(storage: &SqliteStorage) {
    let gone = async { while is_watched(storage).await {} };
    // Sooner than it would end by itself.
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("a watch that is over goes on");
}

fn count(path: &Path, what: &str) -> i64 {
    let conn = Connection::open(path).unwrap();
    conn.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

/// Leaves a watch in the file as a process does that was killed.
fn leave_watch(path: &Path, until: Timestamp) {
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(HOUR).unwrap();
    let sql = "INSERT INTO queue_watchers (teller, namespace, until) VALUES (randomblob(16), 'queue', ?1)";
    conn.execute(sql, [until.as_micros()]).unwrap();
}

#[tokio::test]
async fn news_cross_the_file_once_and_in_order() {
    let (_folder, a, b) = two().await;
    let (mut at_a, mut at_b) = (a.watch().await.unwrap(), b.watch().await.unwrap());
    for n in 0..50 {
        a.announce(news(format!("a{n}"))).await.unwrap();
        b.announce(news(format!("b{n}"))).await.unwrap();
    }
    for watch in [&mut at_a, &mut at_b] {
        let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let Heard::News(heard) = hears(watch).await else { panic!("something was missed") };
            if heard[0] == b'a' { of_a.push(heard) } else { of_b.push(heard) }
        }
        assert_eq!(of_a, (0..50).map(|n| format!("a{n}")).collect::<Vec<_>>());
        assert_eq!(of_b, (0..50).map(|n| format!("b{n}")).collect::<Vec<_>>());
    }
    a.announce(news("last")).await.unwrap();
    assert_eq!([hears(&mut at_a).await, hears(&mut at_b).await], [(); 2].map(|()| Heard::News(news("last"))));
}

#[tokio::test]
async fn only_those_elsewhere_need_rows() {
    let (folder, a, b) = two().await;
    let path = folder.path().join("jobs.db");
    a.announce(news("to nobody")).await.unwrap();
    let mut watch = a.watch().await.unwrap();
    a.announce(news("to oneself")).await.unwrap();
    assert_eq!((hears(&mut watch).await, count(&path, "queue_news")), (Heard::News(news("to oneself")), 0));
    b.announce(news("across")).await.unwrap();
    assert_eq!((hears(&mut watch).await, count(&path, "queue_news")), (Heard::News(news("across")), 1));
    drop(watch);
    until_unwatched(&b).await;
    b.announce(news("to nobody")).await.unwrap();
    assert_eq!((count(&path, "queue_news"), count(&path, "queue_watchers")), (1, 0));
}

#[tokio::test]
async fn a_watch_goes_with_its_storage() {
    for closed in [true, false] {
        let (_folder, a, b) = two().await;
        let mut watch = a.watch().await.unwrap();
        assert!(is_watched(&b).await);
        if closed {
            a.close().await;
        }
        drop(a);
        assert_eq!(tokio::time::timeout(MINUTE, watch.next()).await.unwrap(), None);
        until_unwatched(&b).await;
    }
}

#[tokio::test]
async fn a_watch_of_the_dead_ends() {
    let (folder, a, _b) = two().await;
    let path = folder.path().join("jobs.db");
    leave_watch(&path, SystemClock.now() - MINUTE);
    // No watch lasts that long: it was begun before the clock was set back.
    leave_watch(&path, SystemClock.now() + HOUR);
    assert!(!is_watched(&a).await);
    a.announce(news("to nobody")).await.unwrap();
    assert_eq!(count(&path, "queue_news"), 0);
    leave_watch(&path, SystemClock.now() + Duration::from_secs(2));
    assert!(is_watched(&a).await);
    until_unwatched(&a).await;
    assert_eq!(count(&path, "queue_watchers"), 3);
    let _watch = a.watch().await.unwrap();
    assert_eq!(count(&path, "queue_watchers"), 1, "nobody swept");
}

#[tokio::test]
async fn a_clock_that_is_moved_ends_no_watch() {
    let (folder, clock) = (TempDir::new().unwrap(), ManualClock::new());
    let options = SqliteOptions::new(folder.path().join("jobs.db")).clock(Arc::new(clock.clone()));
    let (a, b) = (options.clone().open().await.unwrap(), options.open().await.unwrap());
    let mut watch = a.watch().await.unwrap();
    for to in [clock.now() + HOUR * 9, clock.now() - HOUR * 9] {
        clock.set(to);
        assert!(is_watched(&b).await);
        b.announce(news("still there")).await.unwrap();
        assert_eq!(hears(&mut watch).await, Heard::News(news("still there")));
        b.prune(&mail(), Retention::default()).await.unwrap();
        assert_eq!(count(&folder.path().join("jobs.db"), "queue_watchers"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn much_news_take_little_room() {
    let (folder, a, b) = two().await;
    let path = folder.path().join("jobs.db");
    let mut watch = a.watch().await.unwrap();
    let mut tellers = Vec::new();
    for _ in 0..100 {
        let b = Arc::clone(&b);
        tellers.push(tokio::spawn(async move {
            for _ in 0..100 {
                b.announce(Bytes::from_static(&[7; 500])).await.unwrap();
            }
        }));
    }
    for teller in tellers {
        teller.await.unwrap();
    }
    b.announce(news("last")).await.unwrap();
    while hears(&mut watch).await != Heard::News(news("last")) {}
    assert_eq!(count(&path, "queue_news"), KEPT);
    assert!(std::fs::metadata(&path).unwrap().len() < 4 << 20);
    let age = |by: Duration| {
        let conn = Connection::open(&path).unwrap();
        conn.busy_timeout(HOUR).unwrap();
        let age = i64::try_from(by.as_micros()).unwrap();
        conn.execute("UPDATE queue_news SET at = at - ?1", params![age]).unwrap();
    };
    // By whoever announces and whoever prunes, some at a time.
    age(MINUTE);
    b.announce(news("one more")).await.unwrap();
    let left = KEPT - REMOVED;
    // One went for the newest, as ever.
    assert!([left, left + 1].contains(&count(&path, "queue_news")), "{}", count(&path, "queue_news"));
    for _ in 0..20 {
        b.prune(&mail(), Retention::default()).await.unwrap();
    }
    assert_eq!(count(&path, "queue_news"), 1);
}

/// What stands beside the layout is added to an older file, and its layout stays what older programs know.
#[tokio::test]
async fn an_older_file_learns_of_news() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    let old = SqliteStorage::open(&path).await.unwrap();
    Caller::new().enqueue(&old, jobs(1)).await;
    old.close().await;
    Connection::open(&path).unwrap().execute_batch("DROP TABLE queue_news; DROP TABLE queue_watchers").unwrap();
    let (a, b) = tokio::join!(SqliteStorage::open(&path), SqliteStorage::open(&path));
    let (a, b) = (a.unwrap(), b.unwrap());
    let mut watch = a.watch().await.unwrap();
    b.announce(news("new")).await.unwrap();
    assert_eq!(hears(&mut watch).await, Heard::News(news("new")));
    let (all, first) = (count(&path, "queue_layout"), count(&path, "queue_layout WHERE version = 1"));
    assert_eq!((all, first), (1, 1));
}
