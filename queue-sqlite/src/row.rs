//! One job as a row.

use bytes::Bytes;
use queue_storage::model::{
    EndReason, Failure, FailureKind, Fence, Job, JobId, Lease, NewJob, Parked, Shard, State, TaskName, Timestamp, When,
    WorkerId,
};
use rusqlite::{Connection, Row, params};

use crate::error::{Error, Result};

/// Envelopes longer than this are stored apart.
pub(crate) const INLINE_ENVELOPE: usize = 2 * 1024;

/// The columns that [`job`] reads, in its order, with the row's own number last; a literal, for `concat!`.
macro_rules! columns {
    () => {
        "id, state, rank, seq, parked, suspect, task, needs, at_most_once, attempts, crashes, lapses, fence, lease_until, \
         delivered, (SELECT w.id FROM queue_workers w WHERE w.worker = queue_jobs.worker), enqueued_at, due_at, \
         started_at, ended_at, keep_until, when_in, when_at, reason, culprit, failure_kind, failure_message, \
         failure_type, waits_for, result, \
         coalesce(envelope, (SELECT e.bytes FROM queue_envelopes e WHERE e.n = queue_jobs.n)), n"
    };
}
pub(crate) use columns;

/// The place of the row's own number.
pub(crate) const N: usize = 31;

/// Reads a row of [`columns!`].
pub(crate) fn job(row: &Row<'_>, shard: &Shard) -> Result<Job> {
    let id = job_id(row.get_ref(0)?.as_blob().map_err(|_| Error::corrupt("a job's id is not 16 bytes"))?)?;
    let moment = |at| row.get(at).map(|micros: Option<i64>| micros.map(Timestamp::from_micros));
    let task: &str = row.get_ref(6)?.as_str().map_err(|_| Error::corrupt(format!("job {id} has no task")))?;
    let task = TaskName::new(task).map_err(|error| Error::corrupt(format!("job {id}: {error}")))?;
    let mut new = NewJob::new(id, task, bytes(row, 30)?.unwrap_or_default());
    new.priority = priority(row.get(2)?)?;
    new.when = when(row.get(21)?, row.get(22)?);
    new.at_most_once = row.get(8)?;
    new.needs = row.get(7)?;
    if let Some(ids) = row.get_ref(28)?.as_blob_or_null().map_err(|_| Error::corrupt(format!("job {id}: waits_for")))? {
        new.waits_for = ids.chunks(16).map(job_id).collect::<Result<_>>()?;
    }
    let enqueued_at = moment(16)?.unwrap_or_default();
    let mut job = Job::admitted(new, shard.clone(), enqueued_at);
    job.state = state(row.get(1)?)?;
    job.sequence = row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned);
    job.parked = row.get_ref(4)?.as_str_or_null().ok().flatten().map(Parked::from);
    job.suspect = row.get(5)?;
    (job.attempts, job.crashes, job.lapses) = (row.get(9)?, row.get(10)?, row.get(11)?);
    (job.due_at, job.started_at) = (moment(17)?, moment(18)?);
    (job.ended_at, job.keep_until) = (moment(19)?, moment(20)?);
    if job.state == State::Running {
        job.lease = Some(Lease {
            worker: worker_id(row.get_ref(15)?.as_blob().map_err(|_| Error::corrupt(format!("job {id}: worker")))?)?,
            fence: Fence(row.get::<_, i64>(12)?.cast_unsigned()),
            until: moment(13)?.unwrap_or_default(),
            delivered: row.get(14)?,
        });
    }
    job.reason = row.get_ref(23)?.as_str_or_null().ok().flatten().map(EndReason::from);
    job.culprit = row.get_ref(24)?.as_blob_or_null().ok().flatten().map(job_id).transpose()?;
    if let Some(kind) = row.get_ref(25)?.as_str_or_null().ok().flatten() {
        let message = row.get::<_, Option<String>>(26)?.unwrap_or_default();
        job.failure = Some(Failure { kind: FailureKind::from(kind), message, error_type: row.get(27)? });
    }
    job.result = bytes(row, 29)?;
    Ok(job)
}

/// The job of this row.
pub(crate) fn find(conn: &Connection, shard: &Shard, n: i64) -> Result<Option<Job>> {
    let mut statement = conn.prepare_cached(concat!("SELECT ", columns!(), " FROM queue_jobs WHERE n = ?1"))?;
    let mut rows = statement.query([n])?;
    rows.next()?.map(|row| job(row, shard)).transpose()
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

/// The number stored for a state.
pub(crate) const fn number(state: State) -> i64 {
    state as i64
}

/// The 16 bytes of an id.
pub(crate) fn job_id(bytes: &[u8]) -> Result<JobId> {
    u128_of(bytes).map(JobId::from_u128)
}

fn worker_id(bytes: &[u8]) -> Result<WorkerId> {
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

pub(crate) fn when(delay: Option<i64>, at: Option<i64>) -> When {
    match (delay, at) {
        (Some(micros), _) => When::In(std::time::Duration::from_micros(micros.unsigned_abs())),
        (None, Some(micros)) => When::At(Timestamp::from_micros(micros)),
        (None, None) => When::Now,
    }
}

/// Stores a job that was admitted; `None` when one of its id is stored in the shard.
pub(crate) fn insert(conn: &Connection, shard: i64, job: &Job) -> Result<Option<i64>> {
    let (delay, at) = match job.when {
        When::Now => (None, None),
        When::In(delay) => (Some(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX)), None),
        When::At(at) => (None, Some(at.as_micros())),
    };
    let waits_for: Option<Vec<u8>> =
        (!job.waits_for.is_empty()).then(|| job.waits_for.iter().flat_map(|id| id_bytes(*id)).collect());
    let micros = |moment: Option<Timestamp>| moment.map(Timestamp::as_micros);
    let inline = (job.envelope.len() <= INLINE_ENVELOPE).then_some(&job.envelope[..]);
    let mut statement = conn.prepare_cached(
        "INSERT INTO queue_jobs (shard, id, state, rank, seq, task, needs, at_most_once, enqueued_at, due_at, ended_at, \
         keep_until, when_in, when_at, reason, culprit, waits_for, envelope) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18) \
         ON CONFLICT (shard, id) DO NOTHING",
    )?;
    let inserted = statement.execute(params![
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
        delay,
        at,
        job.reason.as_ref().map(EndReason::as_str),
        job.culprit.map(id_bytes),
        waits_for,
        inline,
    ])?;
    if inserted == 0 {
        return Ok(None);
    }
    let n = conn.last_insert_rowid();
    if inline.is_none() {
        conn.prepare_cached("INSERT OR REPLACE INTO queue_envelopes (n, bytes) VALUES (?1, ?2)")?
            .execute(params![n, &job.envelope[..]])?;
    }
    Ok(Some(n))
}

/// The moment in micros, for a bound parameter.
pub(crate) fn micros(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(Timestamp::as_micros)
}
