//! Jobs that wait for jobs: edges tied and untied, and results held for those who take them.

use queue_storage::model::{JobId, State, Timestamp};
use rusqlite::{OptionalExtension, params};

use crate::error::Result;
use crate::job::cells;
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
    let found = statement.query_row(params![shard.n, cells::id_bytes(id)], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get::<_, Option<i64>>(4)?))
    });
    let Some((n, state, held, has_result, keep_until)) = found.optional()? else { return Ok(None) };
    let keep_until = keep_until.map(Timestamp::from_micros);
    Ok(Some(Parent { n, id, state: cells::state(state)?, held, has_result, keep_until }))
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
            shard.prunable(cells::state(state)?, has_result, true);
        }
    }
    Ok(())
}
