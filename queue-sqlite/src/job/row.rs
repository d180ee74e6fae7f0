//! One job as a row: read.

use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{EndReason, Fence, Job, JobId, Key, Lease, NewJob, Parked, Shard, State, Timestamp};
use rusqlite::{Connection, Row, params};

use crate::error::{Error, Result};
use crate::job::cells::{id_bytes, job_id, priority, state, task, worker_id};
use crate::job::history;
use crate::job::more::More;
use crate::job::paid;

/// The columns that [`stored`] reads, in its order; a literal, for `concat!`.
macro_rules! columns {
    () => {
        "id, state, rank, seq, parked, suspect, task, needs, at_most_once, attempts, fence, lease_until, delivered, \
         worker, enqueued_at, due_at, started_at, ended_at, keep_until, reason, waits_for, result, \
         coalesce(envelope, (SELECT e.bytes FROM queue_envelopes e WHERE e.n = queue_jobs.n)), more, parked_for, held, n"
    };
}
pub(crate) use columns;

/// The place of the row's own number.
pub(crate) const N: usize = 26;

/// A job with what only its row knows.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) n: i64,
    pub(crate) job: Job,
    /// Whether a live job waits for it, or takes its result.
    pub(crate) held: bool,
    /// The number of its latest run in its history.
    pub(crate) runs: u32,
    /// How long it is kept once it is cancelled, if it runs and was asked to stop.
    pub(crate) cancel_keep: Option<Duration>,
}

impl Stored {
    /// What few jobs have, of this one as it is now.
    pub(crate) fn more(&self) -> More {
        More::of(&self.job, self.runs, self.cancel_keep)
    }
}

/// Reads a row of [`columns!`].
pub(crate) fn stored(conn: &Connection, row: &Row<'_>, shard: &Shard) -> Result<Stored> {
    let mut stored = Stored { n: row.get(N)?, job: plain(row, shard)?, held: row.get(25)?, runs: 0, cancel_keep: None };
    let job = &mut stored.job;
    let id = job.id;
    let broken = |what: &str| Error::corrupt(format!("job {id}: {what}"));
    let Some(column) = row.get_ref(23)?.as_blob_or_null().map_err(|_| broken("more"))? else { return Ok(stored) };
    let more = More::read(id, Some(column))?;
    (stored.runs, stored.cancel_keep) = (more.runs, more.cancel_keep);
    job.cancel_requested = job.state == State::Running && more.cancel_keep.is_some();
    more.give(job);
    if let Some(key) = row.get_ref(24)?.as_str_or_null().map_err(|_| broken("parked_for"))? {
        job.parked_for = Some(Key::new(key).map_err(|_| broken("parked_for is no key"))?);
        job.opens_at = paid::opens_at(conn, stored.n, job)?;
    }
    if stored.runs > 0 {
        job.history = history::of(conn, stored.n)?;
    }
    Ok(stored)
}

/// Reads what every job has of a row of [`columns!`].
fn plain(row: &Row<'_>, shard: &Shard) -> Result<Job> {
    let id = job_id(row.get_ref(0)?.as_blob().map_err(|_| Error::corrupt("a job's id is not 16 bytes"))?)?;
    let broken = |what: &str| Error::corrupt(format!("job {id}: {what}"));
    let moment = |at| row.get(at).map(|micros: Option<i64>| micros.map(Timestamp::from_micros));
    let task = task(row.get_ref(6)?.as_str().map_err(|_| broken("it has no task"))?)?;
    let mut new = NewJob::new(id, task, bytes(row, 22)?.unwrap_or_default());
    new.priority = priority(row.get(2)?)?;
    new.at_most_once = row.get(8)?;
    new.needs = row.get(7)?;
    if let Some(ids) = row.get_ref(20)?.as_blob_or_null().map_err(|_| broken("waits_for"))? {
        new.waits_for = ids.chunks(16).map(job_id).collect::<Result<_>>()?;
    }
    let mut job = Job::admitted(new, shard.clone(), moment(14)?.unwrap_or_default());
    job.state = state(row.get(1)?)?;
    job.sequence = row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned);
    job.parked = row.get_ref(4)?.as_str_or_null().ok().flatten().map(Parked::from);
    (job.suspect, job.attempts) = (row.get(5)?, row.get(9)?);
    (job.due_at, job.started_at) = (moment(15)?, moment(16)?);
    (job.ended_at, job.keep_until) = (moment(17)?, moment(18)?);
    job.first_started_at = job.started_at;
    job.worker = row.get_ref(13)?.as_blob_or_null().map_err(|_| broken("worker"))?.map(worker_id).transpose()?;
    if job.state == State::Running {
        job.lease = Some(Lease {
            worker: job.worker.ok_or_else(|| broken("it runs nowhere"))?,
            fence: Fence(row.get::<_, i64>(10)?.cast_unsigned()),
            until: moment(11)?.unwrap_or_default(),
            delivered: row.get(12)?,
        });
    }
    job.reason = row.get_ref(19)?.as_str_or_null().ok().flatten().map(EndReason::from);
    job.result = bytes(row, 21)?;
    Ok(job)
}

/// The job of this row.
pub(crate) fn find(conn: &Connection, shard: &Shard, n: i64) -> Result<Option<Stored>> {
    let mut statement = conn.prepare_cached(concat!("SELECT ", columns!(), " FROM queue_jobs WHERE n = ?1"))?;
    let mut rows = statement.query([n])?;
    rows.next()?.map(|row| stored(conn, row, shard)).transpose()
}

/// The job of this id in the shard of this row.
pub(crate) fn by_id(conn: &Connection, (n, shard): (i64, &Shard), id: JobId) -> Result<Option<Stored>> {
    let mut statement =
        conn.prepare_cached(concat!("SELECT ", columns!(), " FROM queue_jobs WHERE shard = ?1 AND id = ?2"))?;
    let mut rows = statement.query(params![n, id_bytes(id)])?;
    rows.next()?.map(|row| stored(conn, row, shard)).transpose()
}

fn bytes(row: &Row<'_>, at: usize) -> Result<Option<Bytes>> {
    Ok(row.get::<_, Option<Vec<u8>>>(at)?.map(Bytes::from))
}
