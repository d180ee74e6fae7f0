//! Moments at which something becomes of a job that does not run, in a table of their own: a job that has none writes
//! nothing there.

use queue_storage::model::{Job, Parked, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;

/// What a moment is; the numbers stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// When it is expired, as it is now.
    Overdue = 0,
    /// Since when it is parked because nobody knows its task.
    Unknown = 1,
}

/// The moments of a job as it stands, by their kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments([Option<Timestamp>; 2]);

impl Moments {
    pub(crate) fn of(job: &Job) -> Self {
        let unknown = job.parked_at.filter(|_| job.parked == Some(Parked::UnknownTask));
        Self([job.overdue_at().map(|(at, _)| at), unknown])
    }

    /// The same, of the job once its task is known.
    pub(crate) fn of_known(self) -> Self {
        Self([self.0[0], None])
    }

    /// Writes what has changed of the moments of the job of this shard and row.
    pub(crate) fn replace(self, conn: &Connection, (shard, n): (i64, i64), after: Self) -> Result<()> {
        for (kind, (before, after)) in [Kind::Overdue, Kind::Unknown].into_iter().zip(self.0.into_iter().zip(after.0)) {
            if before != after {
                before.map_or(Ok(()), |at| drop_one(conn, (shard, n), kind, at))?;
                after.map_or(Ok(()), |at| add(conn, (shard, n), kind, at))?;
            }
        }
        Ok(())
    }
}

/// Notes a moment of the job of this shard and row.
pub(crate) fn add(conn: &Connection, (shard, n): (i64, i64), kind: Kind, at: Timestamp) -> Result<()> {
    conn.prepare_cached("INSERT INTO queue_watch (shard, kind, at, n) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        shard,
        kind as i64,
        at.as_micros(),
        n
    ])?;
    Ok(())
}

fn drop_one(conn: &Connection, (shard, n): (i64, i64), kind: Kind, at: Timestamp) -> Result<()> {
    conn.prepare_cached("DELETE FROM queue_watch WHERE shard = ?1 AND kind = ?2 AND at = ?3 AND n = ?4")?
        .execute(params![shard, kind as i64, at.as_micros(), n])?;
    Ok(())
}

pub(crate) const REACHED: &str =
    "SELECT n FROM queue_watch WHERE shard = ?1 AND kind = ?2 AND at <= ?3 ORDER BY at LIMIT ?4";

/// The rows of jobs whose moments of this kind are not after `until`, earliest first; at most so many.
pub(crate) fn reached(conn: &Connection, shard: i64, kind: Kind, until: Timestamp, most: u32) -> Result<Vec<i64>> {
    let mut statement = conn.prepare_cached(REACHED)?;
    let rows = statement.query_map(params![shard, kind as i64, until.as_micros(), most], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) const NEXT: &str = "SELECT at FROM queue_watch WHERE shard = ?1 AND kind = ?2 ORDER BY at LIMIT 1";

/// The first moment of this kind.
pub(crate) fn next(conn: &Connection, shard: i64, kind: Kind) -> Result<Option<Timestamp>> {
    let mut statement = conn.prepare_cached(NEXT)?;
    let at = statement.query_row([shard, kind as i64], |row| row.get(0)).optional()?;
    Ok(at.map(Timestamp::from_micros))
}
