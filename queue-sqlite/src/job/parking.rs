//! Jobs set aside for a key, and brought back into line in their old places.

use queue_storage::model::{Job, Key, Parked};
use rusqlite::params;

use crate::error::Result;
use crate::job::tx::Tx;
use crate::ledger::Ledger;

pub(crate) const BLOCKED: &str =
    "SELECT count(*) FROM queue_jobs WHERE shard = ?1 AND parked_for = ?2 AND parked = 'limit_full'";
pub(crate) const THROTTLED: &str =
    "SELECT count(*) FROM queue_jobs WHERE shard = ?1 AND parked_for = ?2 AND parked = 'rate_window'";

/// A job that is back in line: a claim that is under way may have passed its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back {
    pub(crate) n: i64,
    pub(crate) rank: i64,
    pub(crate) sequence: i64,
    pub(crate) suspect: bool,
}

/// Sets a ready job aside, which may have been parked for something else.
pub(crate) fn park(tx: &Tx<'_>, shard: &mut Ledger, n: i64, job: &Job, reason: &Parked, key: &Key) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE queue_jobs SET parked = ?2, parked_at = ?3, parked_for = ?4 WHERE n = ?1")?
        .execute(params![n, reason.as_str(), tx.now.as_micros(), key.as_str()])?;
    if job.parked.is_none() {
        shard.parked += 1;
        shard.suspects -= u64::from(job.suspect);
    }
    shard.blocked += 1;
    Ok(())
}

/// Brings a job back into line.
pub(crate) fn unpark(tx: &mut Tx<'_>, shard: &mut Ledger, back: Back) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE queue_jobs SET parked = NULL, parked_at = NULL, parked_for = NULL WHERE n = ?1")?
        .execute([back.n])?;
    shard.parked -= 1;
    shard.blocked -= 1;
    shard.suspects += u64::from(back.suspect);
    tx.hints.ready = true;
    tx.back.push(back);
    Ok(())
}
