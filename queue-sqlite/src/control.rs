//! What is said of a shard: pauses and revocations, in one record beside a flag in the shard's row, so that nothing is
//! read or written for a shard of which nothing is said.

use queue_storage::model::{Shard, Timestamp};
use queue_storage::storage::{Control, Controls};
use rusqlite::{Connection, params};

use crate::error::{Error, Result};
use crate::job::tx::Tx;
use crate::ledger::Ledger;
use crate::reader::Snapshot;

/// What is said of the shard now.
fn of(conn: &Connection, shard: &Ledger, now: Timestamp) -> Result<Controls> {
    let mut controls = said(conn, shard)?;
    controls.lapse(now);
    Ok(controls)
}

/// What was said of the shard, and may have ended by its own moment.
pub(crate) fn said(conn: &Connection, shard: &Ledger) -> Result<Controls> {
    if !shard.controlled {
        return Ok(Controls::default());
    }
    let said: Vec<u8> = conn
        .prepare_cached("SELECT said FROM queue_controls WHERE shard = ?1")?
        .query_row([shard.n], |row| row.get(0))?;
    rmp_serde::from_slice(&said)
        .map_err(|error| Error::corrupt(format!("what is said of {} can't be read: {error}", shard.shard)))
}

/// Writes what is said of the shard; the flag is saved with the shard's row.
pub(crate) fn save(conn: &Connection, shard: &mut Ledger, controls: &Controls) -> Result<()> {
    shard.controlled = *controls != Controls::default();
    if !shard.controlled {
        conn.prepare_cached("DELETE FROM queue_controls WHERE shard = ?1")?.execute([shard.n])?;
        return Ok(());
    }
    let said = rmp_serde::to_vec_named(controls)
        .map_err(|error| Error::corrupt(format!("what is said of {} can't be written: {error}", shard.shard)))?;
    conn.prepare_cached("INSERT OR REPLACE INTO queue_controls (shard, said) VALUES (?1, ?2)")?
        .execute(params![shard.n, said])?;
    Ok(())
}

/// Forgets what has ended by its own moment, and writes what is left if there was any.
pub(crate) fn drop_ended(tx: &Tx<'_>, shard: &mut Ledger, controls: &mut Controls) -> Result<()> {
    if !shard.controlled {
        return Ok(());
    }
    let said = controls.clone();
    controls.lapse(tx.now);
    if *controls == said { Ok(()) } else { save(tx.conn, shard, controls) }
}

/// Changes what is said of a shard; whether that changed anything.
pub(crate) fn control(tx: &mut Tx<'_>, shard: &Shard, change: &Control) -> Result<bool> {
    let mut shard = Ledger::open(tx.conn, tx.namespace, shard)?;
    let mut controls = of(tx.conn, &shard, tx.now)?;
    let changed = controls.apply(change, tx.now);
    controls.check()?;
    if changed {
        save(tx.conn, &mut shard, &controls)?;
        // Sleepers are to look now, or by another moment than they were told.
        tx.finish(&mut shard, true)?;
    }
    Ok(changed)
}

/// What is said of a shard, for a reader.
pub(crate) fn controls(look: &Snapshot<'_>, shard: &Shard) -> Result<Controls> {
    match Ledger::find(look.conn, look.namespace, shard)? {
        Some(shard) => of(look.conn, &shard, look.now),
        None => Ok(Controls::default()),
    }
}
