//! Jobs set aside for a key, and brought back into line in their old places.

use queue_storage::model::{Key, Parked};
use rusqlite::{Row, params};

use crate::error::Result;
use crate::job::cells::job_id;
use crate::job::more::More;
use crate::job::row::Stored;
use crate::job::tx::{Back, Tx};
use crate::job::watch::Moments;
use crate::ledger::Ledger;

pub(crate) const BLOCKED: &str =
    "SELECT count(*) FROM queue_jobs WHERE shard = ?1 AND parked_for = ?2 AND parked = 'limit_full'";
pub(crate) const THROTTLED: &str =
    "SELECT count(*) FROM queue_jobs WHERE shard = ?1 AND parked_for = ?2 AND parked = 'rate_window'";

/// Reads a parked job of a row: its number, id, rank, sequence, whether it is a suspect, and what few jobs have.
pub(crate) fn back(row: &Row<'_>) -> Result<Back> {
    let id = job_id(&row.get::<_, Vec<u8>>(1)?)?;
    let more = More::read(id, row.get::<_, Option<Vec<u8>>>(5)?.as_deref())?;
    Ok(Back { n: row.get(0)?, id, rank: row.get(2)?, sequence: row.get(3)?, suspect: row.get(4)?, more })
}

/// Sets a ready job aside, which may have been parked for something else.
pub(crate) fn park(tx: &Tx<'_>, shard: &mut Ledger, stored: &Stored, reason: &Parked, key: &Key) -> Result<()> {
    let (n, before) = (stored.n, &stored.job);
    let more = More { parked_at: Some(tx.now), ..stored.more() };
    tx.conn
        .prepare_cached("UPDATE queue_jobs SET parked = ?2, parked_for = ?3, more = ?4 WHERE n = ?1")?
        .execute(params![n, reason.as_str(), key.as_str(), more.encode(before.id)?])?;
    let moments = Moments::of(before);
    moments.replace(tx.conn, (shard.n, n), moments.of_known())?;
    if before.parked.is_none() {
        shard.parked += 1;
        shard.suspects -= u64::from(before.suspect);
    }
    shard.blocked += 1;
    Ok(())
}

/// Brings a job back into line.
pub(crate) fn unpark(tx: &mut Tx<'_>, shard: &mut Ledger, mut back: Back) -> Result<()> {
    back.more.parked_at = None;
    tx.conn
        .prepare_cached("UPDATE queue_jobs SET parked = NULL, parked_for = NULL, more = ?2 WHERE n = ?1")?
        .execute(params![back.n, back.more.encode(back.id)?])?;
    shard.parked -= 1;
    shard.blocked -= 1;
    shard.suspects += u64::from(back.suspect);
    tx.hints.ready = true;
    tx.back.push(back);
    Ok(())
}
