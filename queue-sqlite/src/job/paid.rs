//! What has been paid for under the rate of each key.

use queue_storage::model::{Job, Key, Parked, Rate, Timestamp};
use queue_storage::storage::MAX_PRUNE;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::job::keys::rates;
use crate::job::tx::Tx;
use crate::ledger::Ledger;

/// Stands for the whole shard among its keys, none of which is empty.
pub(crate) const SHARD: &str = "";

pub(crate) const PAID: &str = "SELECT paid_at FROM queue_rates WHERE shard = ?1 AND key = ?2";

/// When everything that has started under the key is paid for.
pub(crate) fn paid(conn: &Connection, shard: i64, key: &str) -> Result<Timestamp> {
    let paid = conn.prepare_cached(PAID)?.query_row(params![shard, key], |row| row.get(0)).optional()?;
    Ok(paid.map(Timestamp::from_micros).unwrap_or_default())
}

/// Writes when everything that has started under the key is paid for.
pub(crate) fn pay(tx: &Tx<'_>, shard: &Ledger, key: &str, paid: Timestamp) -> Result<()> {
    tx.conn
        .prepare_cached(
            "INSERT INTO queue_rates (shard, key, paid_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (shard, key) DO UPDATE SET paid_at = ?3",
        )?
        .execute(params![shard.n, key, paid.as_micros()])?;
    Ok(())
}

/// Whether the rate admits a start now.
pub(crate) fn admits(tx: &Tx<'_>, shard: &Ledger, key: &Key, rate: Rate, cost: u32) -> Result<bool> {
    Ok(rate.admits(paid(tx.conn, shard.n, key.as_str())?, tx.now, cost).is_some())
}

/// Pays for a start that the rate admits.
pub(crate) fn start(tx: &Tx<'_>, shard: &Ledger, key: &Key, rate: Rate, cost: u32) -> Result<()> {
    match rate.admits(paid(tx.conn, shard.n, key.as_str())?, tx.now, cost) {
        Some(paid) => pay(tx, shard, key.as_str(), paid),
        None => Ok(()),
    }
}

/// When the rate opens for which the job of this row is parked.
pub(crate) fn opens_at(conn: &Connection, n: i64, job: &Job) -> Result<Option<Timestamp>> {
    let key = job.parked_for.as_ref().filter(|_| job.parked == Some(Parked::RateWindow));
    let Some((key, rate, cost)) = rates(&job.limits).find(|(one, ..)| Some(*one) == key) else { return Ok(None) };
    let shard = conn.prepare_cached("SELECT shard FROM queue_jobs WHERE n = ?1")?.query_row([n], |row| row.get(0))?;
    Ok(Some(rate.opens_at(paid(conn, shard, key.as_str())?, cost)))
}

pub(crate) const FORGET: &str = "DELETE FROM queue_rates WHERE shard = ?1 AND key IN \
    (SELECT key FROM queue_rates WHERE shard = ?1 AND paid_at <= ?2 ORDER BY paid_at LIMIT ?3)";

/// Drops what is remembered of rates that are paid.
pub(crate) fn prune(tx: &Tx<'_>, shard: &Ledger) -> Result<()> {
    tx.conn.prepare_cached(FORGET)?.execute(params![shard.n, tx.now.as_micros(), MAX_PRUNE])?;
    Ok(())
}
