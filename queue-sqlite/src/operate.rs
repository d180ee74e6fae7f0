//! Looking.

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

pub(crate) const PAGE: &str =
    concat!("SELECT ", columns!(), " FROM queue_jobs WHERE shard = ?1 AND id > ?2 ORDER BY id LIMIT ?3");

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

/// A page of jobs, shard by shard in the order of their names.
pub(crate) fn list(look: &Snapshot<'_>, query: &JobQuery) -> Result<JobPage> {
    let after = query.after.as_ref().map(Place::parse).transpose()?;
    let limit = if query.limit == 0 { MAX_PAGE } else { query.limit.min(MAX_PAGE) } as usize;
    let mut page = JobPage::default();
    let mut left = MAX_LOOKED_AT;
    for (n, shard) in shards_where(look, "AND enqueued > 0 ORDER BY queue, idx", params![look.namespace])? {
        if query.queue.as_ref().is_some_and(|queue| *queue != shard.queue) {
            continue;
        }
        let mut from = JobId::from_u128(0);
        if let Some(place) = &after {
            match (shard.queue.as_str(), shard.index).cmp(&(place.queue.as_str(), place.index)) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => from = place.id,
                std::cmp::Ordering::Greater => {}
            }
        }
        let mut statement = look.conn.prepare_cached(PAGE)?;
        let mut rows = statement.query(params![n, row::id_bytes(from), left + 1])?;
        let mut last = from;
        while let Some(found) = rows.next()? {
            if left == 0 || page.jobs.len() == limit {
                page.next = Some(Place { id: last, index: shard.index, queue: shard.queue.to_string() }.cursor());
                return Ok(page);
            }
            left -= 1;
            last = id_of(found)?;
            if fits(found, query)? {
                page.jobs.push(row::job(found, &shard)?);
            }
        }
    }
    Ok(page)
}

fn id_of(row: &Row<'_>) -> Result<JobId> {
    row::job_id(row.get_ref(0)?.as_blob().map_err(|_| Error::corrupt("a job's id is not 16 bytes"))?)
}

/// Whether the row passes the filters, without reading more of it.
fn fits(row: &Row<'_>, query: &JobQuery) -> Result<bool> {
    let state = query.state.is_none_or(|state| row.get_ref(1).is_ok_and(|v| v.as_i64() == Ok(row::number(state))));
    let task = query.task.as_ref().is_none_or(|task| row.get_ref(6).is_ok_and(|v| v.as_str() == Ok(task.as_str())));
    Ok(state && task)
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

/// A place in a list: after this job of this shard.
struct Place {
    id: JobId,
    index: u16,
    queue: String,
}

impl Place {
    fn cursor(&self) -> Cursor {
        Cursor(format!("{}.{}.{}", self.id, self.index, self.queue))
    }

    fn parse(cursor: &Cursor) -> Result<Self> {
        let refused = || Error::Refused(StorageError::invalid(format!("`{}` is no place in a list of jobs", cursor.0)));
        let mut parts = cursor.0.splitn(3, '.');
        let mut part = || parts.next().ok_or_else(refused);
        let (id, index, queue) = (part()?, part()?, part()?);
        Ok(Self {
            id: id.parse().map_err(|_| refused())?,
            index: index.parse().map_err(|_| refused())?,
            queue: queue.to_owned(),
        })
    }
}
