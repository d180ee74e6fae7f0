//! Histories: runs that did not end their job, the last few of each.

use queue_storage::model::{Attempt, AttemptEnd, Timestamp};
use rusqlite::{Connection, Row, params};

use crate::error::{Error, Result};
use crate::job::cells::{self, worker_bytes, worker_id};

pub(crate) const RUNS: &str = "SELECT worker, started_at, ended_at, ended, failure_kind, failure_message, failure_type, \
    failure_version FROM queue_runs WHERE job = ?1 ORDER BY run";

/// The runs of the job of this row, oldest first.
pub(crate) fn of(conn: &Connection, n: i64) -> Result<Vec<Attempt>> {
    let mut statement = conn.prepare_cached(RUNS)?;
    let mut rows = statement.query([n])?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        runs.push(attempt(row)?);
    }
    Ok(runs)
}

fn attempt(row: &Row<'_>) -> Result<Attempt> {
    let blank = |_| Error::corrupt("a run in a history has no worker or end");
    let worker = worker_id(row.get_ref(0)?.as_blob().map_err(blank)?)?;
    let end = AttemptEnd::from(row.get_ref(3)?.as_str().map_err(blank)?);
    let moment = |at| row.get(at).map(Timestamp::from_micros);
    let failure = cells::failure(row, 4)?;
    Ok(Attempt::remembered(worker, moment(1)?, moment(2)?, end, failure.as_ref()))
}

/// Remembers a run that came after `runs` others, and forgets all but the last `most`. The number of its latest run is
/// then that of the job.
pub(crate) fn remember(conn: &Connection, n: i64, runs: u32, attempt: &Attempt, most: u32) -> Result<u32> {
    let run = runs + 1;
    let failure = attempt.failure.as_ref();
    if most > 0 {
        conn.prepare_cached(
            "INSERT INTO queue_runs (job, run, worker, started_at, ended_at, ended, failure_kind, failure_message, \
             failure_type, failure_version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            n,
            run,
            worker_bytes(attempt.worker),
            attempt.started_at.as_micros(),
            attempt.ended_at.as_micros(),
            attempt.end.as_str(),
            failure.map(|failure| failure.kind.as_str()),
            failure.map(|failure| &failure.message),
            failure.and_then(|failure| failure.error_type.as_ref()),
            failure.and_then(|failure| failure.version.as_ref())
        ])?;
    }
    cut(conn, n, run, most)?;
    Ok(run)
}

/// Forgets all but the last `most` of a job's `runs` runs.
pub(crate) fn cut(conn: &Connection, n: i64, runs: u32, most: u32) -> Result<()> {
    if runs > most {
        conn.prepare_cached("DELETE FROM queue_runs WHERE job = ?1 AND run <= ?2")?
            .execute([n, i64::from(runs - most)])?;
    }
    Ok(())
}

/// Forgets all runs of a job.
pub(crate) fn forget(conn: &Connection, n: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM queue_runs WHERE job = ?1")?.execute([n])?;
    Ok(())
}
