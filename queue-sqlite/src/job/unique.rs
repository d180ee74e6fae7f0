//! Unique keys: who keeps others out, and until when.

use queue_storage::model::{Job, JobId, Key, Timestamp, Unique, Window};
use queue_storage::storage::MAX_PRUNE;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::job::cells::{id_bytes, job_id, micros};
use crate::job::tx::Tx;
use crate::ledger::Ledger;

/// The job that keeps others of a key out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) id: JobId,
    pub(crate) until: Option<Timestamp>,
}

pub(crate) const OWNER: &str = "SELECT id, until FROM queue_unique WHERE shard = ?1 AND key = ?2";

/// Who keeps others of the key out now.
pub(crate) fn owner(conn: &Connection, shard: i64, key: &Key, now: Timestamp) -> Result<Option<Owner>> {
    let found = conn
        .prepare_cached(OWNER)?
        .query_row(params![shard, key.as_str()], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<i64>>(1)?)))
        .optional()?;
    let Some((id, until)) = found else { return Ok(None) };
    let owner = Owner { id: job_id(&id)?, until: until.map(Timestamp::from_micros) };
    Ok(Some(owner).filter(|owner| owner.until.is_none_or(|until| now < until)))
}

/// Gives a job that was taken in its unique key, unless its window has ended with it already.
pub(crate) fn own(tx: &Tx<'_>, shard: &Ledger, job: &Job) -> Result<()> {
    let Some(unique) = job.unique.as_ref().filter(|unique| !is_over(unique.window, false, job.state.is_end())) else {
        return Ok(());
    };
    let until = match unique.window {
        Window::For(length) => Some(tx.now + length),
        _ => None,
    };
    tx.conn
        .prepare_cached("INSERT OR REPLACE INTO queue_unique (shard, key, id, until) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![shard.n, unique.key.as_str(), id_bytes(job.id), micros(until)])?;
    Ok(())
}

/// Whether what has become of a job ends its window.
pub(crate) fn is_over(window: Window, started: bool, ended: bool) -> bool {
    match window {
        Window::Started => started || ended,
        Window::Finished => ended,
        _ => false,
    }
}

/// Frees a key, if this job holds it.
pub(crate) fn free(tx: &Tx<'_>, shard: &Ledger, unique: &Unique, id: JobId) -> Result<()> {
    tx.conn.prepare_cached("DELETE FROM queue_unique WHERE shard = ?1 AND key = ?2 AND id = ?3")?.execute(params![
        shard.n,
        unique.key.as_str(),
        id_bytes(id)
    ])?;
    Ok(())
}

/// Frees the key of a job that is removed.
pub(crate) fn disown(tx: &Tx<'_>, shard: &Ledger, job: &Job) -> Result<()> {
    job.unique.as_ref().map_or(Ok(()), |unique| free(tx, shard, unique, job.id))
}

pub(crate) const FORGET: &str = "DELETE FROM queue_unique WHERE shard = ?1 AND key IN \
    (SELECT key FROM queue_unique WHERE shard = ?1 AND until <= ?2 ORDER BY until LIMIT ?3)";

/// Drops keys whose time has passed.
pub(crate) fn prune(tx: &Tx<'_>, shard: &Ledger) -> Result<()> {
    tx.conn.prepare_cached(FORGET)?.execute(params![shard.n, tx.now.as_micros(), MAX_PRUNE])?;
    Ok(())
}
