//! Settlements: what must become true of a job after a run, written once, under its lease.

use std::collections::HashSet;
use std::time::Duration;

use queue_storage::model::{Attempt, AttemptEnd, EndReason, JobId, Settled, Settlement, State, Timestamp, When};
use queue_storage::storage::{SettleAnswer, StorageError};
use rusqlite::{OptionalExtension, params};

use crate::error::{Error, Result};
use crate::job::edges::{self, End};
use crate::job::history;
use crate::job::limits::Keys;
use crate::job::row::{self, number};
use crate::job::tx::Tx;
use crate::job::workers::Known;
use crate::job::write;
use crate::ledger::Ledger;

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
struct Found {
    n: i64,
    /// Whether it is waited for.
    held: bool,
    /// Whether it waited.
    waited: bool,
    suspect: bool,
    /// Whether it was given a time limit.
    limited: bool,
    /// Its latest run's start, and the number of the one before in its history.
    started_at: Timestamp,
    runs: u32,
    /// How long it is kept once it is cancelled, if it was asked to stop.
    cancel_keep: Option<i64>,
    /// Its unique key and its limits, if it has any.
    keys: Option<Vec<u8>>,
}

pub(crate) const HELD: &str = "SELECT n, held, waits_for IS NOT NULL, suspect, limits IS NOT NULL, started_at, runs, \
    cancel_keep, keys FROM queue_jobs WHERE shard = ?1 AND id = ?2 AND state = 3 AND worker = ?3 AND fence = ?4";

/// The row of the job, if the worker holds this lease of it.
fn held(tx: &Tx<'_>, shard: &Ledger, worker: &Known, settled: &Settled) -> Result<Option<Found>> {
    // Read first and written by row number then: RETURNING would cost a temporary table for each job.
    let key = params![shard.n, row::id_bytes(settled.job), row::worker_bytes(worker.id), settled.fence.0.cast_signed()];
    let mut statement = tx.conn.prepare_cached(HELD)?;
    let found = statement.query_row(key, |row| {
        Ok(Found {
            n: row.get(0)?,
            held: row.get(1)?,
            waited: row.get(2)?,
            suspect: row.get(3)?,
            limited: row.get(4)?,
            started_at: Timestamp::from_micros(row.get(5)?),
            runs: row.get(6)?,
            cancel_keep: row.get(7)?,
            keys: row.get(8)?,
        })
    });
    Ok(found.optional()?)
}

/// The start of every settlement: the lease is gone, the attempts and the state are those told.
macro_rules! update {
    ($($rest:literal),+) => {
        concat!(
            "UPDATE queue_jobs SET attempts = ?2, state = ?3, fence = NULL, lease_until = NULL, delivered = NULL",
            $($rest,)+
            " WHERE n = ?1"
        )
    };
}

/// The same for a job that goes on: its worker is gone too, and, as it has started, only its deadline ends it in time.
macro_rules! goes_on {
    ($rest:literal) => {
        update!(", worker = NULL, runs = ?4, overdue_at = deadline_at", $rest)
    };
}

/// Writes one settlement; the row it changed, or `None` when the lease is not held.
fn write(tx: &mut Tx<'_>, shard: &mut Ledger, worker: &Known, settled: &Settled) -> Result<Option<i64>> {
    let Some(found) = held(tx, shard, worker, settled)? else { return Ok(None) };
    let called_off = as_asked(&settled.settlement, &found);
    let settlement = called_off.as_ref().unwrap_or(&settled.settlement);
    shard.stopping -= u64::from(found.cancel_keep.is_some());
    let (mv, to) = settlement.target();
    shard.moves(mv, State::Running, to)?;
    if to.is_end() {
        end(tx, settled, settlement, to, &found)?;
        history::cut(tx.conn, found.n, found.runs, worker.terms.keep_attempts)?;
        let has_result = matches!(settlement, Settlement::Complete { result: Some(_), .. });
        let &Found { n, held, waited, limited, .. } = &found;
        edges::ended(tx, shard, &End { n, state: to, has_result, held, waited, limited })?;
    } else {
        go_on(tx, worker, settled, to, &found)?;
        match settlement {
            Settlement::Retry { when, .. } | Settlement::Snooze { when, .. } => tx.hints.due_at(when.resolve(tx.now)),
            _ => {
                shard.suspects += u64::from(found.suspect);
                tx.hints.ready = true;
            }
        }
    }
    if let Some(keys) = &found.keys {
        let keys = Keys::read(keys)?;
        if let Settlement::Snooze { hold: Some(hold), .. } = &settled.settlement {
            keys.close(tx, shard, *hold)?;
        }
        keys.moved(tx, shard, (found.n, settled.job), (State::Running, to))?;
    }
    Ok(Some(found.n))
}

/// What is written instead for a job that was asked to stop and would live on.
fn as_asked(settlement: &Settlement, found: &Found) -> Option<Settlement> {
    let keep = Duration::from_micros(found.cancel_keep?.unsigned_abs());
    let failure = match settlement {
        Settlement::Retry { failure, .. } => Some(failure.clone()),
        Settlement::Snooze { .. } | Settlement::Release => None,
        _ => return None,
    };
    Some(Settlement::Cancel { reason: EndReason::Requested, failure, keep })
}

/// Writes the end of a job.
fn end(tx: &Tx<'_>, settled: &Settled, settlement: &Settlement, to: State, found: &Found) -> Result<()> {
    let (n, attempts, state, now) = (found.n, settled.attempts, number(to), tx.now.as_micros());
    let until = |keep: &Duration| (tx.now + *keep).as_micros();
    match settlement {
        Settlement::Complete { result, keep } => tx
            .conn
            .prepare_cached(update!(", suspect = 0, ended_at = ?4, keep_until = ?5, result = ?6"))?
            .execute(params![n, attempts, state, now, until(keep), result.as_deref()])?,
        Settlement::Cancel { reason, failure: None, keep } => tx
            .conn
            .prepare_cached(update!(", suspect = 0, ended_at = ?4, keep_until = ?5, reason = ?6"))?
            .execute(params![n, attempts, state, now, until(keep), reason.as_str()])?,
        Settlement::Die { reason, failure, keep } | Settlement::Cancel { reason, failure: Some(failure), keep } => {
            let (kind, message, error_type, version) = write::failure(Some(failure));
            tx.conn
                .prepare_cached(update!(
                    ", suspect = 0, ended_at = ?4, keep_until = ?5, reason = ?6, failure_kind = ?7, \
                     failure_message = ?8, failure_type = ?9, failure_version = ?10"
                ))?
                .execute(params![
                    n,
                    attempts,
                    state,
                    now,
                    until(keep),
                    reason.as_str(),
                    kind,
                    message,
                    error_type,
                    version
                ])?
        }
        other => return Err(unknown(settled.job, other)),
    };
    Ok(())
}

/// Writes what a run leaves that did not end its job.
fn go_on(tx: &Tx<'_>, worker: &Known, settled: &Settled, to: State, found: &Found) -> Result<()> {
    let (ended, failure) = match &settled.settlement {
        Settlement::Retry { failure, .. } => (AttemptEnd::Failed, Some(failure)),
        Settlement::Snooze { .. } => (AttemptEnd::Snoozed, None),
        _ => (AttemptEnd::Released, None),
    };
    let run = Attempt::remembered(worker.id, found.started_at, tx.now, ended, failure);
    let runs = history::remember(tx.conn, found.n, found.runs, &run, worker.terms.keep_attempts)?;
    let (n, attempts, state) = (found.n, settled.attempts, number(to));
    let due = |when: &When| when.resolve(tx.now).as_micros();
    match &settled.settlement {
        Settlement::Retry { when, failure } => {
            let (kind, message, error_type, version) = write::failure(Some(failure));
            tx.conn
                .prepare_cached(goes_on!(
                    ", suspect = 0, due_at = ?5, failure_kind = ?6, failure_message = ?7, failure_type = ?8, \
                     failure_version = ?9"
                ))?
                .execute(params![n, attempts, state, runs, due(when), kind, message, error_type, version])?
        }
        Settlement::Snooze { when, .. } => tx
            .conn
            .prepare_cached(goes_on!(", suspect = 0, due_at = ?5"))?
            .execute(params![n, attempts, state, runs, due(when)])?,
        Settlement::Release => tx.conn.prepare_cached(goes_on!(""))?.execute(params![n, attempts, state, runs])?,
        other => return Err(unknown(settled.job, other)),
    };
    Ok(())
}

fn unknown(job: JobId, settlement: &Settlement) -> Error {
    let message = format!("job {job}: this storage is too old for the settlement {settlement:?}");
    Error::Refused(StorageError::invalid(message))
}
