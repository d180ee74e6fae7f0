//! Leases: silences noted, ended ones taken back, and when to look again.

use std::sync::Arc;
use std::time::Duration;

use queue_storage::model::{EndReason, Failure, FailureKind, Move, State, Timestamp};
use queue_storage::storage::{LeaseTerms, MAX_LAPSES, MAX_UPKEEP};
use rusqlite::{OptionalExtension, params};

use crate::edges::{self, End};
use crate::error::Result;
use crate::ledger::Ledger;
use crate::row::{self, micros};
use crate::tx::Tx;
use crate::workers::{Known, Workers};

/// Notes that the shard was called, and what a silence before it means.
pub(crate) fn note(tx: &Tx<'_>, workers: &mut Workers, shard: &mut Ledger, worker: &Known) -> Result<()> {
    let Some(seen) = shard.seen_at.replace(tx.now) else { return Ok(()) };
    if tx.now < seen {
        shard.silent_since = Some(tx.now);
        shard.spare_until = Some(tx.now + worker.terms.grace());
        shorten(tx, workers, shard)?;
    } else if tx.now - seen > worker.terms.silence() && shard.count(State::Running) > 0 {
        shard.silent_since = Some(seen);
        shard.spare_until = Some(tx.now + worker.terms.grace());
    }
    Ok(())
}

/// After the clock went back: no lease ends later than its worker's length from now. As many as there are leases.
fn shorten(tx: &Tx<'_>, workers: &mut Workers, shard: &Ledger) -> Result<()> {
    let leases: Vec<(i64, i64, i64)> = tx
        .conn
        .prepare_cached(
            "SELECT n, lease_until, worker FROM queue_jobs WHERE shard = ?1 AND state = 3 AND lease_until > ?2",
        )?
        .query_map(params![shard.n, tx.now.as_micros()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (n, until, holder) in leases {
        let latest = (tx.now + workers.terms(tx, holder)?.0.length).as_micros();
        if until > latest {
            tx.conn.prepare_cached("UPDATE queue_jobs SET lease_until = ?2 WHERE n = ?1")?.execute([n, latest])?;
        }
    }
    Ok(())
}

/// The latest end of a lease that may be taken back now.
fn over(tx: &Tx<'_>, shard: &Ledger) -> Timestamp {
    match (shard.spare_until, shard.silent_since) {
        (Some(until), Some(since)) if tx.now < until => since.min(tx.now),
        _ => tx.now,
    }
}

pub(crate) const ENDED: &str = "SELECT n, worker FROM queue_jobs \
    WHERE shard = ?1 AND state = 3 AND lease_until <= ?2 AND worker <> ?3 ORDER BY lease_until LIMIT ?4";

/// Takes ended leases of other workers back, earliest first; whether more are left.
pub(crate) fn reclaim(tx: &mut Tx<'_>, workers: &mut Workers, shard: &mut Ledger, worker: &Arc<Known>) -> Result<bool> {
    if shard.count(State::Running) == 0 {
        return Ok(false);
    }
    let ended: Vec<(i64, i64)> = tx
        .conn
        .prepare_cached(ENDED)?
        .query_map(params![shard.n, over(tx, shard).as_micros(), worker.n, MAX_UPKEEP + 1], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    for (n, holder) in ended.iter().take(MAX_UPKEEP as usize) {
        let (terms, id) = workers.terms(tx, *holder)?;
        let name = id.map_or_else(|| "a forgotten worker".to_owned(), |id| format!("worker {id}"));
        take_back(tx, shard, *n, &terms, &name)?;
    }
    Ok(ended.len() > MAX_UPKEEP as usize)
}

/// What becomes of a job whose lease has ended.
fn take_back(tx: &mut Tx<'_>, shard: &mut Ledger, n: i64, terms: &LeaseTerms, holder: &str) -> Result<()> {
    let Some(mut job) = row::find(tx.conn, &shard.shard, n)? else { return Ok(()) };
    let delivered = job.lease.is_some_and(|lease| lease.delivered);
    let vanished = |what: &str, times: u32| {
        Failure::new(FailureKind::Crash, format!("{holder} vanished {what} this job, for the {times}. time"))
    };
    let mut end = None;
    if !delivered {
        job.lapses += 1;
        if terms.crash_limit.is_some() && job.lapses >= MAX_LAPSES {
            job.failure = Some(vanished("on receiving", job.lapses));
            end = Some(EndReason::Crashed);
        }
    } else if job.at_most_once {
        job.failure = Some(vanished("while it ran", 1));
        end = Some(EndReason::Interrupted);
    } else {
        job.crashes += 1;
        job.suspect = true;
        job.failure = Some(vanished("while it ran", job.crashes));
        end = terms.crash_limit.filter(|limit| job.crashes >= (*limit).max(1)).map(|_| EndReason::Crashed);
    }
    let to = if end.is_some() { State::Dead } else { State::Ready };
    shard.moves(Move::Reclaim, State::Running, to)?;
    let keep_until = end.as_ref().map(|_| tx.now + terms.keep_dead);
    let held: bool = tx
        .conn
        .prepare_cached(
            "UPDATE queue_jobs SET state = ?2, worker = NULL, fence = NULL, lease_until = NULL, delivered = NULL, \
             lapses = ?3, crashes = ?4, suspect = ?5, ended_at = ?6, keep_until = ?7, reason = ?8, failure_kind = ?9, \
             failure_message = ?10, failure_type = ?11 WHERE n = ?1 RETURNING held",
        )?
        .query_row(
            params![
                n,
                row::number(to),
                job.lapses,
                job.crashes,
                job.suspect,
                micros(end.as_ref().map(|_| tx.now)),
                micros(keep_until),
                end.as_ref().map(EndReason::as_str),
                job.failure.as_ref().map(|failure| failure.kind.as_str()),
                job.failure.as_ref().map(|failure| &failure.message),
                job.failure.as_ref().and_then(|failure| failure.error_type.as_ref()),
            ],
            |row| row.get(0),
        )?;
    tx.hints.jobs.push(job.id);
    if end.is_some() {
        let waited = !job.waits_for.is_empty();
        edges::ended(tx, shard, &End { n, state: to, has_result: false, held, waited })?;
    } else {
        shard.suspects += u64::from(job.suspect);
        tx.hints.ready = true;
    }
    Ok(())
}

pub(crate) const NEXT_END: &str = "SELECT lease_until FROM queue_jobs \
    WHERE shard = ?1 AND state = 3 AND lease_until > ?2 ORDER BY lease_until LIMIT 1";

/// After how long another look is worth while although nothing happens until then.
pub(crate) fn look_again(tx: &Tx<'_>, shard: &Ledger, worker: &Known) -> Result<Option<Duration>> {
    let due = tx.next_due(shard)?.map(|due| due - tx.now);
    if shard.count(State::Running) == 0 {
        return Ok(due);
    }
    let grace = shard.spare_until.filter(|until| *until > tx.now);
    let running = tx
        .conn
        .prepare_cached(NEXT_END)?
        .query_row(params![shard.n, tx.now.as_micros()], |row| row.get::<_, i64>(0))
        .optional()?
        .map(Timestamp::from_micros);
    // Leases that are over and still here are spared until the grace ends, or the caller's own to renew.
    let ends = match (grace, running) {
        (Some(grace), _) if spared(tx, shard, worker)? => Some(grace),
        (grace, running) => running.map(|running| running.max(grace.unwrap_or(running))),
    };
    let ends = ends.map(|moment| moment - tx.now);
    Ok([due, ends, Some(worker.terms.watch_every())].into_iter().flatten().min())
}

/// Whether an ended lease of another worker waits for the end of a silence's grace.
fn spared(tx: &Tx<'_>, shard: &Ledger, worker: &Known) -> Result<bool> {
    let found = tx.conn.prepare_cached(ENDED)?.exists(params![shard.n, tx.now.as_micros(), worker.n, 1])?;
    Ok(found)
}
