//! One job as a row: written.

use queue_storage::model::{EndReason, Job, JobId, Key, Parked};
use rusqlite::{CachedStatement, Connection, named_params, params};

use crate::error::Result;
use crate::job::cells::{id_bytes, micros, number, worker_bytes};
use crate::job::more::More;

/// Envelopes longer than this are stored apart.
pub(crate) const INLINE_ENVELOPE: usize = 2 * 1024;

const INSERT: &str = "INSERT INTO queue_jobs (shard, id, state, rank, seq, task, needs, at_most_once, enqueued_at, due_at, \
    ended_at, keep_until, reason, parked, parked_for, waits_for, more, envelope) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18) \
    ON CONFLICT (shard, id) DO NOTHING";

/// Stores jobs: prepared once for all of a call, since asking the cache again for each costs a tenth of storing it.
pub(crate) struct Insert<'c> {
    conn: &'c Connection,
    statement: CachedStatement<'c>,
}

impl<'c> Insert<'c> {
    pub(crate) fn prepare(conn: &'c Connection) -> Result<Self> {
        Ok(Self { conn, statement: conn.prepare_cached(INSERT)? })
    }

    /// Stores a job that was admitted; `None` when one of its id is stored in the shard.
    pub(crate) fn store(&mut self, shard: i64, job: &Job) -> Result<Option<i64>> {
        let waits_for: Option<Vec<u8>> =
            (!job.waits_for.is_empty()).then(|| job.waits_for.iter().flat_map(|id| id_bytes(*id)).collect());
        let inline = (job.envelope.len() <= INLINE_ENVELOPE).then_some(&job.envelope[..]);
        let inserted = self.statement.execute(params![
            shard,
            id_bytes(job.id),
            number(job.state),
            -i64::from(job.priority),
            job.sequence.map(u64::cast_signed),
            job.task.as_str(),
            job.needs,
            job.at_most_once,
            job.enqueued_at.as_micros(),
            micros(job.due_at),
            micros(job.ended_at),
            micros(job.keep_until),
            job.reason.as_ref().map(EndReason::as_str),
            job.parked.as_ref().map(Parked::as_str),
            job.parked_for.as_ref().map(Key::as_str),
            waits_for,
            More::of(job, 0, None).encode(job.id)?,
            inline,
        ])?;
        if inserted == 0 {
            return Ok(None);
        }
        let n = self.conn.last_insert_rowid();
        if inline.is_none() {
            self.conn
                .prepare_cached("INSERT OR REPLACE INTO queue_envelopes (n, bytes) VALUES (?1, ?2)")?
                .execute(params![n, &job.envelope[..]])?;
        }
        Ok(Some(n))
    }
}

/// Writes all that may change of a job which does not run, with the number of its latest run, but for its envelope: for the
/// rare moves, which are many.
pub(crate) fn rewrite(conn: &Connection, n: i64, job: &Job, runs: u32) -> Result<()> {
    conn.prepare_cached(
        "UPDATE queue_jobs SET state = :state, rank = :rank, seq = :seq, parked = :parked, parked_for = :parked_for, \
         suspect = :suspect, attempts = :attempts, worker = :worker, fence = NULL, lease_until = NULL, delivered = NULL, \
         due_at = :due_at, started_at = :started_at, ended_at = :ended_at, keep_until = :keep_until, reason = :reason, \
         more = :more, result = CASE WHEN :void THEN NULL ELSE result END WHERE n = :n",
    )?
    .execute(named_params! {
        ":n": n, ":state": number(job.state), ":rank": -i64::from(job.priority),
        ":seq": job.sequence.map(u64::cast_signed), ":parked": job.parked.as_ref().map(Parked::as_str),
        ":parked_for": job.parked_for.as_ref().map(Key::as_str), ":suspect": job.suspect, ":attempts": job.attempts,
        ":worker": job.worker.map(worker_bytes), ":due_at": micros(job.due_at), ":started_at": micros(job.started_at),
        ":ended_at": micros(job.ended_at), ":keep_until": micros(job.keep_until),
        ":reason": job.reason.as_ref().map(EndReason::as_str), ":more": More::of(job, runs, None).encode(job.id)?,
        ":void": job.result.is_none(),
    })?;
    Ok(())
}

/// Writes what few jobs have.
pub(crate) fn more(conn: &Connection, n: i64, id: JobId, more: &More) -> Result<()> {
    conn.prepare_cached("UPDATE queue_jobs SET more = ?2 WHERE n = ?1")?.execute(params![n, more.encode(id)?])?;
    Ok(())
}

/// Writes another envelope in place of the job's.
pub(crate) fn envelope(conn: &Connection, n: i64, bytes: &[u8]) -> Result<()> {
    let inline = (bytes.len() <= INLINE_ENVELOPE).then_some(bytes);
    conn.prepare_cached("UPDATE queue_jobs SET envelope = ?2 WHERE n = ?1")?.execute(params![n, inline])?;
    if inline.is_some() {
        conn.prepare_cached("DELETE FROM queue_envelopes WHERE n = ?1")?.execute([n])?;
    } else {
        conn.prepare_cached("INSERT OR REPLACE INTO queue_envelopes (n, bytes) VALUES (?1, ?2)")?
            .execute(params![n, bytes])?;
    }
    Ok(())
}

/// Whether the job was given a time limit: what the shard counts of live jobs.
pub(crate) fn is_limited(job: &Job) -> bool {
    job.expires.is_some() || job.deadline.is_some()
}
