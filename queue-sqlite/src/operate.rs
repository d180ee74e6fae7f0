//! Looking.

use queue_storage::model::{JobId, Shard, Timestamp};
use queue_storage::storage::{Counts, Inputs, Lookup, MAX_PRIORITIES, WorkerRecord};
use rusqlite::params;

use crate::error::{Error, Result};
use crate::job::inputs;
use crate::job::row::{self, Stored};
use crate::job::workers;
use crate::ledger::Ledger;
use crate::reader::Snapshot;

/// The job, in whichever shard bears the tag in its id.
pub(crate) fn get(look: &Snapshot<'_>, id: JobId) -> Result<Lookup> {
    if let Some((.., stored)) = find(look, id)? {
        return Ok(Lookup::Found(Box::new(stored.job)));
    }
    let pruned: Option<i64> = look
        .conn
        .prepare_cached("SELECT max(pruned_made_at) FROM queue_shards WHERE namespace = ?1")?
        .query_row([look.namespace], |row| row.get(0))?;
    let gone = pruned.is_some_and(|micros| id.made_at() <= Timestamp::from_micros(micros));
    Ok(if gone { Lookup::Gone } else { Lookup::Unknown })
}

/// What the jobs before a job hand on to it.
pub(crate) fn inputs(look: &Snapshot<'_>, id: JobId) -> Result<Option<Inputs>> {
    let Some((n, shard, Stored { job, .. })) = find(look, id)? else { return Ok(None) };
    let inputs = inputs::of(look.conn, (n, &shard), &job.waits_for)?;
    Ok(Some(Inputs { envelope: job.envelope, inputs }))
}

/// The job with the row and name of its shard.
fn find(look: &Snapshot<'_>, id: JobId) -> Result<Option<(i64, Shard, Stored)>> {
    for (n, shard) in shards_where(look, "AND tag = ?2", params![look.namespace, id.home_tag()])? {
        if let Some(stored) = row::by_id(look.conn, (n, &shard), id)? {
            return Ok(Some((n, shard, stored)));
        }
    }
    Ok(None)
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
    let since: Option<i64> = look
        .conn
        .prepare_cached(OLDEST)?
        .query_row(params![ledger.n, look.now.as_micros(), MAX_PRIORITIES], |row| row.get(0))?;
    counts.oldest = since.map(|since| look.now.since(Timestamp::from_micros(since)));
    Ok(counts)
}

/// Since when the oldest job is ready or due: goes from priority to priority and looks at the first of each.
const OLDEST: &str = "\
    WITH RECURSIVE firsts(rank, nth) AS ( \
        SELECT min(rank), 1 FROM queue_jobs WHERE shard = ?1 AND state = 2 AND parked IS NULL AND suspect = 0 \
        UNION ALL SELECT (SELECT min(rank) FROM queue_jobs \
            WHERE shard = ?1 AND state = 2 AND parked IS NULL AND suspect = 0 AND rank > firsts.rank), nth + 1 \
        FROM firsts WHERE firsts.rank IS NOT NULL AND nth < ?3), \
    firsts_suspected(rank, nth) AS ( \
        SELECT min(rank), 1 FROM queue_jobs WHERE shard = ?1 AND state = 2 AND parked IS NULL AND suspect = 1 \
        UNION ALL SELECT (SELECT min(rank) FROM queue_jobs \
            WHERE shard = ?1 AND state = 2 AND parked IS NULL AND suspect = 1 AND rank > firsts_suspected.rank), nth + 1 \
        FROM firsts_suspected WHERE firsts_suspected.rank IS NOT NULL AND nth < ?3) \
    SELECT min(since) FROM ( \
        SELECT (SELECT max(enqueued_at, ifnull(due_at, enqueued_at)) FROM queue_jobs \
            WHERE shard = ?1 AND state = 2 AND parked IS NULL AND suspect = 0 AND rank = firsts.rank \
            ORDER BY seq LIMIT 1) AS since FROM firsts \
        UNION ALL SELECT (SELECT max(enqueued_at, ifnull(due_at, enqueued_at)) FROM queue_jobs \
            WHERE shard = ?1 AND state = 2 AND parked IS NULL AND suspect = 1 AND rank = firsts_suspected.rank \
            ORDER BY seq LIMIT 1) FROM firsts_suspected \
        UNION ALL SELECT min(due_at) FROM queue_jobs WHERE shard = ?1 AND state IN (1, 4) AND due_at <= ?2)";

/// Every shard that took a job or a schedule in, by name.
pub(crate) fn shards(look: &Snapshot<'_>) -> Result<Vec<Shard>> {
    let found = shards_where(look, "AND (enqueued > 0 OR scheduled) ORDER BY queue, idx", params![look.namespace])?;
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

pub(crate) fn shards_where(
    look: &Snapshot<'_>,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<(i64, Shard)>> {
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
