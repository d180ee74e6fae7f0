//! Files that can't be used say what, where, why and what to do.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use queue_sqlite::rusqlite::Connection;
use queue_sqlite::{SqliteOptions, SqliteStorage};
use queue_storage::storage::{Enqueue, Maintain, Operate, ScheduleChange, ScheduleQuery, Storage, StorageError};
use tempfile::TempDir;

use crate::kit::{Caller, child, heard, jobs, mail, this_program};

async fn refusal(path: impl Into<PathBuf>) -> StorageError {
    SqliteStorage::open(path).await.unwrap_err()
}

fn assert_says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{error}` does not say `{part}`");
    }
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let folder = TempDir::new().unwrap();
    let error = refusal(folder.path().join("none/jobs.db")).await;
    assert!(error.is_invalid());
    assert_says(&error.to_string(), &["none/jobs.db", "/none` does not exist", "create it"]);
}

#[tokio::test]
async fn a_folder_is_no_file() {
    let folder = TempDir::new().unwrap();
    let error = refusal(folder.path()).await;
    assert!(error.is_invalid());
    assert_says(&error.to_string(), &["is a folder", "name a file in it"]);
}

#[tokio::test]
async fn a_file_as_folder_is_told() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("text"), "x").unwrap();
    let error = refusal(folder.path().join("text/jobs.db")).await;
    assert_says(&error.to_string(), &["text/jobs.db", "can't be"]);
}

#[tokio::test]
async fn a_file_of_another_sort_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("letter.txt");
    let text = "Dear reader, ".repeat(1_000);
    fs::write(&path, &text).unwrap();
    let error = refusal(&path).await;
    assert!(error.is_invalid(), "{error:?}");
    assert_says(&error.to_string(), &["letter.txt", "not an SQLite file"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_file_is_not_created_where_none_is_wanted() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    let error = SqliteOptions::new(&path).create_if_missing(false).open().await.unwrap_err();
    assert_says(&error.to_string(), &["does not exist", "create_if_missing"]);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_newer_file_is_left_untouched() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    SqliteStorage::open(&path).await.unwrap().close().await;
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("INSERT INTO queue_layout (version) VALUES (99); PRAGMA journal_mode = DELETE").unwrap();
    drop(conn);
    let before = fs::read(&path).unwrap();
    let error = refusal(&path).await;
    assert!(error.is_incompatible());
    assert_says(&error.to_string(), &["layout 99", "upgrade it", "was not changed"]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn an_applications_own_file_is_shared() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("shop.db");
    let shop = Connection::open(&path).unwrap();
    shop.execute_batch("CREATE TABLE jobs (x); PRAGMA user_version = 7; PRAGMA application_id = 42").unwrap();
    let storage = SqliteStorage::open(&path).await.unwrap();
    Caller::new().enqueue(&storage, jobs(1)).await;
    storage.close().await;
    let pragma = |name: &str| shop.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((pragma("user_version"), pragma("application_id")), (7, 42));
}

/// In UTF-16 a letter may sort before another that it follows in UTF-8.
#[tokio::test]
async fn in_a_file_of_any_encoding_schedules_sort_by_their_names() {
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("shop.db");
        let shop = Connection::open(&path).unwrap();
        shop.execute_batch(&format!("PRAGMA encoding = '{encoding}'; CREATE TABLE orders (x)")).unwrap();
        let storage = SqliteStorage::open(&path).await.unwrap();
        let names = ["a", "b", "é", "Ā"];
        let changes = names.map(|name| ScheduleChange::new(name.parse().unwrap(), None, Some((None, "".into()))));
        storage.tick(&mail(), &changes).await.unwrap();
        let page = storage.schedules(&mail(), &ScheduleQuery::After(None, 0)).await.unwrap();
        assert_eq!(page.schedules.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), names, "{encoding}");
        storage.close().await;
    }
}

#[tokio::test]
async fn after_closing_every_call_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    let storage = SqliteStorage::open(&path).await.unwrap();
    let mut caller = Caller::new();
    caller.enqueue(&storage, jobs(3)).await;
    storage.close().await;
    storage.close().await;
    assert!(storage.enqueue(caller.call(jobs(1))).await.unwrap_err().is_unavailable());
    assert!(storage.counts(&mail()).await.unwrap_err().is_unavailable());
    assert!(storage.ping().await.unwrap_err().is_unavailable());
    assert!(!folder.path().join("jobs.db-wal").exists(), "the log is copied back by the last one out");
}

#[tokio::test]
async fn a_file_that_is_taken_away_under_a_program_is_missed() {
    let folder = TempDir::new().unwrap();
    let (path, away) = (folder.path().join("jobs.db"), folder.path().join("away.db"));
    let storage = SqliteStorage::open(&path).await.unwrap();
    storage.ping().await.unwrap();
    fs::rename(&path, &away).unwrap();
    let error = storage.ping().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert_says(&error.to_string(), &["/jobs.db was removed", "put the file itself back", "restart this program"]);
    fs::hard_link(&away, &path).unwrap();
    storage.ping().await.unwrap();

    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    let error = storage.ping().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert_says(&error.to_string(), &["/jobs.db was replaced", "put the file itself back", "restart this program"]);
    fs::rename(&away, &path).unwrap();
    storage.ping().await.unwrap();

    // Its folder may go with it.
    let (inner, gone) = (folder.path().join("inner"), folder.path().join("gone"));
    fs::create_dir(&inner).unwrap();
    let storage = SqliteStorage::open(inner.join("jobs.db")).await.unwrap();
    fs::rename(&inner, &gone).unwrap();
    assert_says(&storage.ping().await.unwrap_err().to_string(), &["inner/jobs.db was removed"]);
    fs::write(&inner, "a file in its place").unwrap();
    assert_says(&storage.ping().await.unwrap_err().to_string(), &["inner/jobs.db was removed"]);
}

/// Opens the file as a user who owns nothing and says what came of it.
///
/// Root may read and write everything, so as root these tests would prove nothing.
fn as_nobody(folder: &Path, path: &Path) -> String {
    let program = folder.join("program");
    fs::copy(this_program(), &program).unwrap();
    let mut command = child(&program, "open", path);
    command.current_dir("/");
    let root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if root {
        command.uid(65_534).gid(65_534);
    }
    let said = heard(&mut command.spawn().unwrap());
    said.first().cloned().unwrap_or_default()
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// An open folder, and in it a closed one with a storage.
async fn stored() -> (TempDir, PathBuf, PathBuf) {
    let outer = TempDir::new().unwrap();
    allow(outer.path(), 0o755);
    let inner = outer.path().join("inner");
    fs::create_dir(&inner).unwrap();
    allow(&inner, 0o755);
    let path = inner.join("jobs.db");
    SqliteStorage::open(&path).await.unwrap().close().await;
    (outer, inner, path)
}

#[tokio::test]
async fn what_is_permitted_opens() {
    let (outer, inner, path) = stored().await;
    allow(&inner, 0o777);
    allow(&path, 0o666);
    assert_eq!(as_nobody(outer.path(), &path), "opened");
}

#[tokio::test]
async fn a_read_only_file_is_told() {
    let (outer, inner, path) = stored().await;
    allow(&inner, 0o777);
    allow(&path, 0o444);
    assert_says(&as_nobody(outer.path(), &path), &["inner/jobs.db", "read-only", "grant it write access"]);
}

#[tokio::test]
async fn a_forbidden_file_is_told() {
    let (outer, inner, path) = stored().await;
    allow(&inner, 0o777);
    allow(&path, 0o000);
    assert_says(&as_nobody(outer.path(), &path), &["inner/jobs.db", "can't be opened", "read and write access"]);
}

#[tokio::test]
async fn a_read_only_folder_is_told() {
    let (outer, inner, path) = stored().await;
    allow(&inner, 0o555);
    allow(&path, 0o666);
    assert_says(&as_nobody(outer.path(), &path), &["inner/jobs.db", "folder", "write access"]);
    assert_says(&as_nobody(outer.path(), &inner.join("new.db")), &["new.db", "can't be created", "may not write in"]);
}

#[tokio::test]
async fn a_forbidden_folder_is_told() {
    let (outer, inner, path) = stored().await;
    allow(&inner, 0o000);
    assert_says(&as_nobody(outer.path(), &path), &["inner/jobs.db", "may not look into", "grant it access"]);
    allow(&inner, 0o755);
}
