//! The workers: registered, known, forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use queue_storage::model::{Parked, Timestamp, WorkerId};
use queue_storage::storage::{LeaseTerms, WorkerRecord};
use rusqlite::{OptionalExtension, params};

use crate::error::{Error, Result};
use crate::job::cells;
use crate::job::tx::Tx;

/// What the exchange needs of a worker.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) n: i64,
    pub(crate) id: WorkerId,
    pub(crate) terms: LeaseTerms,
    pub(crate) tasks: HashSet<String>,
    understands: u16,
}

impl Known {
    /// Why this worker can't run a job of the task.
    pub(crate) fn misfit(&self, task: &str, needs: u16) -> Option<Parked> {
        if needs > self.understands {
            Some(Parked::NewerProgram)
        } else if !self.tasks.contains(task) {
            Some(Parked::UnknownTask)
        } else {
            None
        }
    }

    pub(crate) fn understands(&self) -> u16 {
        self.understands
    }
}

/// Decoded records by row, with the version each was decoded from.
///
/// A cache only: every use compares the version with the file's, as another process may have changed it.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    known: HashMap<i64, (i64, Arc<Known>)>,
}

impl Workers {
    /// A registered worker, noted as having called; `None` for one that is not registered.
    pub(crate) fn calls(&mut self, tx: &Tx<'_>, id: WorkerId) -> Result<Option<Arc<Known>>> {
        let found = tx
            .conn
            .prepare_cached(
                "SELECT worker, version, seen_at FROM queue_workers WHERE namespace = ?1 AND id = ?2 AND gone = 0",
            )?
            .query_row(params![tx.namespace, cells::worker_bytes(id)], |row| {
                Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, i64>(2)?))
            })
            .optional()?;
        let Some((n, version, seen_at)) = found else { return Ok(None) };
        if seen_at != tx.now.as_micros() {
            tx.conn
                .prepare_cached("UPDATE queue_workers SET seen_at = ?2 WHERE worker = ?1")?
                .execute(params![n, tx.now.as_micros()])?;
        }
        self.load(tx, n, version).map(Some)
    }

    /// The terms of a worker, or the usual ones if nothing is known of it any more.
    pub(crate) fn terms(&mut self, tx: &Tx<'_>, id: WorkerId) -> Result<LeaseTerms> {
        let found = tx
            .conn
            .prepare_cached("SELECT worker, version FROM queue_workers WHERE namespace = ?1 AND id = ?2")?
            .query_row(params![tx.namespace, cells::worker_bytes(id)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        found.map_or(Ok(LeaseTerms::default()), |(n, version)| Ok(self.load(tx, n, version)?.terms))
    }

    fn load(&mut self, tx: &Tx<'_>, n: i64, version: i64) -> Result<Arc<Known>> {
        if let Some((cached, known)) = self.known.get(&n)
            && *cached == version
        {
            return Ok(Arc::clone(known));
        }
        let bytes: Vec<u8> = tx
            .conn
            .prepare_cached("SELECT record FROM queue_workers WHERE worker = ?1")?
            .query_row([n], |row| row.get(0))?;
        let record = decode(&bytes)?;
        let known = Arc::new(Known {
            n,
            id: record.id,
            terms: record.lease,
            tasks: record.tasks.iter().map(|task| task.as_str().to_owned()).collect(),
            understands: record.understands,
        });
        if self.known.len() >= 1_024 {
            self.known.clear();
        }
        self.known.insert(n, (version, Arc::clone(&known)));
        Ok(known)
    }
}

/// Makes a worker known; its numbers and leases stay.
pub(crate) fn register(tx: &Tx<'_>, worker: &WorkerRecord) -> Result<()> {
    let record = rmp_serde::to_vec_named(worker)
        .map_err(|error| Error::corrupt(format!("the record of worker {} can't be written: {error}", worker.id)))?;
    tx.conn
        .prepare_cached(
            "INSERT INTO queue_workers (namespace, id, version, gone, seen_at, record) VALUES (?1, ?2, 1, 0, ?3, ?4) \
             ON CONFLICT (namespace, id) DO UPDATE SET version = version + 1, gone = 0, seen_at = ?3, record = ?4",
        )?
        .execute(params![tx.namespace, cells::worker_bytes(worker.id), tx.now.as_micros(), record])?;
    Ok(())
}

/// Forgets a worker and its numbers. While leases of its are out, its terms are kept for whoever takes them back.
pub(crate) fn deregister(tx: &Tx<'_>, worker: WorkerId) -> Result<()> {
    let n = tx
        .conn
        .prepare_cached("SELECT worker FROM queue_workers WHERE namespace = ?1 AND id = ?2")?
        .query_row(params![tx.namespace, cells::worker_bytes(worker)], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(n) = n else { return Ok(()) };
    tx.conn.prepare_cached("DELETE FROM queue_exchanges WHERE worker = ?1")?.execute([n])?;
    for shard in shards_of(tx)? {
        tx.conn
            .prepare_cached(
                "UPDATE queue_jobs SET delivered = 0 \
                 WHERE shard = ?1 AND state = 3 AND worker = ?2 AND at_most_once = 0 AND delivered = 1",
            )?
            .execute(params![shard, cells::worker_bytes(worker)])?;
    }
    if holds_leases(tx, worker)? {
        tx.conn.prepare_cached("UPDATE queue_workers SET gone = 1 WHERE worker = ?1")?.execute([n])?;
    } else {
        tx.conn.prepare_cached("DELETE FROM queue_workers WHERE worker = ?1")?.execute([n])?;
    }
    Ok(())
}

/// Drops workers without leases that have stopped, or have not called since `before`; no more than `most`.
pub(crate) fn forget(tx: &Tx<'_>, before: Timestamp, most: u32) -> Result<()> {
    let silent: Vec<(i64, Vec<u8>)> = tx
        .conn
        .prepare_cached(
            "SELECT worker, id FROM queue_workers WHERE namespace = ?1 AND seen_at <= ?2 ORDER BY seen_at LIMIT ?3",
        )?
        .query_map(params![tx.namespace, before.as_micros(), most], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (n, id) in silent {
        if !holds_leases(tx, cells::worker_id(&id)?)? {
            tx.conn.prepare_cached("DELETE FROM queue_exchanges WHERE worker = ?1")?.execute([n])?;
            tx.conn.prepare_cached("DELETE FROM queue_workers WHERE worker = ?1")?.execute([n])?;
        }
    }
    Ok(())
}

fn shards_of(tx: &Tx<'_>) -> Result<Vec<i64>> {
    let shards = tx
        .conn
        .prepare_cached("SELECT shard FROM queue_shards WHERE namespace = ?1 AND n_running > 0")?
        .query_map([tx.namespace], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(shards)
}

/// Whether a worker has leases; looks through the leases that are out, never through the backlog.
fn holds_leases(tx: &Tx<'_>, worker: WorkerId) -> Result<bool> {
    for shard in shards_of(tx)? {
        let holds = tx
            .conn
            .prepare_cached("SELECT 1 FROM queue_jobs WHERE shard = ?1 AND state = 3 AND worker = ?2 LIMIT 1")?
            .exists(params![shard, cells::worker_bytes(worker)])?;
        if holds {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A record as it is stored.
pub(crate) fn decode(bytes: &[u8]) -> Result<WorkerRecord> {
    rmp_serde::from_slice(bytes).map_err(|error| Error::corrupt(format!("a worker's record can't be read: {error}")))
}
