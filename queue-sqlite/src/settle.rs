//! Settlements: what must become true of a job after a run, written once, under its lease.

use std::collections::HashSet;

use queue_storage::model::{JobId, Settled, Settlement, State};
use queue_storage::storage::{SettleAnswer, StorageError};
use rusqlite::{OptionalExtension, params};

use crate::edges::{self, End};
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::row::{self, number};
use crate::tx::Tx;
use crate::workers::Known;

/// Writes the settlements whose lease is held; `rows` gets the rows they changed.
pub(crate) fn settle(
    tx: &mut Tx<'_>,
    shard: &mut Ledger,
    worker: &Known,
    settlements: &[Settled],
    rows: &mut HashSet<i64>,
) -> Result<Vec<SettleAnswer>> {
    let mut answers = Vec::with_capacity(settlements.len());
    for settled in settlements {
        answers.push(match write(tx, shard, worker, settled)? {
            Some(n) => {
                rows.insert(n);
                tx.hints.jobs.push(settled.job);
                SettleAnswer::Applied
            }
            None => SettleAnswer::Lost,
        });
    }
    Ok(answers)
}

/// What is known of a leased row before it is settled.
#[derive(Clone, Copy)]
struct Found {
    n: i64,
    /// Whether it is waited for.
    held: bool,
    /// Whether it waited.
    waited: bool,
    suspect: bool,
}

pub(crate) const HELD: &str = "SELECT n, held, waits_for IS NOT NULL, suspect FROM queue_jobs \
    WHERE shard = ?1 AND id = ?2 AND state = 3 AND worker = ?3 AND fence = ?4";

/// The row of the job, if the worker holds this lease of it.
fn held(tx: &Tx<'_>, shard: &Ledger, worker: &Known, settled: &Settled) -> Result<Option<Found>> {
    // Read first and written by row number then: RETURNING would cost a temporary table for each job.
    let found = tx
        .conn
        .prepare_cached(HELD)?
        .query_row(params![shard.n, row::id_bytes(settled.job), worker.n, settled.fence.0.cast_signed()], |row| {
            Ok(Found { n: row.get(0)?, held: row.get(1)?, waited: row.get(2)?, suspect: row.get(3)? })
        })
        .optional()?;
    Ok(found)
}

/// The start of every settlement: the lease is gone, the attempts and the state are those told.
macro_rules! update {
    ($rest:literal) => {
        concat!(
            "UPDATE queue_jobs SET attempts = ?2, state = ?3, worker = NULL, fence = NULL, lease_until = NULL, \
             delivered = NULL",
            $rest,
            " WHERE n = ?1"
        )
    };
}

/// Writes one settlement; the row it changed, or `None` when the lease is not held.
fn write(tx: &mut Tx<'_>, shard: &mut Ledger, worker: &Known, settled: &Settled) -> Result<Option<i64>> {
    let Some(found) = held(tx, shard, worker, settled)? else { return Ok(None) };
    let (mv, to) = settled.settlement.target();
    shard.moves(mv, State::Running, to)?;
    let (n, attempts, state, now, conn) = (found.n, settled.attempts, number(to), tx.now, tx.conn);
    match &settled.settlement {
        Settlement::Complete { result, keep } => conn
            .prepare_cached(update!(", suspect = 0, ended_at = ?4, keep_until = ?5, result = ?6"))?
            .execute(params![n, attempts, state, now.as_micros(), (now + *keep).as_micros(), result.as_deref()])?,
        Settlement::Die { reason, failure, keep } => conn
            .prepare_cached(update!(
                ", suspect = 0, ended_at = ?4, keep_until = ?5, reason = ?6, failure_kind = ?7, failure_message = ?8, \
                 failure_type = ?9"
            ))?
            .execute(params![
                n,
                attempts,
                state,
                now.as_micros(),
                (now + *keep).as_micros(),
                reason.as_str(),
                failure.kind.as_str(),
                failure.message,
                failure.error_type
            ])?,
        Settlement::Retry { when, failure } => conn
            .prepare_cached(update!(
                ", suspect = 0, due_at = ?4, failure_kind = ?5, failure_message = ?6, failure_type = ?7"
            ))?
            .execute(params![
                n,
                attempts,
                state,
                when.resolve(now).as_micros(),
                failure.kind.as_str(),
                failure.message,
                failure.error_type
            ])?,
        Settlement::Snooze { when } => conn.prepare_cached(update!(", suspect = 0, due_at = ?4"))?.execute(params![
            n,
            attempts,
            state,
            when.resolve(now).as_micros()
        ])?,
        Settlement::Release => conn.prepare_cached(update!(""))?.execute(params![n, attempts, state])?,
        other => return Err(unknown(settled.job, other)),
    };
    follow_up(tx, shard, settled, found)?;
    Ok(Some(n))
}

/// What follows from what was written.
fn follow_up(tx: &mut Tx<'_>, shard: &mut Ledger, settled: &Settled, found: Found) -> Result<()> {
    let Found { n, held, waited, suspect } = found;
    let (_, to) = settled.settlement.target();
    match &settled.settlement {
        Settlement::Complete { result, .. } => {
            edges::ended(tx, shard, &End { n, state: to, has_result: result.is_some(), held, waited })?;
        }
        Settlement::Die { .. } => edges::ended(tx, shard, &End { n, state: to, has_result: false, held, waited })?,
        Settlement::Retry { when, .. } | Settlement::Snooze { when } => tx.hints.due_at(when.resolve(tx.now)),
        _ => {
            shard.suspects += u64::from(suspect);
            tx.hints.ready = true;
        }
    }
    Ok(())
}

fn unknown(job: JobId, settlement: &Settlement) -> Error {
    let message = format!("job {job}: this storage is too old for the settlement {settlement:?}");
    Error::Refused(StorageError::invalid(message))
}
