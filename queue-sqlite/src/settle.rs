//! Settlements: what must become true of a job after a run, written once, under its lease.

use std::collections::HashSet;
use std::time::Duration;

use queue_storage::model::{Attempt, AttemptEnd, EndReason, JobId, Settled, Settlement, State, Timestamp, When};
use queue_storage::storage::{SettleAnswer, StorageError};
use rusqlite::{CachedStatement, params};

use crate::error::{Error, Result};
use crate::job::cells::{self, number};
use crate::job::edges::{self, End};
use crate::job::history;
use crate::job::limits;
use crate::job::more::More;
use crate::job::tx::Tx;
use crate::job::watch::{self, Kind};
use crate::job::workers::Known;
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
    if settlements.is_empty() {
        return Ok(answers);
    }
    let mut hot = Hot { held: tx.conn.prepare_cached(HELD)?, complete: tx.conn.prepare_cached(COMPLETE)? };
    for settled in settlements {
        answers.push(match write(tx, shard, worker, settled, &mut hot)? {
            Some((n, answer)) => {
                rows.insert(n);
                tx.hints.jobs.push(settled.job);
                answer
            }
            None => SettleAnswer::Lost,
        });
    }
    Ok(answers)
}

/// What most settlements run, prepared once for all of a call: asking the cache again for each is a good part of the work.
struct Hot<'c> {
    held: CachedStatement<'c>,
    complete: CachedStatement<'c>,
}

/// What is known of a leased row before it is settled.
struct Found {
    n: i64,
    /// Whether it is waited for.
    held: bool,
    /// Whether it waited.
    waited: bool,
    suspect: bool,
    /// Its latest run's start.
    started_at: Timestamp,
    /// What few jobs have.
    more: More,
}

pub(crate) const HELD: &str = "SELECT n, held, waits_for IS NOT NULL, suspect, started_at, more FROM queue_jobs \
    WHERE shard = ?1 AND id = ?2 AND state = 3 AND worker = ?3 AND fence = ?4";

/// The row of the job, if the worker holds this lease of it.
fn held(hot: &mut Hot<'_>, shard: &Ledger, worker: &Known, settled: &Settled) -> Result<Option<Found>> {
    // Read first and written by row number then: RETURNING would cost a temporary table for each job.
    let (id, holder) = (cells::id_bytes(settled.job), cells::worker_bytes(worker.id));
    let mut rows = hot.held.query(params![shard.n, id, holder, settled.fence.0.cast_signed()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let broken = |_| Error::corrupt(format!("job {}: more", settled.job));
    Ok(Some(Found {
        n: row.get(0)?,
        held: row.get(1)?,
        waited: row.get(2)?,
        suspect: row.get(3)?,
        started_at: Timestamp::from_micros(row.get(4)?),
        more: More::read(settled.job, row.get_ref(5)?.as_blob_or_null().map_err(broken)?)?,
    }))
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

/// The same for a job that goes on: its worker is gone too.
macro_rules! goes_on {
    ($rest:literal) => {
        update!(", worker = NULL, more = ?4", $rest)
    };
}

const COMPLETE: &str = update!(", suspect = 0, ended_at = ?4, keep_until = ?5, result = ?6");

/// Writes one settlement; the row it changed and the answer, or `None` when the lease is not held.
fn write(
    tx: &mut Tx<'_>,
    shard: &mut Ledger,
    worker: &Known,
    settled: &Settled,
    hot: &mut Hot<'_>,
) -> Result<Option<(i64, SettleAnswer)>> {
    let Some(mut found) = held(hot, shard, worker, settled)? else { return Ok(None) };
    let called_off = as_asked(&settled.settlement, &found);
    let settlement = called_off.as_ref().unwrap_or(&settled.settlement);
    shard.stopping -= u64::from(found.more.cancel_keep.is_some());
    let (mv, to) = settlement.target();
    shard.moves(mv, State::Running, to)?;
    if to.is_end() {
        end(tx, settled, settlement, to, &mut found, hot)?;
        history::cut(tx.conn, found.n, found.more.runs, worker.terms.keep_attempts)?;
        let has_result = matches!(settlement, Settlement::Complete { result: Some(_), .. });
        let (&Found { n, held, waited, .. }, limited) = (&found, found.more.is_limited());
        let keeps = waited && keeps_inputs(settlement);
        edges::ended(tx, shard, &End { n, state: to, has_result, held, waited, keeps, limited })?;
    } else {
        go_on(tx, shard, worker, settled, to, &mut found)?;
        match settlement {
            Settlement::Retry { when, .. } | Settlement::Snooze { when, .. } => tx.hints.due_at(when.resolve(tx.now)),
            _ => {
                shard.suspects += u64::from(found.suspect);
                tx.hints.ready = true;
            }
        }
    }
    let keys = &found.more.keys;
    if !keys.is_empty() {
        if let Settlement::Snooze { hold: Some(hold), .. } = &settled.settlement {
            limits::close(tx, shard, keys, *hold)?;
        }
        limits::went(tx, shard, (found.n, settled.job), keys, (State::Running, to))?;
    }
    let answer = if called_off.is_some() { SettleAnswer::Cancelled } else { SettleAnswer::Applied };
    Ok(Some((found.n, answer)))
}

/// What is written instead for a job that was asked to stop and would live on.
fn as_asked(settlement: &Settlement, found: &Found) -> Option<Settlement> {
    let keep = found.more.cancel_keep?;
    let failure = match settlement {
        Settlement::Retry { failure, .. } => Some(failure.clone()),
        Settlement::Snooze { .. } | Settlement::Release => None,
        _ => return None,
    };
    Some(Settlement::Cancel { reason: EndReason::Requested, failure, keep })
}

/// Whether the run's job still needs what it waited for once this has ended it: unless it completed.
fn keeps_inputs(settlement: &Settlement) -> bool {
    match settlement {
        Settlement::Cancel { reason, .. } => *reason != EndReason::NotNeeded,
        _ => matches!(settlement, Settlement::Die { .. }),
    }
}

/// Writes the end of a job.
fn end(
    tx: &Tx<'_>,
    settled: &Settled,
    settlement: &Settlement,
    to: State,
    found: &mut Found,
    hot: &mut Hot<'_>,
) -> Result<()> {
    let (n, attempts, state, now) = (found.n, settled.attempts, number(to), tx.now.as_micros());
    let until = |keep: &Duration| (tx.now + *keep).as_micros();
    match settlement {
        Settlement::Complete { result, keep } => {
            hot.complete.execute(params![n, attempts, state, now, until(keep), result.as_deref()])?
        }
        Settlement::Cancel { reason, failure: None, keep } => tx
            .conn
            .prepare_cached(update!(", suspect = 0, ended_at = ?4, keep_until = ?5, reason = ?6"))?
            .execute(params![n, attempts, state, now, until(keep), reason.as_str()])?,
        Settlement::Die { reason, failure, keep } | Settlement::Cancel { reason, failure: Some(failure), keep } => {
            found.more.failure = Some(failure.clone());
            let more = found.more.encode(settled.job)?;
            tx.conn
                .prepare_cached(update!(", suspect = 0, ended_at = ?4, keep_until = ?5, reason = ?6, more = ?7"))?
                .execute(params![n, attempts, state, now, until(keep), reason.as_str(), more])?
        }
        other => return Err(unknown(settled.job, other)),
    };
    Ok(())
}

/// Writes what a run leaves that did not end its job.
fn go_on(tx: &Tx<'_>, shard: &Ledger, worker: &Known, settled: &Settled, to: State, found: &mut Found) -> Result<()> {
    let (ended, failure) = match &settled.settlement {
        Settlement::Retry { failure, .. } => (AttemptEnd::Failed, Some(failure)),
        Settlement::Snooze { .. } => (AttemptEnd::Snoozed, None),
        _ => (AttemptEnd::Released, None),
    };
    let run = Attempt::remembered(worker.id, found.started_at, tx.now, ended, failure);
    let more = &mut found.more;
    more.runs = history::remember(tx.conn, found.n, more.runs, &run, worker.terms.keep_attempts)?;
    if let Some(failure) = failure {
        more.failure = Some(failure.clone());
    }
    // As it has started, only its deadline ends it in time.
    if let Some(deadline) = more.deadline_at {
        watch::add(tx.conn, (shard.n, found.n), Kind::Overdue, deadline)?;
    }
    let (n, attempts, state, more) = (found.n, settled.attempts, number(to), more.encode(settled.job)?);
    let due = |when: &When| when.resolve(tx.now).as_micros();
    match &settled.settlement {
        Settlement::Retry { when, .. } | Settlement::Snooze { when, .. } => tx
            .conn
            .prepare_cached(goes_on!(", suspect = 0, due_at = ?5"))?
            .execute(params![n, attempts, state, more, due(when)])?,
        Settlement::Release => tx.conn.prepare_cached(goes_on!(""))?.execute(params![n, attempts, state, more])?,
        other => return Err(unknown(settled.job, other)),
    };
    Ok(())
}

fn unknown(job: JobId, settlement: &Settlement) -> Error {
    let message = format!("job {job}: this storage is too old for the settlement {settlement:?}");
    Error::Refused(StorageError::invalid(message))
}
