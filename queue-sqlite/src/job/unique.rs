//! Unique keys: who keeps others out, and until when.

use queue_storage::model::{Conflict, Job, JobId, Key, NewJob, State, Timestamp, Unique, Window};
use queue_storage::storage::{Admission, Edit, MAX_PRUNE, StorageError};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{Error, Result};
use crate::job::act;
use crate::job::row;
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
    let owner = Owner { id: row::job_id(&id)?, until: until.map(Timestamp::from_micros) };
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
        .execute(params![shard.n, unique.key.as_str(), row::id_bytes(job.id), row::micros(until)])?;
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
        row::id_bytes(id)
    ])?;
    Ok(())
}

/// Frees the key of a job that is removed.
pub(crate) fn disown(tx: &Tx<'_>, shard: &Ledger, job: &Job) -> Result<()> {
    job.unique.as_ref().map_or(Ok(()), |unique| free(tx, shard, unique, job.id))
}

/// What becomes of a job whose unique key another holds; `None` if nobody does.
pub(crate) fn keep_out(tx: &mut Tx<'_>, shard: &mut Ledger, new: &NewJob) -> Result<Option<Admission>> {
    let Some(unique) = &new.unique else { return Ok(None) };
    let Some(Owner { id, .. }) = owner(tx.conn, shard.n, &unique.key, tx.now)? else { return Ok(None) };
    let stored = row::by_id(tx.conn, (shard.n, &shard.shard), id)?;
    let state = stored.as_ref().map(|stored| stored.job.state);
    let edit = match unique.conflict {
        Conflict::Existing => return Ok(Some(Admission::Existing(id, state))),
        Conflict::Reject => return Ok(Some(Admission::Rejected(id, state))),
        Conflict::Replace => Edit::new().envelope(new.envelope.clone()).priority(new.priority),
        Conflict::Debounce => Edit::new().envelope(new.envelope.clone()).when(new.when),
        other => {
            let message = format!("job {}: this storage is too old for the conflict {other:?}", new.id);
            return Err(Error::Refused(StorageError::invalid(message)));
        }
    };
    match stored.filter(|stored| !stored.job.state.is_end() && stored.job.state != State::Running) {
        Some(mut stored) => {
            act::edit(tx, shard, &mut stored, &edit)?;
            Ok(Some(Admission::Replaced(id, stored.job.state)))
        }
        None => Ok(Some(Admission::Existing(id, state))),
    }
}

pub(crate) const FORGET: &str = "DELETE FROM queue_unique WHERE shard = ?1 AND key IN \
    (SELECT key FROM queue_unique WHERE shard = ?1 AND until <= ?2 ORDER BY until LIMIT ?3)";

/// Drops keys whose time has passed.
pub(crate) fn prune(tx: &Tx<'_>, shard: &Ledger) -> Result<()> {
    tx.conn.prepare_cached(FORGET)?.execute(params![shard.n, tx.now.as_micros(), MAX_PRUNE])?;
    Ok(())
}
