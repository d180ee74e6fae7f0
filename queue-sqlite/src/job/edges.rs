//! Jobs that wait for jobs: edges tied, struck and untied, and jobs held for those that need them.

use std::collections::HashSet;

use queue_storage::model::{JobId, State, Timestamp};
use rusqlite::{CachedStatement, OptionalExtension, Params, Row, params};

use crate::error::{Error, Result};
use crate::job::cells;
use crate::job::fate::Told;
use crate::job::more::More;
use crate::job::tx::Tx;
use crate::ledger::Ledger;

/// What an edge still means; the numbers stored.
#[derive(Clone, Copy, Debug)]
enum Mark {
    /// The child waits for the parent.
    Open = 0,
    /// The child is live, or a gather that has completed.
    Needed = 1,
    /// The child has ended otherwise, and may be let to wait or run again.
    Kept = 2,
}

impl Mark {
    /// The mark between a child and a parent in these states.
    fn of(child: State, parent: State) -> Self {
        match child {
            State::Waiting if !parent.is_end() => Self::Open,
            State::Completed => Self::Needed,
            state if state.is_end() => Self::Kept,
            _ => Self::Needed,
        }
    }
}

/// A job that another waits for.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) n: i64,
    id: JobId,
    pub(crate) state: State,
    held: bool,
    has_result: bool,
    keep_until: Option<Timestamp>,
    /// The job whose end cancelled it.
    culprit: Option<JobId>,
}

impl Parent {
    /// Its end, to those that wait for it, if it has ended.
    pub(crate) fn told(&self) -> Option<Told> {
        let completed = self.state == State::Completed;
        let told = Told { completed, origin: self.culprit.unwrap_or(self.id), keep_until: self.keep_until };
        self.state.is_end().then_some(told)
    }

    fn read(row: &Row<'_>) -> Result<Self> {
        let id = cells::job_id(&row.get::<_, Vec<u8>>(1)?)?;
        let broken = |_| Error::corrupt(format!("job {id}: more"));
        Ok(Self {
            n: row.get(0)?,
            id,
            state: cells::state(row.get(2)?)?,
            held: row.get(3)?,
            has_result: row.get(4)?,
            keep_until: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
            culprit: More::read(id, row.get_ref(6)?.as_blob_or_null().map_err(broken)?)?.culprit,
        })
    }
}

macro_rules! parent {
    ($which:literal) => {
        concat!(
            "SELECT n, id, state, held, result IS NOT NULL, keep_until, CASE WHEN reason = 'dependency' THEN more END \
             FROM queue_jobs WHERE ",
            $which
        )
    };
}
const BY_ID: &str = parent!("shard = ?1 AND id = ?2");
const BY_ROW: &str = parent!("n = ?1 AND shard = ?2");

fn one(statement: &mut CachedStatement<'_>, values: impl Params) -> Result<Option<Parent>> {
    let mut rows = statement.query(values)?;
    rows.next()?.map(Parent::read).transpose()
}

/// The stored job of this row, if it is one of the shard.
pub(crate) fn by_row(tx: &Tx<'_>, shard: &Ledger, n: i64) -> Result<Option<Parent>> {
    one(&mut tx.conn.prepare_cached(BY_ROW)?, [n, shard.n])
}

/// The stored jobs of the shard that are to be waited for, each once, in their order; or the first that is not stored.
pub(crate) fn parents(tx: &Tx<'_>, shard: &Ledger, ids: &[JobId]) -> Result<std::result::Result<Vec<Parent>, JobId>> {
    let (mut parents, mut seen) = (Vec::with_capacity(ids.len()), HashSet::with_capacity(ids.len()));
    let mut statement = tx.conn.prepare_cached(BY_ID)?;
    for id in ids.iter().filter(|id| seen.insert(**id)) {
        match one(&mut statement, params![shard.n, cells::id_bytes(*id)])? {
            Some(parent) => parents.push(parent),
            None => return Ok(Err(*id)),
        }
    }
    Ok(Ok(parents))
}

/// Ties a job in this state to those it waited for, and holds them for it; but dead letters, which are kept by
/// themselves.
pub(crate) fn tie(tx: &Tx<'_>, shard: &mut Ledger, (child, state): (i64, State), parents: &[Parent]) -> Result<()> {
    for parent in parents.iter().filter(|parent| parent.state != State::Dead) {
        tx.conn
            .prepare_cached("INSERT OR IGNORE INTO queue_edges (parent, child, struck) VALUES (?1, ?2, ?3)")?
            .execute(params![parent.n, child, Mark::of(state, parent.state) as i64])?;
        if !parent.held {
            tx.conn.prepare_cached("UPDATE queue_jobs SET held = 1 WHERE n = ?1")?.execute([parent.n])?;
            shard.prunable(parent.state, parent.has_result, false);
        }
    }
    Ok(())
}

/// The same for one that was tied before, and perhaps still is. An edge from a dead letter goes when that is released.
pub(crate) fn tie_anew(tx: &Tx<'_>, shard: &mut Ledger, child: (i64, State), parents: &[Parent]) -> Result<()> {
    let untie = "DELETE FROM queue_edges WHERE child = ?1 AND (SELECT state FROM queue_jobs WHERE n = parent) IS NOT 8";
    tx.conn.prepare_cached(untie)?.execute([child.0])?;
    tie(tx, shard, child, parents)
}

pub(crate) const NEEDED: &str = "SELECT 1 FROM queue_edges WHERE parent = ?1 AND struck < 2 LIMIT 1";

/// Whether a live job needs the job of this row, or a gather that has completed.
pub(crate) fn is_needed(tx: &Tx<'_>, n: i64) -> Result<bool> {
    Ok(tx.conn.prepare_cached(NEEDED)?.exists([n])?)
}

pub(crate) const OPEN: &str = "SELECT child FROM queue_edges WHERE parent = ?1 AND struck = 0 ORDER BY child LIMIT ?2";

/// Rows of jobs that wait for that of this one; at most so many.
pub(crate) fn waiting(tx: &Tx<'_>, parent: i64, most: u32) -> Result<Vec<i64>> {
    let mut statement = tx.conn.prepare_cached(OPEN)?;
    let rows = statement.query_map(params![parent, most], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) const WAITS: &str = "SELECT 1 FROM queue_edges WHERE child = ?1 AND struck = 0 LIMIT 1";

/// Whether the job of this row waits for any other.
pub(crate) fn waits(tx: &Tx<'_>, child: i64) -> Result<bool> {
    Ok(tx.conn.prepare_cached(WAITS)?.exists([child])?)
}

/// Strikes an edge that is followed; that from a dead letter is gone with it.
pub(crate) fn strike(tx: &Tx<'_>, parent: &Parent, child: i64) -> Result<()> {
    let sql = match parent.state {
        State::Dead => "DELETE FROM queue_edges WHERE parent = ?1 AND child = ?2 AND struck = 0",
        _ => "UPDATE queue_edges SET struck = 1 WHERE parent = ?1 AND child = ?2 AND struck = 0",
    };
    tx.conn.prepare_cached(sql)?.execute([parent.n, child])?;
    Ok(())
}

/// Strikes the edges by which a job still waits that is reached before the last of them is followed.
pub(crate) fn strike_rest(tx: &Tx<'_>, child: i64) -> Result<()> {
    tx.conn.prepare_cached("UPDATE queue_edges SET struck = 1 WHERE child = ?1 AND struck = 0")?.execute([child])?;
    Ok(())
}

/// Keeps a dead letter for nobody any more once its edges were followed; whether as many edges as `budget` allows were
/// all there are. Lowers that by those untied.
pub(crate) fn release(tx: &Tx<'_>, letter: i64, budget: &mut u32) -> Result<bool> {
    let untied = tx
        .conn
        .prepare_cached(
            "DELETE FROM queue_edges WHERE (parent, struck, child) IN \
             (SELECT parent, struck, child FROM queue_edges WHERE parent = ?1 LIMIT ?2)",
        )?
        .execute(params![letter, *budget])?;
    *budget -= u32::try_from(untied).unwrap_or(*budget);
    let free =
        "UPDATE queue_jobs SET held = 0 WHERE n = ?1 AND NOT EXISTS (SELECT 1 FROM queue_edges WHERE parent = ?1)";
    Ok(tx.conn.prepare_cached(free)?.execute([letter])? == 1)
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
    /// Whether it still needs them.
    pub(crate) keeps: bool,
    /// Whether it was given a time limit.
    pub(crate) limited: bool,
}

/// What follows from an end beside the counts: the jobs it waited for are let go of, unless they are still needed, and
/// whoever waits for it is noted.
pub(crate) fn ended(tx: &Tx<'_>, shard: &mut Ledger, end: &End) -> Result<()> {
    let End { n, state, has_result, held, waited, keeps, limited } = *end;
    shard.limited -= u64::from(limited);
    if waited && keeps {
        tx.conn
            .prepare_cached("UPDATE queue_edges SET struck = ?2 WHERE child = ?1 AND struck < ?2")?
            .execute([n, Mark::of(state, state) as i64])?;
    } else if waited {
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

/// Unties an ended job from those it waited for, and says how many; what nobody else needs may be pruned.
pub(crate) fn let_go(tx: &Tx<'_>, shard: &mut Ledger, child: i64) -> Result<usize> {
    let parents: Vec<i64> = tx
        .conn
        .prepare_cached("DELETE FROM queue_edges WHERE child = ?1 RETURNING parent")?
        .query_map([child], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for parent in &parents {
        let freed = tx
            .conn
            .prepare_cached(
                "UPDATE queue_jobs SET held = 0 WHERE n = ?1 AND held = 1 \
                 AND NOT EXISTS (SELECT 1 FROM queue_edges WHERE parent = ?1) RETURNING state, result IS NOT NULL",
            )?
            .query_row([parent], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))
            .optional()?;
        if let Some((state, has_result)) = freed {
            shard.prunable(cells::state(state)?, has_result, true);
        }
    }
    Ok(parents.len())
}
