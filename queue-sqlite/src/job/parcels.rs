//! The outbox: a row for each relay whose parcel is to be delivered.

use rusqlite::{Connection, params};

use crate::error::Result;
use crate::ledger::Ledger;

/// Puts the relay of this row, which was reached at this place, into the outbox.
pub(crate) fn add(conn: &Connection, shard: &mut Ledger, n: i64, sequence: u64) -> Result<()> {
    conn.prepare_cached("INSERT INTO queue_outbox (shard, seq, n) VALUES (?1, ?2, ?3)")?.execute(params![
        shard.n,
        sequence.cast_signed(),
        n
    ])?;
    shard.outbox += 1;
    Ok(())
}

/// Takes the relay of this place out of the outbox.
pub(crate) fn take(conn: &Connection, shard: &mut Ledger, sequence: u64) -> Result<()> {
    conn.prepare_cached("DELETE FROM queue_outbox WHERE shard = ?1 AND seq = ?2")?
        .execute(params![shard.n, sequence.cast_signed()])?;
    shard.outbox = shard.outbox.saturating_sub(1);
    Ok(())
}

pub(crate) const FIRST: &str = "SELECT n FROM queue_outbox WHERE shard = ?1 ORDER BY seq LIMIT ?2";

/// The rows of the relays that were reached first; at most so many.
pub(crate) fn first(conn: &Connection, shard: &Ledger, most: u32) -> Result<Vec<i64>> {
    if shard.outbox == 0 {
        return Ok(Vec::new());
    }
    let mut statement = conn.prepare_cached(FIRST)?;
    let rows = statement.query_map(params![shard.n, most], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
