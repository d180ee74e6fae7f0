//! Slots: who holds one of a key, and who is parked for one.
//!
//! A slot is a row for each running job and key, so that whatever frees it twice frees it once.

use queue_storage::model::{Key, Limit};
use rusqlite::params;

use crate::error::Result;
use crate::job::parking;
use crate::job::tx::Tx;
use crate::ledger::Ledger;

pub(crate) const HOLDERS: &str = "SELECT count(*) FROM queue_slots WHERE shard = ?1 AND key = ?2";

pub(crate) const NEXT: &str = "SELECT n, id, rank, seq, suspect, more FROM queue_jobs \
    WHERE shard = ?1 AND parked_for = ?2 AND parked = 'limit_full' ORDER BY rank, seq LIMIT 1";

/// Whether as many jobs run under the key as may by this word.
pub(crate) fn is_full(tx: &Tx<'_>, shard: &mut Ledger, key: &Key, most: u32) -> Result<bool> {
    if let Some(running) = shard.holders.get(key) {
        return Ok(*running >= u64::from(most));
    }
    let running = holders(tx, shard, key)?;
    shard.holders.insert(key.clone(), running);
    Ok(running >= u64::from(most))
}

/// Looks through those that run, never through the backlog, and once for each key and operation.
fn holders(tx: &Tx<'_>, shard: &Ledger, key: &Key) -> Result<u64> {
    let mut statement = tx.conn.prepare_cached(HOLDERS)?;
    let running: i64 = statement.query_row(params![shard.n, key.as_str()], |row| row.get(0))?;
    Ok(running.cast_unsigned())
}

/// Gives a running job a slot of the key.
pub(crate) fn take(tx: &Tx<'_>, shard: &mut Ledger, key: &Key, n: i64) -> Result<()> {
    let taken = tx
        .conn
        .prepare_cached("INSERT OR IGNORE INTO queue_slots (shard, key, job) VALUES (?1, ?2, ?3)")?
        .execute(params![shard.n, key.as_str(), n])?;
    if let Some(running) = shard.holders.get_mut(key) {
        *running += taken as u64;
    }
    Ok(())
}

/// Takes the slot back from a job that runs no more.
pub(crate) fn free(tx: &Tx<'_>, shard: &mut Ledger, key: &Key, n: i64) -> Result<()> {
    let freed = tx
        .conn
        .prepare_cached("DELETE FROM queue_slots WHERE shard = ?1 AND key = ?2 AND job = ?3")?
        .execute(params![shard.n, key.as_str(), n])?;
    if let Some(running) = shard.holders.get_mut(key) {
        *running = running.saturating_sub(freed as u64);
    }
    Ok(())
}

/// Brings the first job parked for a slot of the key back into line, if one is free.
pub(crate) fn unblock(tx: &mut Tx<'_>, shard: &mut Ledger, key: &Key) -> Result<()> {
    if shard.blocked == 0 {
        return Ok(());
    }
    let mut statement = tx.conn.prepare_cached(NEXT)?;
    let mut rows = statement.query(params![shard.n, key.as_str()])?;
    let Some(back) = rows.next()?.map(parking::back).transpose()? else { return Ok(()) };
    drop(rows);
    drop(statement);
    for limit in &back.more.keys.limits {
        if let Limit::Slots { key: own, most, .. } = limit
            && own == key
            && !is_full(tx, shard, key, *most)?
        {
            return parking::unpark(tx, shard, back);
        }
    }
    Ok(())
}
