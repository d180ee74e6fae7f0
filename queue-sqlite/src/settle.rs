//! Settlements: what must become true of a job after a run, written once, under its lease.

use std::collections::HashSet;

use queue_storage::model::{JobId, Move, Settled, Settlement, State};
use queue_storage::storage::{SettleAnswer, StorageError};
use rusqlite::{OptionalExtension, Row, params};

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

/// What a settled row tells: its number, whether it was waited for, whether it waited, whether it is a suspect.
type Told = (i64, bool, bool, bool);

fn told(row: &Row<'_>) -> rusqlite::Result<Told> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

/// The lease that every settlement must match; behind it what [`told`] reads.
const HELD: &str = "WHERE shard = ?1 AND id = ?2 AND state = 3 AND worker = ?3 AND fence = ?4 \
    RETURNING n, held, waits_for IS NOT NULL, suspect";
const UNLEASED: &str = "attempts = ?5, state = ?6, worker = NULL, fence = NULL, lease_until = NULL, delivered = NULL";

/// Writes one settlement; the row it changed, or `None` when the lease is not held.
fn write(tx: &mut Tx<'_>, shard: &mut Ledger, worker: &Known, settled: &Settled) -> Result<Option<i64>> {
    let (mv, to) = settled.settlement.target();
    mv.check(State::Running, to)?;
    let lease = (shard.n, row::id_bytes(settled.job), worker.n, settled.fence.0, settled.attempts, number(to));
    let (now, conn) = (tx.now, tx.conn);
    let found = match &settled.settlement {
        Settlement::Complete { result, keep } => conn
            .prepare_cached(&format!(
                "UPDATE queue_jobs SET {UNLEASED}, suspect = 0, ended_at = ?7, keep_until = ?8, result = ?9 {HELD}"
            ))?
            .query_row(
                params![
                    lease.0, lease.1, lease.2, lease.3, lease.4, lease.5,
                    now.as_micros(), (now + *keep).as_micros(), result.as_deref()
                ],
                told,
            ),
        Settlement::Die { reason, failure, keep } => conn
            .prepare_cached(&format!(
                "UPDATE queue_jobs SET {UNLEASED}, suspect = 0, ended_at = ?7, keep_until = ?8, reason = ?9, \
                 failure_kind = ?10, failure_message = ?11, failure_type = ?12 {HELD}"
            ))?
            .query_row(
                params![
                    lease.0, lease.1, lease.2, lease.3, lease.4, lease.5,
                    now.as_micros(), (now + *keep).as_micros(), reason.as_str(),
                    failure.kind.as_str(), failure.message, failure.error_type
                ],
                told,
            ),
        Settlement::Retry { when, failure } => conn
            .prepare_cached(&format!(
                "UPDATE queue_jobs SET {UNLEASED}, suspect = 0, due_at = ?7, failure_kind = ?8, failure_message = ?9, \
                 failure_type = ?10 {HELD}"
            ))?
            .query_row(
                params![
                    lease.0, lease.1, lease.2, lease.3, lease.4, lease.5,
                    when.resolve(now).as_micros(), failure.kind.as_str(), failure.message, failure.error_type
                ],
                told,
            ),
        Settlement::Snooze { when } => conn
            .prepare_cached(&format!("UPDATE queue_jobs SET {UNLEASED}, suspect = 0, due_at = ?7 {HELD}"))?
            .query_row(
                params![lease.0, lease.1, lease.2, lease.3, lease.4, lease.5, when.resolve(now).as_micros()],
                told,
            ),
        Settlement::Release => conn
            .prepare_cached(&format!("UPDATE queue_jobs SET {UNLEASED} {HELD}"))?
            .query_row(params![lease.0, lease.1, lease.2, lease.3, lease.4, lease.5], told),
        other => return Err(unknown(settled.job, other)),
    };
    let Some((n, held, waited, suspect)) = found.optional()? else { return Ok(None) };
    follow_up(tx, shard, mv, settled, (n, held, waited, suspect))?;
    Ok(Some(n))
}

/// Counts what was written and what follows from it.
fn follow_up(tx: &mut Tx<'_>, shard: &mut Ledger, mv: Move, settled: &Settled, told: Told) -> Result<()> {
    let (n, held, waited, suspect) = told;
    let (_, to) = settled.settlement.target();
    shard.moves(mv, State::Running, to)?;
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
