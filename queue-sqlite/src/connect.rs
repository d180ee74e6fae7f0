//! Opening a connection, and waiting for other processes' locks.

use std::thread;
use std::time::Duration;

use queue_storage::storage::StorageError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use crate::error::{Error, Place, Result, is_busy};
use crate::options::{SqliteOptions, Synchronous};
use crate::schema;

/// How long one attempt at a lock takes before [`Patience`] is asked whether to go on.
const ATTEMPT: Duration = Duration::from_millis(500);
/// The longest pause between two looks at a lock that is taken.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
/// A WAL that grew beyond this is cut back after a checkpoint.
const WAL_LIMIT: u32 = 64 * 1024 * 1024;

/// SQLite's busy handler: pauses that begin short, as other users of this library hold the lock for a millisecond or
/// so; SQLite's own go up to 100 ms, in which a busy neighbour takes the lock a dozen times.
fn pause(tries: i32) -> bool {
    let micros = 50_u64.saturating_mul(u64::try_from(tries).unwrap_or(0) + 1);
    thread::sleep(Duration::from_micros(micros).min(LONGEST_PAUSE));
    i64::from(tries) < i64::try_from(ATTEMPT.as_millis()).unwrap_or(500)
}

/// Counts how long a lock was waited for.
#[derive(Debug)]
pub(crate) struct Patience {
    waited: Duration,
    limit: Duration,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { waited: Duration::ZERO, limit }
    }

    /// Runs `work` until it meets no lock; gives up after the limit, or when `go_on` says no.
    pub(crate) fn run<T>(
        mut self,
        place: &Place,
        mut go_on: impl FnMut() -> bool,
        mut work: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        loop {
            match work() {
                Err(Error::Sql(error)) if is_busy(&error) => {
                    if self.waited >= self.limit || !go_on() {
                        return Err(Error::Refused(place.locked(self.waited).because(error)));
                    }
                    // Some locks are refused without a word to the busy handler.
                    thread::sleep(LONGEST_PAUSE);
                    self.waited += ATTEMPT;
                }
                other => return other,
            }
        }
    }
}

/// A connection for the writer: the file is created and migrated if need be.
pub(crate) fn writer(options: &SqliteOptions, place: &Place) -> Result<Connection> {
    if !options.create && matches!(place.path().try_exists(), Ok(false)) {
        return Err(Error::Refused(StorageError::invalid(format!(
            "{} does not exist, and may not be created here (`create_if_missing` is false)",
            place.location()
        ))));
    }
    let mut conn = connect(options, place)?;
    Patience::new(options.busy_timeout).run(
        place,
        || true,
        || {
            schema::is_current(&conn, place)?;
            set_up(&conn, options, place)?;
            schema::migrate(&mut conn, schema::MIGRATIONS, place)?;
            schema::complete(&mut conn)
        },
    )?;
    Ok(conn)
}

/// A connection that only reads.
pub(crate) fn reader(options: &SqliteOptions, place: &Place) -> Result<Connection> {
    let conn = connect(options, place)?;
    Patience::new(options.busy_timeout).run(
        place,
        || true,
        || {
            set_up(&conn, options, place)?;
            Ok(conn.pragma_update(None, "query_only", true)?)
        },
    )?;
    Ok(conn)
}

fn connect(options: &SqliteOptions, place: &Place) -> Result<Connection> {
    if place.path().is_dir() {
        let message = format!("{} is a folder: name a file in it", place.location());
        return Err(Error::Refused(StorageError::invalid(message)));
    }
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if options.create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let mut conn = match &options.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(place.path(), flags, vfs.as_str())?,
        None => Connection::open_with_flags(place.path(), flags)?,
    };
    if conn.is_readonly(MAIN_DB)? {
        return Err(Error::Refused(StorageError::unavailable(format!(
            "{} is read-only for this process: grant it write access to the file and its folder",
            place.location()
        ))));
    }
    conn.busy_handler(Some(pause))?;
    // One plan for each statement, whatever is bound: without this, statements with a bound LIMIT are planned anew at
    // every use, a third of the work of a lone exchange.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

fn set_up(conn: &Connection, options: &SqliteOptions, place: &Place) -> Result<()> {
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Error::Refused(StorageError::unavailable(format!(
            "{} can't keep a write-ahead log here (SQLite offers `{mode}`): put it on a local disk",
            place.location()
        ))));
    }
    conn.pragma_update(
        None,
        "synchronous",
        match options.synchronous {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        },
    )?;
    conn.pragma_update(None, "cache_size", -i64::from(options.cache_kib))?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "wal_autocheckpoint", options.checkpoint_pages)?;
    conn.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
    Ok(())
}
