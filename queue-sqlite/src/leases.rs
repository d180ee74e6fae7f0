//! Leases: silences noted, ended ones taken back, and when to look again.

use std::time::Duration;

use queue_storage::model::{
    Attempt, AttemptEnd, EndReason, Failure, FailureKind, Job, Lease, Move, State, Timestamp, WorkerId,
};
use queue_storage::storage::{Controls, LeaseTerms, MAX_LAPSES, MAX_UPKEEP};
use rusqlite::{OptionalExtension, params};

use crate::error::Result;
use crate::job::cells;
use crate::job::history;
use crate::job::row::{self, Stored};
use crate::job::shift::{end, shift};
use crate::job::tx::Tx;
use crate::job::workers::{Known, Workers};
use crate::job::write;
use crate::ledger::Ledger;
use crate::room::Room;
use crate::schedules;

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
    let leases: Vec<(i64, i64, Vec<u8>)> = tx
        .conn
        .prepare_cached(
            "SELECT n, lease_until, worker FROM queue_jobs WHERE shard = ?1 AND state = 3 AND lease_until > ?2",
        )?
        .query_map(params![shard.n, tx.now.as_micros()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (n, until, holder) in leases {
        let latest = (tx.now + workers.terms(tx, cells::worker_id(&holder)?)?.length).as_micros();
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

pub(crate) const ENDED: &str = "SELECT n FROM queue_jobs \
    WHERE shard = ?1 AND state = 3 AND lease_until <= ?2 AND worker <> ?3 ORDER BY lease_until LIMIT ?4";

/// Takes ended leases of other workers back, earliest first; whether more are left.
pub(crate) fn reclaim(tx: &mut Tx<'_>, workers: &mut Workers, shard: &mut Ledger, worker: &Known) -> Result<bool> {
    if shard.count(State::Running) == 0 {
        return Ok(false);
    }
    let caller = cells::worker_bytes(worker.id);
    let ended: Vec<i64> = tx
        .conn
        .prepare_cached(ENDED)?
        .query_map(params![shard.n, over(tx, shard).as_micros(), caller, MAX_UPKEEP + 1], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for n in ended.iter().take(MAX_UPKEEP as usize) {
        let Some(mut stored) = row::find(tx.conn, &shard.shard, *n)? else { continue };
        let Some(lease) = stored.job.lease else { continue };
        let terms = workers.terms(tx, lease.worker)?;
        take_back(tx, shard, &mut stored, lease, &terms)?;
    }
    Ok(ended.len() > MAX_UPKEEP as usize)
}

/// What becomes of a job whose lease has ended.
fn take_back(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored, lease: Lease, terms: &LeaseTerms) -> Result<()> {
    let (now, asked, started_at) = (tx.now, stored.cancel_keep, stored.job.started_at.unwrap_or_default());
    let mut run = None;
    shift(tx, shard, stored, Move::Reclaim, |job| {
        let (how, limit) = lose(job, lease, terms);
        let failure = job.failure.clone().filter(|_| lease.delivered);
        job.lease = None;
        if let Some(keep) = asked {
            end(job, State::Cancelled, EndReason::Requested, now, keep);
        } else if let Some(reason) = limit {
            end(job, State::Dead, reason, now, terms.keep_dead);
        } else {
            (job.state, job.worker) = (State::Ready, None);
            run = Some(Attempt::remembered(lease.worker, started_at, now, how, failure.as_ref()));
        }
    })?;
    let most = terms.keep_attempts;
    let Some(run) = run else { return history::cut(tx.conn, stored.n, stored.runs, most) };
    stored.runs = history::remember(tx.conn, stored.n, stored.runs, &run, most)?;
    stored.cancel_keep = None;
    write::more(tx.conn, stored.n, stored.job.id, &stored.more())
}

/// Counts a lost lease: how the run ended, and the reason if the job is dead of it.
fn lose(job: &mut Job, lease: Lease, terms: &LeaseTerms) -> (AttemptEnd, Option<EndReason>) {
    let vanished = |times: u32, what: &str| {
        let message = format!("worker {} vanished {what} this job (time {times})", lease.worker);
        Some(Failure::new(FailureKind::Crash, message))
    };
    if !lease.delivered {
        job.lapses += 1;
        let too_often = terms.crash_limit.is_some() && job.lapses >= MAX_LAPSES;
        if too_often {
            job.failure = vanished(job.lapses, "on receiving");
        }
        return (AttemptEnd::Lapsed, too_often.then_some(EndReason::Crashed));
    }
    if job.at_most_once {
        job.failure = vanished(1, "while it ran");
        return (AttemptEnd::Crashed, Some(EndReason::Interrupted));
    }
    (job.crashes, job.suspect) = (job.crashes + 1, true);
    job.failure = vanished(job.crashes, "while it ran");
    let too_often = terms.crash_limit.is_some_and(|limit| job.crashes >= limit.max(1));
    (AttemptEnd::Crashed, too_often.then_some(EndReason::Crashed))
}

pub(crate) const NEXT_END: &str = "SELECT lease_until FROM queue_jobs \
    WHERE shard = ?1 AND state = 3 AND lease_until > ?2 ORDER BY lease_until LIMIT 1";

/// After how long another look is worth while although nothing happens until then.
pub(crate) fn look_again(tx: &Tx<'_>, shard: &Ledger, worker: &Known, controls: &Controls) -> Result<Option<Duration>> {
    let resumed = resumes(controls, worker.id);
    let has_heads = shard.count(State::Ready) > shard.blocked + shard.outbox;
    let opens = if has_heads { Room::of(tx, shard, controls)?.opens_at(tx.now) } else { None };
    let ticks = schedules::next_after(tx.conn, shard, tx.now)?;
    let moments = [tx.next_due(shard)?, tx.next_overdue(shard)?, tx.next_window(shard)?, opens, resumed, ticks];
    let due = moments.into_iter().flatten().min().map(|at| at - tx.now);
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
    // Leases that are over and still here are spared until the grace ends.
    let ends = match (grace, running) {
        (Some(grace), _) if spared(tx, shard)? => Some(grace),
        (grace, running) => running.map(|running| running.max(grace.unwrap_or(running))),
    };
    let ends = ends.map(|moment| moment - tx.now);
    Ok([due, ends, Some(worker.terms.watch_every())].into_iter().flatten().min())
}

/// The first end of a pause that concerns the worker.
fn resumes(controls: &Controls, worker: WorkerId) -> Option<Timestamp> {
    let pauses = controls.queue.iter().chain(controls.workers.get(&worker)).chain(controls.tasks.values());
    pauses.filter_map(|pause| pause.until).min()
}

pub(crate) const OVER: &str = "SELECT 1 FROM queue_jobs WHERE shard = ?1 AND state = 3 AND lease_until <= ?2 LIMIT 1";

/// Whether an ended lease waits for the end of a silence's grace.
fn spared(tx: &Tx<'_>, shard: &Ledger) -> Result<bool> {
    Ok(tx.conn.prepare_cached(OVER)?.exists(params![shard.n, tx.now.as_micros()])?)
}
