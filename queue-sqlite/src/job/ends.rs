//! Ends that no run brings about: what is overdue, what is revoked, what nobody knows.

use std::time::Duration;

use queue_storage::model::{EndReason, Failure, FailureKind, JobId, Move, State};
use queue_storage::storage::MAX_UPKEEP;
use rusqlite::params;

use crate::error::Result;
use crate::job::row::{self, Stored};
use crate::job::shift::{end, shift};
use crate::job::tx::Tx;
use crate::ledger::Ledger;

pub(crate) const OVERDUE: &str =
    "SELECT n FROM queue_jobs WHERE shard = ?1 AND overdue_at <= ?2 ORDER BY overdue_at LIMIT ?3";

/// Expires jobs that do not run and are overdue, earliest first; whether more are left.
pub(crate) fn expire(tx: &mut Tx<'_>, shard: &mut Ledger, keep: Duration) -> Result<bool> {
    if shard.limited == 0 {
        return Ok(false);
    }
    let found = rows(tx, OVERDUE, shard, tx.now.as_micros())?;
    for n in found.iter().take(MAX_UPKEEP as usize) {
        if let Some(mut stored) = row::find_stored(tx.conn, &shard.shard, *n)? {
            expire_one(tx, shard, &mut stored, keep)?;
        }
    }
    Ok(found.len() > MAX_UPKEEP as usize)
}

/// Expires a job that is overdue.
pub(crate) fn expire_one(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored, keep: Duration) -> Result<()> {
    let reason = stored.job.overdue_at().map_or(EndReason::Overdue, |(_, reason)| reason);
    let now = tx.now;
    shift(tx, shard, stored, Move::Expire, |job| end(job, State::Expired, reason, now, keep))
}

/// Cancels a job that does not run.
pub(crate) fn cancel(
    tx: &mut Tx<'_>,
    shard: &mut Ledger,
    stored: &mut Stored,
    reason: EndReason,
    keep: Duration,
) -> Result<()> {
    let now = tx.now;
    shift(tx, shard, stored, Move::Cancel, |job| end(job, State::Cancelled, reason, now, keep))
}

pub(crate) const UNKNOWN: &str = "SELECT n FROM queue_jobs \
    WHERE shard = ?1 AND parked = 'unknown_task' AND parked_at < ?2 ORDER BY parked_at LIMIT ?3";

/// Lets jobs die that nobody has known for longer than `limit`, those parked first at first; whether more are left.
pub(crate) fn bury(tx: &mut Tx<'_>, shard: &mut Ledger, limit: Duration, keep: Duration) -> Result<(Vec<JobId>, bool)> {
    if shard.parked == 0 {
        return Ok((Vec::new(), false));
    }
    let found = rows(tx, UNKNOWN, shard, (tx.now - limit).as_micros())?;
    let (mut died, now) = (Vec::new(), tx.now);
    for n in found.iter().take(MAX_UPKEEP as usize) {
        let Some(mut stored) = row::find_stored(tx.conn, &shard.shard, *n)? else { continue };
        let message = format!("no worker that looked at it knew its task within {limit:?}");
        shift(tx, shard, &mut stored, Move::Die, |job| {
            end(job, State::Dead, EndReason::UnknownTask, now, keep);
            job.failure = Some(Failure::new(FailureKind::Unknown, message));
        })?;
        died.push(stored.job.id);
    }
    Ok((died, found.len() > MAX_UPKEEP as usize))
}

/// The rows that a statement finds up to a moment, one more than one call treats.
fn rows(tx: &Tx<'_>, sql: &str, shard: &Ledger, moment: i64) -> Result<Vec<i64>> {
    let mut statement = tx.conn.prepare_cached(sql)?;
    let rows = statement.query_map(params![shard.n, moment, MAX_UPKEEP + 1], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
