//! Edges from ended jobs, followed: whoever waits is told, and then waits on, is reached, or is cancelled.

use queue_storage::model::{EndReason, JobId, Move, State, Timestamp, When};
use queue_storage::storage::MAX_UPKEEP;
use rusqlite::{OptionalExtension, params};

use crate::error::{Error, Result};
use crate::job::cells;
use crate::job::edges::{self, End};
use crate::job::fate::{self, Cancelled, Fate, Told};
use crate::job::more::More;
use crate::job::row::{self, Stored};
use crate::job::shift::shift;
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
    let Some(parent) = edges::by_row(tx, shard, parent)? else { return Ok(true) };
    let Some(told) = parent.told() else { return Ok(true) };
    let children = edges::waiting(tx, parent.n, *budget + 1)?;
    let all = children.len() <= *budget as usize;
    for child in children.into_iter().take(*budget as usize) {
        *budget -= 1;
        edges::strike(tx, &parent, child)?;
        tell(tx, shard, child, told)?;
    }
    if all && parent.state == State::Dead { edges::release(tx, parent.n, budget) } else { Ok(all) }
}

/// Tells a waiting job of an end that it waited for, whose edge is struck.
fn tell(tx: &mut Tx<'_>, shard: &mut Ledger, child: i64, told: Told) -> Result<()> {
    let was_last = !edges::waits(tx, child)?;
    if told.completed && !was_last {
        return Ok(());
    }
    let Child { id, more } = child_of(tx, child)?;
    match told.means(more.trigger, was_last) {
        Fate::Waits => Ok(()),
        Fate::Reached if was_last && more.node.is_task() && !more.is_limited() => {
            reach_plain(tx, shard, child, id, more.when)
        }
        Fate::Reached => reach(tx, shard, &mut stored(tx, shard, child)?),
        Fate::Cancelled(how) if more == More::default() => cancel_plain(tx, shard, child, id, how),
        Fate::Cancelled(how) => cancel(tx, shard, &mut stored(tx, shard, child)?, how),
    }
}

/// Lets a waiting job be reached.
pub(crate) fn reach(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored) -> Result<()> {
    edges::strike_rest(tx, stored.n)?;
    let mut reached = stored.job.clone();
    fate::reach(&mut reached, tx.now);
    reached.sequence = (reached.state == State::Ready).then(|| shard.next_sequence());
    shift(tx, shard, stored, Move::Reach, |job| *job = reached)
}

/// Cancels a waiting job for an end that it was told of.
pub(crate) fn cancel(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored, how: Cancelled) -> Result<()> {
    let now = tx.now;
    shift(tx, shard, stored, Move::Cancel, |job| fate::cancel(job, how, now))
}

/// The same as [`reach`] for the run of a task without a time limit that waits no more.
fn reach_plain(tx: &mut Tx<'_>, shard: &mut Ledger, child: i64, id: JobId, when: When) -> Result<()> {
    let (to, due_at) = when.start(tx.now);
    shard.moves(Move::Reach, State::Waiting, to)?;
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

/// The same as [`cancel`] for a job that has nothing of what few have.
fn cancel_plain(tx: &mut Tx<'_>, shard: &mut Ledger, child: i64, id: JobId, how: Cancelled) -> Result<()> {
    let Cancelled { reason, culprit, keep_until } = how;
    let keep_until = keep_until.unwrap_or(tx.now).max(tx.now);
    shard.moves(Move::Cancel, State::Waiting, State::Cancelled)?;
    let more = More { culprit, ..More::default() }.encode(id)?;
    let held = tx
        .conn
        .prepare_cached(
            "UPDATE queue_jobs SET state = 6, ended_at = ?2, keep_until = ?3, reason = ?4, more = ?5 \
             WHERE n = ?1 RETURNING held",
        )?
        .query_row(params![child, tx.now.as_micros(), keep_until.as_micros(), reason.as_str(), more], |row| {
            row.get(0)
        })?;
    let keeps = reason == EndReason::Dependency;
    let state = State::Cancelled;
    tx.hints.moved(id, Move::Cancel, State::Waiting, state);
    edges::ended(tx, shard, &End { n: child, state, has_result: false, held, waited: true, keeps, limited: false })
}

/// A job that waits.
struct Child {
    id: JobId,
    more: More,
}

fn child_of(tx: &Tx<'_>, child: i64) -> Result<Child> {
    let mut statement = tx.conn.prepare_cached("SELECT id, more FROM queue_jobs WHERE n = ?1 AND state = 0")?;
    let found = statement.query_row([child], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<Vec<u8>>>(1)?)));
    let (id, more) = found.optional()?.ok_or_else(astray)?;
    let id = cells::job_id(&id)?;
    Ok(Child { id, more: More::read(id, more.as_deref())? })
}

fn stored(tx: &Tx<'_>, shard: &Ledger, child: i64) -> Result<Stored> {
    row::find(tx.conn, &shard.shard, child)?.ok_or_else(astray)
}

fn astray() -> Error {
    Error::corrupt("an edge leads to a job that does not wait")
}
