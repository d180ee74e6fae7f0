//! Ends that no run brings about: what is overdue, what is revoked, what nobody knows.

use std::time::Duration;

use queue_storage::model::{EndReason, Failure, FailureKind, JobId, Move, State};
use queue_storage::storage::MAX_UPKEEP;

use crate::error::Result;
use crate::job::row::{self, Stored};
use crate::job::shift::{end, shift};
use crate::job::tx::Tx;
use crate::job::watch::{self, Kind};
use crate::ledger::Ledger;

/// Expires jobs that do not run and are overdue, earliest first; whether more are left.
pub(crate) fn expire(tx: &mut Tx<'_>, shard: &mut Ledger, keep: Duration) -> Result<bool> {
    if shard.limited == 0 {
        return Ok(false);
    }
    let found = watch::reached(tx.conn, shard.n, Kind::Overdue, tx.now, MAX_UPKEEP + 1)?;
    for n in found.iter().take(MAX_UPKEEP as usize) {
        if let Some(mut stored) = row::find(tx.conn, &shard.shard, *n)? {
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

/// Lets jobs die that nobody has known for longer than `limit`, those parked first at first; whether more are left.
pub(crate) fn bury(tx: &mut Tx<'_>, shard: &mut Ledger, limit: Duration, keep: Duration) -> Result<(Vec<JobId>, bool)> {
    if shard.parked == 0 {
        return Ok((Vec::new(), false));
    }
    // For longer: what has been so for just the limit is not.
    let until = tx.now - limit - Duration::from_micros(1);
    let found = watch::reached(tx.conn, shard.n, Kind::Unknown, until, MAX_UPKEEP + 1)?;
    let (mut died, now) = (Vec::new(), tx.now);
    for n in found.iter().take(MAX_UPKEEP as usize) {
        let Some(mut stored) = row::find(tx.conn, &shard.shard, *n)? else { continue };
        let message = format!("no worker that looked at it knew its task within {limit:?}");
        shift(tx, shard, &mut stored, Move::Die, |job| {
            end(job, State::Dead, EndReason::UnknownTask, now, keep);
            job.failure = Some(Failure::new(FailureKind::Unknown, message));
        })?;
        died.push(stored.job.id);
    }
    Ok((died, found.len() > MAX_UPKEEP as usize))
}
