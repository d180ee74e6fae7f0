//! Promotion and pruning.

use std::time::Duration;

use queue_storage::model::{JobId, Move, Shard, State, Timestamp};
use queue_storage::storage::{MAX_PRUNE, MAX_UPKEEP, Retention, Step};
use rusqlite::params;

use crate::error::Result;
use crate::job::cells;
use crate::job::edges;
use crate::job::ends;
use crate::job::history;
use crate::job::paid;
use crate::job::row::Stored;
use crate::job::tx::Tx;
use crate::job::unique;
use crate::job::workers;
use crate::job::write;
use crate::ledger::Ledger;

/// After this long without a call, what is remembered of a worker or a caller is dropped.
const FORGET_AFTER: Duration = Duration::from_secs(86_400);

pub(crate) const DUE: &str = "SELECT n, id, state, suspect FROM queue_jobs WHERE shard = ?1 AND state IN (1, 4) AND due_at <= ?2 \
    ORDER BY due_at LIMIT ?3";

/// Makes jobs ready that are due, earliest first; whether more are left.
pub(crate) fn promote(tx: &mut Tx<'_>, shard: &mut Ledger) -> Result<bool> {
    if shard.count(State::Scheduled) + shard.count(State::Retrying) == 0 {
        return Ok(false);
    }
    let due: Vec<(i64, Vec<u8>, i64, bool)> = tx
        .conn
        .prepare_cached(DUE)?
        .query_map(params![shard.n, tx.now.as_micros(), MAX_UPKEEP + 1], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<_, _>>()?;
    for (n, id, state, suspect) in due.iter().take(MAX_UPKEEP as usize) {
        shard.moves(Move::Promote, cells::state(*state)?, State::Ready)?;
        tx.conn
            .prepare_cached("UPDATE queue_jobs SET state = 2, seq = ?2 WHERE n = ?1")?
            .execute(params![n, shard.next_sequence().cast_signed()])?;
        shard.suspects += u64::from(*suspect);
        tx.hints.ready = true;
        tx.hints.jobs.push(cells::job_id(id)?);
    }
    Ok(due.len() > MAX_UPKEEP as usize)
}

macro_rules! ended {
    ($which:literal) => {
        concat!(
            "SELECT n, id, state, result IS NOT NULL, envelope IS NULL, more IS NOT NULL, waits_for IS NOT NULL \
             FROM queue_jobs WHERE shard = ?1 AND ",
            $which
        )
    };
}
pub(crate) const KEPT: &str = ended!("state >= 5 AND held = 0 AND keep_until <= ?2 ORDER BY keep_until LIMIT ?3");
pub(crate) const TRACES: &str = ended!("state = 5 AND held = 0 AND result IS NULL ORDER BY keep_until LIMIT ?2");
pub(crate) const LETTERS: &str = ended!("state = 8 AND held = 0 ORDER BY ended_at LIMIT ?2");

/// Removes ended jobs whose time has passed, or that exceed the retention; forgets workers and callers.
pub(crate) fn prune(tx: &mut Tx<'_>, shard: &Shard, retention: Retention) -> Result<Step> {
    let before = tx.now - FORGET_AFTER;
    workers::forget(tx, before, MAX_PRUNE)?;
    let Some(mut shard) = Ledger::find(tx.conn, tx.namespace, shard)? else { return Ok(Step::default()) };
    forget_callers(tx, &shard, before)?;
    unique::prune(tx, &shard)?;
    paid::prune(tx, &shard)?;
    let (died, strangers_left) = match retention.unknown {
        Some(limit) => ends::bury(tx, &mut shard, limit, retention.keep_dead)?,
        None => (Vec::new(), false),
    };
    let (removed, ended_left) = remove_ended(tx, &mut shard, retention)?;
    let done = removed + u32::try_from(died.len()).unwrap_or(0);
    if done > 0 {
        // Else nothing is written: upkeep that finds nothing to do costs no commit. What is to be followed wakes whoever
        // follows it.
        let wake = !died.is_empty() && shard.follow > 0;
        tx.finish(&mut shard, wake)?;
    }
    Ok(Step { done, more: strangers_left || ended_left, died })
}

/// Removes ended jobs, as many as one call may, each with those that it lets go of counted; how many, and whether more
/// are left.
fn remove_ended(tx: &Tx<'_>, shard: &mut Ledger, retention: Retention) -> Result<(u32, bool)> {
    let (mut removed, mut touched, mut most) = (0, 0, MAX_PRUNE);
    while touched < MAX_PRUNE as usize {
        let found = too_many(tx, shard, retention, most)?;
        if found.is_empty() {
            return Ok((removed, false));
        }
        most = most.saturating_mul(2).min(MAX_PRUNE);
        for job in found {
            let freed = remove_one(tx, shard, &job)?;
            (removed, touched) = (removed + 1, touched + 1 + freed);
            if freed > 0 {
                // What it let go of may come before the others: they are looked for again, at first one by one.
                most = 1;
            }
            if freed > 0 || touched >= MAX_PRUNE as usize {
                break;
            }
        }
    }
    Ok((removed, !too_many(tx, shard, retention, 1)?.is_empty()))
}

/// Those that are to be removed next, for one reason; at most so many.
fn too_many(tx: &Tx<'_>, shard: &Ledger, retention: Retention, most: u32) -> Result<Vec<Ended>> {
    let kept = select(tx, KEPT, params![shard.n, tx.now.as_micros(), most])?;
    let traces = shard.traces.saturating_sub(retention.traces).min(most.into());
    let letters = shard.count(State::Dead).saturating_sub(retention.dead).min(most.into());
    if !kept.is_empty() {
        return Ok(kept);
    }
    if traces > 0 {
        return select(tx, TRACES, params![shard.n, traces.cast_signed()]);
    }
    if letters > 0 { select(tx, LETTERS, params![shard.n, letters.cast_signed()]) } else { Ok(Vec::new()) }
}

/// An ended job that is to be removed.
pub(crate) struct Ended {
    n: i64,
    id: JobId,
    state: State,
    has_result: bool,
    large: bool,
    /// Whether it has anything that few jobs have, a history maybe.
    has_more: bool,
    /// Whether it waited for others, which are perhaps still kept for it.
    waited: bool,
}

impl Ended {
    /// A job that was read whole.
    pub(crate) fn of(Stored { n, job, runs, .. }: &Stored) -> Self {
        let (large, waited) = (job.envelope.len() > write::INLINE_ENVELOPE, !job.waits_for.is_empty());
        let (state, has_result) = (job.state, job.result.is_some());
        Self { n: *n, id: job.id, state, has_result, large, has_more: *runs > 0, waited }
    }
}

fn select(tx: &Tx<'_>, sql: &str, values: impl rusqlite::Params) -> Result<Vec<Ended>> {
    let mut statement = tx.conn.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Ended {
            n: row.get(0)?,
            id: cells::job_id(&row.get::<_, Vec<u8>>(1)?)?,
            state: cells::state(row.get(2)?)?,
            has_result: row.get(3)?,
            large: row.get(4)?,
            has_more: row.get(5)?,
            waited: row.get(6)?,
        });
    }
    Ok(found)
}

/// Removes an ended job that nobody needs, with all that is stored of it elsewhere; how many jobs it let go of.
pub(crate) fn remove_one(tx: &Tx<'_>, shard: &mut Ledger, job: &Ended) -> Result<usize> {
    let freed = if job.waited { edges::let_go(tx, shard, job.n)? } else { 0 };
    tx.conn.prepare_cached("DELETE FROM queue_jobs WHERE n = ?1")?.execute([job.n])?;
    if job.large {
        tx.conn.prepare_cached("DELETE FROM queue_envelopes WHERE n = ?1")?.execute([job.n])?;
    }
    if job.has_more {
        history::forget(tx.conn, job.n)?;
    }
    shard.left(job.state, 1);
    shard.prunable(job.state, job.has_result, false);
    shard.pruned_made_at = shard.pruned_made_at.max(Some(job.id.made_at()));
    Ok(freed)
}

fn forget_callers(tx: &Tx<'_>, shard: &Ledger, before: Timestamp) -> Result<()> {
    tx.conn
        .prepare_cached(
            "DELETE FROM queue_callers WHERE shard = ?1 AND caller IN \
             (SELECT caller FROM queue_callers WHERE shard = ?1 AND seen_at <= ?2 ORDER BY seen_at LIMIT ?3)",
        )?
        .execute(params![shard.n, before.as_micros(), MAX_PRUNE])?;
    Ok(())
}
