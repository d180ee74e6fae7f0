//! Schedules: changed by compare-and-set together with what their ticks enqueue, and told when they are due. The shard's
//! row says when the first is due, so that exchanges look for none before.

use std::collections::BTreeSet;

use queue_storage::model::{ScheduleName, Shard, Timestamp};
use queue_storage::storage::{
    Changed, MAX_CLAIM_BYTES, MAX_PAGE, MAX_UPKEEP, ScheduleChange, SchedulePage, ScheduleQuery, ScheduleRecord, Ticked,
};
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use crate::enqueue;
use crate::error::{Error, Result};
use crate::job::cells::micros;
use crate::job::tx::Tx;
use crate::job::write::Insert;
use crate::ledger::Ledger;
use crate::reader::Snapshot;

pub(crate) const VERSION: &str = "SELECT version FROM queue_schedules WHERE shard = ?1 AND name = ?2";
pub(crate) const FIRST: &str =
    "SELECT due FROM queue_schedules WHERE shard = ?1 AND due IS NOT NULL ORDER BY due LIMIT 1";
pub(crate) const NEXT: &str = "SELECT due FROM queue_schedules WHERE shard = ?1 AND due > ?2 ORDER BY due LIMIT 1";
pub(crate) const DUE: &str = "SELECT name, version, due, data FROM queue_schedules WHERE shard = ?1 AND due <= ?2 \
    ORDER BY due, name LIMIT ?3";
pub(crate) const WALK: &str =
    "SELECT name, version, due, data FROM queue_schedules WHERE shard = ?1 AND name > ?2 ORDER BY name LIMIT ?3";
pub(crate) const NAMED: &str = "SELECT name, version, due, data FROM queue_schedules WHERE shard = ?1 AND name = ?2";

/// Makes the changes, and tells what is due after them.
pub(crate) fn tick(tx: &mut Tx<'_>, shard: &Shard, changes: Vec<ScheduleChange>) -> Result<Ticked> {
    let mut shard = Ledger::open(tx.conn, tx.namespace, shard)?;
    let before = [shard.ticks_at, next_after(tx.conn, &shard, tx.now)?];
    let mut insert = Insert::prepare(tx.conn)?;
    let changed = changes.into_iter().map(|change| apply(tx, &mut shard, &mut insert, change));
    let changed = changed.collect::<Result<Vec<_>>>()?;
    // Of those who carry out one tick all but one write nothing.
    if changed.iter().any(|change| *change != Changed::Stale) {
        shard.ticks_at = moment(tx.conn, FIRST, params![shard.n])?;
        let after = [shard.ticks_at, next_after(tx.conn, &shard, tx.now)?];
        // Sleepers were told of the first, and of the first that was not due yet.
        let sooner = before.into_iter().zip(after).any(|(before, after)| is_sooner(after, before));
        let wake = sooner || tx.hints.ready || tx.is_due_sooner(&shard)?;
        tx.finish(&mut shard, wake)?;
    }
    let (due, more) = due_of(tx.conn, &shard, tx.now)?;
    Ok(Ticked { now: tx.now, changed, due, more })
}

/// Changes a schedule, if it still is what the change takes it for.
fn apply(tx: &mut Tx<'_>, shard: &mut Ledger, insert: &mut Insert<'_>, change: ScheduleChange) -> Result<Changed> {
    let name = change.name.as_str().as_bytes();
    let version: Option<i64> =
        tx.conn.prepare_cached(VERSION)?.query_row(params![shard.n, name], |row| row.get(0)).optional()?;
    if version.map(i64::cast_unsigned) != change.version {
        return Ok(Changed::Stale);
    }
    shard.fence = shard.next_fence(tx.now);
    match &change.to {
        Some((due, data)) => {
            tx.conn
                .prepare_cached(
                    "INSERT INTO queue_schedules (shard, name, version, due, data) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT (shard, name) DO UPDATE SET version = ?3, due = ?4, data = ?5",
                )?
                .execute(params![shard.n, name, shard.fence.cast_signed(), micros(*due), &data[..]])?;
            shard.scheduled = true;
        }
        None => {
            tx.conn
                .prepare_cached("DELETE FROM queue_schedules WHERE shard = ?1 AND name = ?2")?
                .execute(params![shard.n, name])?;
        }
    }
    let jobs = change.jobs.into_iter();
    Ok(Changed::Applied(jobs.map(|job| enqueue::admit(tx, shard, insert, job)).collect::<Result<_>>()?))
}

fn is_sooner(moment: Option<Timestamp>, than: Option<Timestamp>) -> bool {
    moment.is_some_and(|moment| than.is_none_or(|than| moment < than))
}

/// When the next schedule is to be due that is not due yet.
pub(crate) fn next_after(conn: &Connection, shard: &Ledger, now: Timestamp) -> Result<Option<Timestamp>> {
    if shard.ticks(now) { moment(conn, NEXT, params![shard.n, now.as_micros()]) } else { Ok(shard.ticks_at) }
}

fn moment(conn: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<Option<Timestamp>> {
    let micros = conn.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
    Ok(micros.map(Timestamp::from_micros))
}

/// What is due, for a reader.
pub(crate) fn due(look: &Snapshot<'_>, shard: &Shard) -> Result<Ticked> {
    let (due, more) = match Ledger::find(look.conn, look.namespace, shard)? {
        Some(shard) => due_of(look.conn, &shard, look.now)?,
        None => Default::default(),
    };
    Ok(Ticked { now: look.now, changed: Vec::new(), due, more })
}

/// What is due, and whether there is more of it.
fn due_of(conn: &Connection, shard: &Ledger, now: Timestamp) -> Result<(Vec<ScheduleRecord>, bool)> {
    if !shard.ticks(now) {
        return Ok((Vec::new(), false));
    }
    let mut statement = conn.prepare_cached(DUE)?;
    let rows = statement.query(params![shard.n, now.as_micros(), MAX_UPKEEP + 1])?;
    bounded(rows, MAX_UPKEEP as usize)
}

/// Those asked for.
pub(crate) fn page(look: &Snapshot<'_>, shard: &Shard, query: &ScheduleQuery) -> Result<SchedulePage> {
    let mut page = SchedulePage { now: look.now, schedules: Vec::new(), next: None };
    let Some(shard) = Ledger::find(look.conn, look.namespace, shard)?.filter(|shard| shard.scheduled) else {
        return Ok(page);
    };
    match query {
        ScheduleQuery::Named(names) => {
            let mut statement = look.conn.prepare_cached(NAMED)?;
            for name in names.iter().collect::<BTreeSet<_>>() {
                let mut rows = statement.query(params![shard.n, name.as_str().as_bytes()])?;
                page.schedules.extend(rows.next()?.map(record).transpose()?);
            }
        }
        ScheduleQuery::After(after, limit) => {
            let limit = if *limit == 0 { MAX_PAGE } else { (*limit).min(MAX_PAGE) };
            let after = after.as_ref().map_or(&[][..], |name| name.as_str().as_bytes());
            let mut statement = look.conn.prepare_cached(WALK)?;
            let rows = statement.query(params![shard.n, after, limit + 1])?;
            let (schedules, more) = bounded(rows, limit as usize)?;
            page.next = schedules.last().filter(|_| more).map(|last| last.name.clone());
            page.schedules = schedules;
        }
    }
    Ok(page)
}

/// So many, and no further once their data is heavy; whether there are more.
fn bounded(mut rows: Rows<'_>, most: usize) -> Result<(Vec<ScheduleRecord>, bool)> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if found.len() == most || bytes >= MAX_CLAIM_BYTES {
            return Ok((found, true));
        }
        let record = record(row)?;
        bytes += record.data.len();
        found.push(record);
    }
    Ok((found, false))
}

fn record(row: &Row<'_>) -> Result<ScheduleRecord> {
    let name = String::from_utf8(row.get(0)?).map_err(|error| Error::corrupt(format!("a schedule's name: {error}")))?;
    let name = ScheduleName::new(name).map_err(|error| Error::corrupt(format!("a schedule's name: {error}")))?;
    let due = row.get::<_, Option<i64>>(2)?.map(Timestamp::from_micros);
    Ok(ScheduleRecord::new(name, row.get::<_, i64>(1)?.cast_unsigned(), due, row.get::<_, Vec<u8>>(3)?.into()))
}
