//! Edges from ended jobs, followed: whoever waits for a completed job comes nearer, whoever waits for another is cancelled.

use queue_storage::model::{EndReason, JobId, Move, State, Timestamp};
use queue_storage::storage::MAX_UPKEEP;
use rusqlite::{OptionalExtension, params};

use crate::error::{Error, Result};
use crate::job::cells;
use crate::job::edges::{self, End};
use crate::job::more::More;
use crate::job::row::{self, Stored};
use crate::job::shift::{end, shift};
use crate::job::tx::Tx;
use crate::ledger::Ledger;

/// The most edges followed by one call.
pub(crate) const BUDGET: u32 = MAX_UPKEEP;

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
    let (id, state) = (cells::job_id(&id)?, cells::state(state)?);
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
    let Child { id, state: from, more } = child_of(tx, child)?;
    if more.is_limited() {
        return reach(tx, shard, child);
    }
    let (to, due_at) = more.when.start(tx.now);
    shard.moves(Move::Reach, from, to)?;
    let sequence = (to == State::Ready).then(|| shard.next_sequence().cast_signed());
    tx.conn
        .prepare_cached("UPDATE queue_jobs SET state = ?2, seq = ?3, due_at = ?4 WHERE n = ?1")?
        .execute(params![child, cells::number(to), sequence, due_at.map(Timestamp::as_micros)])?;
    match due_at {
        Some(due) if to == State::Scheduled => tx.hints.due_at(due),
        _ => tx.hints.ready = true,
    }
    tx.hints.jobs.push(id);
    Ok(())
}

/// Lets a job with a time limit be reached: what is counted from when it is due is known now.
fn reach(tx: &mut Tx<'_>, shard: &mut Ledger, child: i64) -> Result<()> {
    let mut stored = stored(tx, shard, child)?;
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
    let Child { id, state: from, more } = child_of(tx, child)?;
    let keep_until = keep.unwrap_or(tx.now).max(tx.now);
    if more != More::default() {
        let (mut stored, now) = (stored(tx, shard, child)?, tx.now);
        return shift(tx, shard, &mut stored, Move::Cancel, |job| {
            end(job, State::Cancelled, EndReason::Dependency, now, keep_until - now);
            job.culprit = Some(culprit);
        });
    }
    shard.moves(Move::Cancel, from, State::Cancelled)?;
    let more = More { culprit: Some(culprit), ..more }.encode(id)?;
    let held = tx
        .conn
        .prepare_cached(
            "UPDATE queue_jobs SET state = 6, ended_at = ?2, keep_until = ?3, reason = ?4, more = ?5 \
             WHERE n = ?1 RETURNING held",
        )?
        .query_row(
            params![child, tx.now.as_micros(), keep_until.as_micros(), EndReason::Dependency.as_str(), more],
            |row| row.get(0),
        )?;
    tx.hints.jobs.push(id);
    edges::ended(
        tx,
        shard,
        &End { n: child, state: State::Cancelled, has_result: false, held, waited: true, limited: false },
    )
}

/// A job that waits.
struct Child {
    id: JobId,
    state: State,
    more: More,
}

fn child_of(tx: &Tx<'_>, child: i64) -> Result<Child> {
    let found = tx
        .conn
        .prepare_cached("SELECT id, state, more FROM queue_jobs WHERE n = ?1")?
        .query_row([child], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
        })
        .optional()?;
    let (id, state, more) = found.ok_or_else(astray)?;
    let id = cells::job_id(&id)?;
    Ok(Child { id, state: cells::state(state)?, more: More::read(id, more.as_deref())? })
}

fn stored(tx: &Tx<'_>, shard: &Ledger, child: i64) -> Result<Stored> {
    row::find(tx.conn, &shard.shard, child)?.ok_or_else(astray)
}

fn astray() -> Error {
    Error::corrupt("an edge leads to a job that is not stored")
}
