//! One job as a row: read.

use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{
    EndReason, Failure, FailureKind, Fence, Job, JobId, Key, Lease, NewJob, Parked, Progress, Shard, State, Tag,
    TaskName, Timestamp, When, WorkerId,
};
use rusqlite::{Connection, Row, params};

use crate::error::{Error, Result};
use crate::job::history;
use crate::job::limits::Keys;
use crate::job::rates;

/// The columns that [`job`] reads, in its order, with what only a [`Stored`] has at the end; a literal, for `concat!`.
macro_rules! columns {
    () => {
        "id, state, rank, seq, parked, suspect, task, needs, at_most_once, attempts, crashes, lapses, fence, lease_until, \
         delivered, worker, enqueued_at, due_at, started_at, ended_at, keep_until, when_in, when_at, reason, culprit, \
         failure_kind, failure_message, failure_type, waits_for, result, \
         coalesce(envelope, (SELECT e.bytes FROM queue_envelopes e WHERE e.n = queue_jobs.n)), failure_version, parked_at, \
         first_started_at, limits, expires_at, deadline_at, tags, progress, cancel_keep, runs, held, \
         keys, parked_for, n"
    };
}
pub(crate) use columns;

/// The place of the row's own number.
pub(crate) const N: usize = 44;

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

/// Reads a row of [`columns!`] whole.
pub(crate) fn stored(conn: &Connection, row: &Row<'_>, shard: &Shard) -> Result<Stored> {
    let cancel_keep: Option<i64> = row.get(39)?;
    Ok(Stored {
        n: row.get(N)?,
        job: job(conn, row, shard)?,
        held: row.get(41)?,
        runs: row.get(40)?,
        cancel_keep: cancel_keep.map(|micros| Duration::from_micros(micros.unsigned_abs())),
    })
}

/// Reads a row of [`columns!`].
pub(crate) fn job(conn: &Connection, row: &Row<'_>, shard: &Shard) -> Result<Job> {
    let id = job_id(row.get_ref(0)?.as_blob().map_err(|_| Error::corrupt("a job's id is not 16 bytes"))?)?;
    let broken = |what: &str| Error::corrupt(format!("job {id}: {what}"));
    let moment = |at| row.get(at).map(|micros: Option<i64>| micros.map(Timestamp::from_micros));
    let task = task(row.get_ref(6)?.as_str().map_err(|_| broken("it has no task"))?)?;
    let mut new = NewJob::new(id, task, bytes(row, 30)?.unwrap_or_default());
    new.priority = priority(row.get(2)?)?;
    new.when = when(row.get(21)?, row.get(22)?);
    new.at_most_once = row.get(8)?;
    new.needs = row.get(7)?;
    if let Some(ids) = row.get_ref(28)?.as_blob_or_null().map_err(|_| broken("waits_for"))? {
        new.waits_for = ids.chunks(16).map(job_id).collect::<Result<_>>()?;
    }
    let limits = row.get_ref(34)?.as_blob_or_null().map_err(|_| broken("limits"))?;
    if let Some(limits) = limits {
        (new.expires, new.deadline) = rmp_serde::from_slice(limits).map_err(|_| broken("its limits can't be read"))?;
    }
    if let Some(asked) = row.get_ref(42)?.as_blob_or_null().map_err(|_| broken("keys"))? {
        Keys { unique: new.unique, limits: new.limits } = Keys::read(asked)?;
    }
    new.tags = tags(row.get_ref(37)?.as_str_or_null().map_err(|_| broken("tags"))?)?;
    let mut job = Job::admitted(new, shard.clone(), moment(16)?.unwrap_or_default());
    job.state = state(row.get(1)?)?;
    job.sequence = row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned);
    job.parked = row.get_ref(4)?.as_str_or_null().ok().flatten().map(Parked::from);
    job.suspect = row.get(5)?;
    (job.attempts, job.crashes, job.lapses) = (row.get(9)?, row.get(10)?, row.get(11)?);
    (job.due_at, job.started_at) = (moment(17)?, moment(18)?);
    (job.ended_at, job.keep_until) = (moment(19)?, moment(20)?);
    // What few jobs have is asked for where it can be.
    if job.parked.is_some() {
        job.parked_at = moment(32)?;
    }
    if job.started_at.is_some() {
        job.first_started_at = moment(33)?.or(job.started_at);
    }
    if limits.is_some() {
        (job.expires_at, job.deadline_at) = (moment(35)?, moment(36)?);
    }
    job.worker = row.get_ref(15)?.as_blob_or_null().map_err(|_| broken("worker"))?.map(worker_id).transpose()?;
    if job.state == State::Running {
        job.lease = Some(Lease {
            worker: job.worker.ok_or_else(|| broken("it runs nowhere"))?,
            fence: Fence(row.get::<_, i64>(12)?.cast_unsigned()),
            until: moment(13)?.unwrap_or_default(),
            delivered: row.get(14)?,
        });
        job.cancel_requested = row.get::<_, Option<i64>>(39)?.is_some();
    }
    job.reason = row.get_ref(23)?.as_str_or_null().ok().flatten().map(EndReason::from);
    job.culprit = row.get_ref(24)?.as_blob_or_null().ok().flatten().map(job_id).transpose()?;
    job.failure = failure(row, 25, 31)?;
    if let Some(told) = row.get_ref(38)?.as_blob_or_null().map_err(|_| broken("progress"))? {
        let told: Progress = rmp_serde::from_slice(told).map_err(|_| broken("its progress can't be read"))?;
        job.progress = Some(told);
    }
    if let Some(key) = row.get_ref(43)?.as_str_or_null().map_err(|_| broken("parked_for"))? {
        job.parked_for = Some(Key::new(key).map_err(|_| broken("parked_for is no key"))?);
        job.opens_at = rates::opens_at(conn, row.get(N)?, &job)?;
    }
    if row.get::<_, i64>(40)? > 0 {
        job.history = history::of(conn, row.get(N)?)?;
    }
    job.result = bytes(row, 29)?;
    Ok(job)
}

/// The job of this row.
pub(crate) fn find(conn: &Connection, shard: &Shard, n: i64) -> Result<Option<Job>> {
    let mut statement = conn.prepare_cached(concat!("SELECT ", columns!(), " FROM queue_jobs WHERE n = ?1"))?;
    let mut rows = statement.query([n])?;
    rows.next()?.map(|row| job(conn, row, shard)).transpose()
}

/// The job of this row, with what only the row knows.
pub(crate) fn find_stored(conn: &Connection, shard: &Shard, n: i64) -> Result<Option<Stored>> {
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

/// A failure whose kind, message and type stand in a row from `at` on, and its version apart.
pub(crate) fn failure(row: &Row<'_>, at: usize, version: usize) -> Result<Option<Failure>> {
    let Some(kind) = row.get_ref(at)?.as_str_or_null().ok().flatten() else { return Ok(None) };
    Ok(Some(Failure {
        kind: FailureKind::from(kind),
        message: row.get::<_, Option<String>>(at + 1)?.unwrap_or_default(),
        error_type: row.get(at + 2)?,
        version: row.get(version)?,
    }))
}

fn bytes(row: &Row<'_>, at: usize) -> Result<Option<Bytes>> {
    Ok(row.get::<_, Option<Vec<u8>>>(at)?.map(Bytes::from))
}

pub(crate) fn state(number: i64) -> Result<State> {
    let known = usize::try_from(number).ok().and_then(|at| State::ALL.get(at));
    known.copied().ok_or_else(|| Error::corrupt(format!("{number} is not a state")))
}

fn priority(rank: i64) -> Result<i32> {
    i32::try_from(-rank).map_err(|_| Error::corrupt(format!("{rank} is not a rank")))
}

pub(crate) fn task(name: &str) -> Result<TaskName> {
    TaskName::new(name).map_err(|error| Error::corrupt(format!("a job's task: {error}")))
}

/// Tags as they are stored: with spaces between, which no tag has.
pub(crate) fn tags(text: Option<&str>) -> Result<Vec<Tag>> {
    let tag = |tag| Tag::new(tag).map_err(|error| Error::corrupt(format!("a job's tag: {error}")));
    text.map_or(Ok(Vec::new()), |text| text.split(' ').map(tag).collect())
}

/// The number stored for a state.
pub(crate) const fn number(state: State) -> i64 {
    state as i64
}

/// The 16 bytes of an id.
pub(crate) fn job_id(bytes: &[u8]) -> Result<JobId> {
    u128_of(bytes).map(JobId::from_u128)
}

pub(crate) fn worker_id(bytes: &[u8]) -> Result<WorkerId> {
    u128_of(bytes).map(WorkerId::from_u128)
}

fn u128_of(bytes: &[u8]) -> Result<u128> {
    let bytes = bytes.try_into().map_err(|_| Error::corrupt(format!("an id has {} bytes, not 16", bytes.len())))?;
    Ok(u128::from_be_bytes(bytes))
}

/// An id as it is stored: 16 bytes that sort as it does.
pub(crate) fn id_bytes(id: JobId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

/// A worker's id as it is stored.
pub(crate) fn worker_bytes(id: WorkerId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

pub(crate) fn when(delay: Option<i64>, at: Option<i64>) -> When {
    match (delay, at) {
        (Some(micros), _) => When::In(Duration::from_micros(micros.unsigned_abs())),
        (None, Some(micros)) => When::At(Timestamp::from_micros(micros)),
        (None, None) => When::Now,
    }
}

/// The moment in micros, for a bound parameter.
pub(crate) fn micros(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(Timestamp::as_micros)
}

/// A length of time in micros, for a bound parameter.
pub(crate) fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
