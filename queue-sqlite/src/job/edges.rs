//! Jobs that wait for jobs: edges tied, struck, followed, and results held for those who take them.

use queue_storage::model::{EndReason, JobId, Move, State, Timestamp, When};
use queue_storage::storage::MAX_UPKEEP;
use rusqlite::{OptionalExtension, params};

use crate::error::{Error, Result};
use crate::job::limits;
use crate::job::row;
use crate::job::shift::shift;
use crate::job::tx::Tx;
use crate::ledger::Ledger;

/// A job that another waits for.
#[derive(Debug)]
pub(crate) struct Parent {
    n: i64,
    pub(crate) id: JobId,
    pub(crate) state: State,
    held: bool,
    has_result: bool,
    pub(crate) keep_until: Option<Timestamp>,
}

/// A stored job of the shard that is to be waited for.
pub(crate) fn parent(tx: &Tx<'_>, shard: &Ledger, id: JobId) -> Result<Option<Parent>> {
    let mut statement = tx.conn.prepare_cached(
        "SELECT n, state, held, result IS NOT NULL, keep_until FROM queue_jobs WHERE shard = ?1 AND id = ?2",
    )?;
    let found = statement.query_row(params![shard.n, row::id_bytes(id)], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get::<_, Option<i64>>(4)?))
    });
    let Some((n, state, held, has_result, keep_until)) = found.optional()? else { return Ok(None) };
    let keep_until = keep_until.map(Timestamp::from_micros);
    Ok(Some(Parent { n, id, state: row::state(state)?, held, has_result, keep_until }))
}

/// Ties a live job to those it waits for, and holds them for it.
pub(crate) fn tie(tx: &Tx<'_>, shard: &mut Ledger, child: i64, parents: &[Parent]) -> Result<()> {
    for parent in parents {
        tx.conn
            .prepare_cached("INSERT OR IGNORE INTO queue_edges (parent, child, struck) VALUES (?1, ?2, ?3)")?
            .execute(params![parent.n, child, parent.state == State::Completed])?;
        if !parent.held {
            let held = tx
                .conn
                .prepare_cached("UPDATE queue_jobs SET held = 1 WHERE n = ?1 AND held = 0")?
                .execute([parent.n])?;
            if held == 1 {
                shard.prunable(parent.state, parent.has_result, false);
            }
        }
    }
    Ok(())
}

/// An end that was just written.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) n: i64,
    pub(crate) state: State,
    pub(crate) has_result: bool,
    pub(crate) held: bool,
    /// Whether it waited for other jobs.
    pub(crate) waited: bool,
    /// Whether it was given a time limit.
    pub(crate) limited: bool,
}

/// What follows from an end beside the counts: the jobs it waited for are let go of, and whoever waits for it is noted.
pub(crate) fn ended(tx: &Tx<'_>, shard: &mut Ledger, end: &End) -> Result<()> {
    let End { n, state, has_result, held, waited, limited } = *end;
    shard.limited -= u64::from(limited);
    if waited {
        let_go(tx, shard, n)?;
    }
    if !held {
        shard.prunable(state, has_result, true);
    } else {
        tx.conn.prepare_cached("INSERT INTO queue_follow (shard, parent) VALUES (?1, ?2)")?.execute([shard.n, n])?;
        shard.follow += 1;
    }
    Ok(())
}

/// Unties an ended job from those it waited for; what nobody else needs may be pruned.
fn let_go(tx: &Tx<'_>, shard: &mut Ledger, child: i64) -> Result<()> {
    let parents: Vec<i64> = tx
        .conn
        .prepare_cached("DELETE FROM queue_edges WHERE child = ?1 RETURNING parent")?
        .query_map([child], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for parent in parents {
        let freed = tx
            .conn
            .prepare_cached(
                "UPDATE queue_jobs SET held = 0 WHERE n = ?1 AND held = 1 \
                 AND NOT EXISTS (SELECT 1 FROM queue_edges WHERE parent = ?1) RETURNING state, result IS NOT NULL",
            )?
            .query_row([parent], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))
            .optional()?;
        if let Some((state, has_result)) = freed {
            shard.prunable(row::state(state)?, has_result, true);
        }
    }
    Ok(())
}

/// Follows edges from ended jobs, as many as `budget` allows; lowers it by those followed.
pub(crate) fn follow(tx: &mut Tx<'_>, shard: &mut Ledger, budget: &mut u32) -> Result<()> {
    while shard.follow > 0 && *budget > 0 {
        let next = tx
            .conn
            .prepare_cached("SELECT n, parent FROM queue_follow WHERE shard = ?1 ORDER BY n LIMIT 1")?
            .query_row([shard.n], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let Some((note, parent)) = next else {
            shard.follow = 0;
            return Ok(());
        };
        if follow_from(tx, shard, parent, budget)? {
            tx.conn.prepare_cached("DELETE FROM queue_follow WHERE n = ?1")?.execute([note])?;
            shard.follow -= 1;
        }
    }
    Ok(())
}

/// Follows the edges of one ended job; whether all of them are followed.
fn follow_from(tx: &mut Tx<'_>, shard: &mut Ledger, parent: i64, budget: &mut u32) -> Result<bool> {
    let found = tx
        .conn
        .prepare_cached("SELECT id, state, keep_until FROM queue_jobs WHERE n = ?1 AND shard = ?2")?
        .query_row([parent, shard.n], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?))
        })
        .optional()?;
    let Some((id, state, keep_until)) = found else { return Ok(true) };
    let (id, state) = (row::job_id(&id)?, row::state(state)?);
    if !state.is_end() {
        return Ok(true);
    }
    let children: Vec<i64> = tx
        .conn
        .prepare_cached("SELECT child FROM queue_edges WHERE parent = ?1 AND struck = 0 ORDER BY child LIMIT ?2")?
        .query_map(params![parent, *budget + 1], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let all = children.len() <= *budget as usize;
    for child in children.into_iter().take(*budget as usize) {
        *budget -= 1;
        if state == State::Completed {
            strike(tx, shard, parent, child)?;
        } else {
            cancel(tx, shard, child, id, keep_until.map(Timestamp::from_micros))?;
        }
    }
    Ok(all)
}

/// Strikes the edge from a completed job; a job whose last edge that was is reached.
fn strike(tx: &mut Tx<'_>, shard: &mut Ledger, parent: i64, child: i64) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE queue_edges SET struck = 1 WHERE parent = ?1 AND child = ?2 AND struck = 0")?
        .execute([parent, child])?;
    let waits =
        tx.conn.prepare_cached("SELECT 1 FROM queue_edges WHERE child = ?1 AND struck = 0 LIMIT 1")?.exists([child])?;
    if waits {
        return Ok(());
    }
    let Child { id, state: from, when, limited, .. } = child_of(tx, child)?;
    if limited {
        return reach(tx, shard, child);
    }
    let (to, due_at) = when.start(tx.now);
    shard.moves(Move::Reach, from, to)?;
    let sequence = (to == State::Ready).then(|| shard.next_sequence().cast_signed());
    tx.conn
        .prepare_cached("UPDATE queue_jobs SET state = ?2, seq = ?3, due_at = ?4 WHERE n = ?1")?
        .execute(params![child, row::number(to), sequence, due_at.map(Timestamp::as_micros)])?;
    match due_at {
        Some(due) if to == State::Scheduled => tx.hints.due_at(due),
        _ => tx.hints.ready = true,
    }
    tx.hints.jobs.push(id);
    Ok(())
}

/// Lets a job with a time limit be reached: what is counted from when it is due is known now.
fn reach(tx: &mut Tx<'_>, shard: &mut Ledger, child: i64) -> Result<()> {
    let found = row::find_stored(tx.conn, &shard.shard, child)?;
    let mut stored = found.ok_or_else(|| Error::corrupt("a job that is reached is not stored"))?;
    let (to, due_at) = stored.job.when.start(tx.now);
    let sequence = (to == State::Ready).then(|| shard.next_sequence());
    let now = tx.now;
    shift(tx, shard, &mut stored, Move::Reach, |job| {
        (job.state, job.due_at, job.sequence) = (to, due_at, sequence);
        job.set_limits(now);
    })
}

/// Cancels a job that waits for one that ended without completing.
fn cancel(tx: &mut Tx<'_>, shard: &mut Ledger, child: i64, culprit: JobId, keep: Option<Timestamp>) -> Result<()> {
    let Child { id, state: from, limited, keys, .. } = child_of(tx, child)?;
    shard.moves(Move::Cancel, from, State::Cancelled)?;
    let held = tx
        .conn
        .prepare_cached(
            "UPDATE queue_jobs SET state = 6, ended_at = ?2, keep_until = ?3, overdue_at = NULL, reason = ?4, culprit = ?5 \
             WHERE n = ?1 RETURNING held",
        )?
        .query_row(
            params![
                child,
                tx.now.as_micros(),
                keep.unwrap_or(tx.now).max(tx.now).as_micros(),
                EndReason::Dependency.as_str(),
                row::id_bytes(culprit)
            ],
            |row| row.get(0),
        )?;
    tx.hints.jobs.push(id);
    if let Some(keys) = keys {
        limits::Keys::read(&keys)?.moved(tx, shard, (child, id), (from, State::Cancelled))?;
    }
    ended(tx, shard, &End { n: child, state: State::Cancelled, has_result: false, held, waited: true, limited })
}

/// A job that waits.
struct Child {
    id: JobId,
    state: State,
    when: When,
    limited: bool,
    keys: Option<Vec<u8>>,
}

fn child_of(tx: &Tx<'_>, child: i64) -> Result<Child> {
    let found = tx
        .conn
        .prepare_cached("SELECT id, state, when_in, when_at, limits IS NOT NULL, keys FROM queue_jobs WHERE n = ?1")?
        .query_row([child], |row| {
            let when = row::when(row.get(2)?, row.get(3)?);
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?, when, row.get(4)?, row.get(5)?))
        })
        .optional()?;
    let (id, state, when, limited, keys) =
        found.ok_or_else(|| Error::corrupt("an edge leads to a job that is not stored"))?;
    Ok(Child { id: row::job_id(&id)?, state: row::state(state)?, when, limited, keys })
}

/// The most edges followed by one call.
pub(crate) const BUDGET: u32 = MAX_UPKEEP;
