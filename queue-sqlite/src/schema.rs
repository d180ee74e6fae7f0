//! The layout of the file: created, migrated, or refused.

use queue_storage::storage::StorageError;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::error::{Error, Place, Result};

/// Every step from an empty file to today's layout. A released step is never edited: changes are a step of their own.
pub(crate) const MIGRATIONS: &[&str] = &[include_str!("migrations/001_start.sql")];

/// "Qjob": what `file` and other tools can tell the file by. Set only where the file holds nothing else.
const APPLICATION_ID: i32 = 0x516a_6f62;

/// Brings the file to the layout of `steps`, in one transaction.
///
/// A file of a newer layout is refused and left untouched; one of today's is only read.
pub(crate) fn migrate(conn: &mut Connection, steps: &[&str], place: &Place) -> Result<()> {
    if check(version(conn)?, steps, place)? {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have migrated it while this one waited for the lock.
    let from = version(&tx)?;
    if check(from, steps, place)? {
        return Ok(());
    }
    if from == 0 {
        let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        tx.execute_batch("CREATE TABLE queue_layout (version INTEGER PRIMARY KEY) STRICT")?;
    }
    for (version, step) in (1_u32..).zip(steps).skip(from as usize) {
        tx.execute_batch(step)?;
        tx.execute("INSERT INTO queue_layout (version) VALUES (?1)", [version])?;
    }
    tx.commit()?;
    Ok(())
}

/// Whether the file has the layout this program writes.
pub(crate) fn is_current(conn: &Connection, place: &Place) -> Result<bool> {
    check(version(conn)?, MIGRATIONS, place)
}

/// Whether nothing is to be done.
fn check(found: u32, steps: &[&str], place: &Place) -> Result<bool> {
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    if found <= known {
        return Ok(found == known);
    }
    Err(Error::Refused(StorageError::incompatible(format!(
        "{} has layout {found}, written by a newer version of this library; this program knows layouts up to {known}: \
         upgrade it (the file was not changed)",
        place.location()
    ))))
}

/// The layout of the file; 0 for one without any.
fn version(conn: &Connection) -> Result<u32> {
    let known = conn
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'queue_layout'", [], |_| Ok(()))
        .optional()?;
    match known {
        Some(()) => Ok(conn.query_row("SELECT coalesce(max(version), 0) FROM queue_layout", [], |row| row.get(0))?),
        None => Ok(0),
    }
}
