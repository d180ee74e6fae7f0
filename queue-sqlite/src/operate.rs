//! Looking.

use std::collections::HashMap;

use queue_storage::model::{JobId, Shard, Timestamp};
use queue_storage::storage::{Counts, Cursor, JobPage, JobQuery, Lookup, MAX_PAGE, StorageError, WorkerRecord};
use rusqlite::{Row, params};

use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::reader::Snapshot;
use crate::row::{self, columns};
use crate::workers;

/// The most records one page looks at.
const MAX_LOOKED_AT: u32 = 10_000;

/// No more than tells whether a job is shown: what does not fit is not read.
pub(crate) const WALK: &str = "SELECT n, shard, state, task FROM queue_jobs WHERE n > ?1 ORDER BY n LIMIT ?2";

/// The job, in whichever shard bears the tag in its id.
pub(crate) fn get(look: &Snapshot<'_>, id: JobId) -> Result<Lookup> {
    for (n, shard) in shards_where(look, "AND tag = ?2", params![look.namespace, id.home_tag()])? {
        let mut statement = look.conn.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM queue_jobs WHERE shard = ?1 AND id = ?2"
        ))?;
        let mut rows = statement.query(params![n, row::id_bytes(id)])?;
        if let Some(found) = rows.next()? {
            return Ok(Lookup::Found(Box::new(row::job(found, &shard)?)));
        }
    }
    let pruned: Option<i64> = look
        .conn
        .prepare_cached("SELECT max(pruned_made_at) FROM queue_shards WHERE namespace = ?1")?
        .query_row([look.namespace], |row| row.get(0))?;
    let gone = pruned.is_some_and(|micros| id.made_at() <= Timestamp::from_micros(micros));
    Ok(if gone { Lookup::Gone } else { Lookup::Unknown })
}

/// A page of jobs, over all shards in the order of their rows. A row of a job that is taken in comes behind all others
/// and never moves; that is the order of the contract, and needs no index.
pub(crate) fn list(look: &Snapshot<'_>, query: &JobQuery) -> Result<JobPage> {
    let mut last = query.after.as_ref().map_or(Ok(0), place)?;
    let limit = if query.limit == 0 { MAX_PAGE } else { query.limit.min(MAX_PAGE) } as usize;
    let mut shards: HashMap<_, _> = shards_where(look, "AND enqueued > 0", [look.namespace])?.into_iter().collect();
    shards.retain(|_, shard| query.queue.as_ref().is_none_or(|queue| *queue == shard.queue));
    let mut page = JobPage::default();
    if shards.is_empty() {
        return Ok(page);
    }
    let mut left = MAX_LOOKED_AT;
    let mut statement = look.conn.prepare_cached(WALK)?;
    let mut rows = statement.query(params![last, left + 1])?;
    while let Some(found) = rows.next()? {
        if left == 0 || page.jobs.len() == limit {
            page.next = Some(Cursor(last.to_string()));
            break;
        }
        left -= 1;
        last = found.get(0)?;
        if let Some(shard) = shards.get(&found.get(1)?)
            && fits(found, query)
        {
            page.jobs.extend(row::find(look.conn, shard, last)?);
        }
    }
    Ok(page)
}

/// Whether a row of [`WALK`] passes the filters by state and task.
fn fits(row: &Row<'_>, query: &JobQuery) -> bool {
    let state = query.state.is_none_or(|state| row.get_ref(2).is_ok_and(|v| v.as_i64() == Ok(row::number(state))));
    let task = query.task.as_ref().is_none_or(|task| row.get_ref(3).is_ok_and(|v| v.as_str() == Ok(task.as_str())));
    state && task
}

/// The row behind which a list goes on.
fn place(cursor: &Cursor) -> Result<i64> {
    let n = cursor.0.parse().ok().filter(|n| *n > 0);
    n.ok_or_else(|| Error::Refused(StorageError::invalid(format!("`{}` is no place in a list of jobs", cursor.0))))
}

/// The counts of one shard.
pub(crate) fn counts(look: &Snapshot<'_>, shard: &Shard) -> Result<Counts> {
    let Some(ledger) = Ledger::find(look.conn, look.namespace, shard)? else { return Ok(Counts::default()) };
    let mut counts = ledger.counts();
    let due: i64 = look
        .conn
        .prepare_cached("SELECT count(*) FROM queue_jobs WHERE shard = ?1 AND state IN (1, 4) AND due_at <= ?2")?
        .query_row(params![ledger.n, look.now.as_micros()], |row| row.get(0))?;
    counts.due = due.cast_unsigned();
    Ok(counts)
}

/// Every shard that took a job in, by name.
pub(crate) fn shards(look: &Snapshot<'_>) -> Result<Vec<Shard>> {
    let found = shards_where(look, "AND enqueued > 0 ORDER BY queue, idx", params![look.namespace])?;
    Ok(found.into_iter().map(|(_, shard)| shard).collect())
}

/// Every worker that is registered, by id.
pub(crate) fn workers(look: &Snapshot<'_>) -> Result<Vec<WorkerRecord>> {
    let mut statement = look
        .conn
        .prepare_cached("SELECT record, seen_at FROM queue_workers WHERE namespace = ?1 AND gone = 0 ORDER BY id")?;
    let mut rows = statement.query([look.namespace])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut record = workers::decode(&row.get::<_, Vec<u8>>(0)?)?;
        record.seen_at = Timestamp::from_micros(row.get(1)?);
        found.push(record);
    }
    Ok(found)
}

fn shards_where(look: &Snapshot<'_>, condition: &str, values: impl rusqlite::Params) -> Result<Vec<(i64, Shard)>> {
    let sql = format!("SELECT shard, queue, idx FROM queue_shards WHERE namespace = ?1 {condition}");
    let mut statement = look.conn.prepare_cached(&sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let queue: String = row.get(1)?;
        let queue = queue.parse().map_err(|error| Error::corrupt(format!("a shard's queue: {error}")))?;
        found.push((row.get(0)?, Shard { queue, index: row.get(2)? }));
    }
    Ok(found)
}
