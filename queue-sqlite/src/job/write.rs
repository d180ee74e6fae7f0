//! One job as a row: written.

use queue_storage::model::{EndReason, Failure, FailureKind, Job, Key, Parked, Timestamp, When};
use rusqlite::{Connection, named_params, params};

use crate::error::{Error, Result};
use crate::job::limits;
use crate::job::row::{id_bytes, length, micros, number, worker_bytes};

/// Envelopes longer than this are stored apart.
pub(crate) const INLINE_ENVELOPE: usize = 2 * 1024;

/// Stores a job that was admitted; `None` when one of its id is stored in the shard.
pub(crate) fn insert(conn: &Connection, shard: i64, job: &Job) -> Result<Option<i64>> {
    let (delay, at) = when(job.when);
    let waits_for: Option<Vec<u8>> =
        (!job.waits_for.is_empty()).then(|| job.waits_for.iter().flat_map(|id| id_bytes(*id)).collect());
    let inline = (job.envelope.len() <= INLINE_ENVELOPE).then_some(&job.envelope[..]);
    let mut statement = conn.prepare_cached(
        "INSERT INTO queue_jobs (shard, id, state, rank, seq, task, needs, at_most_once, enqueued_at, due_at, ended_at, \
         keep_until, when_in, when_at, reason, culprit, waits_for, envelope, overdue_at, expires_at, deadline_at, limits, \
         tags, keys, parked, parked_at, parked_for) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, \
         ?24, ?25, ?26, ?27) \
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
        overdue(job),
        micros(job.expires_at),
        micros(job.deadline_at),
        time_limits(job)?,
        tags(job),
        limits::encode(job)?,
        job.parked.as_ref().map(Parked::as_str),
        micros(job.parked_at),
        job.parked_for.as_ref().map(Key::as_str),
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

/// Writes all that may change of a job which does not run, but for its envelope: for the rare moves, which are many.
pub(crate) fn rewrite(conn: &Connection, n: i64, job: &Job) -> Result<()> {
    let (delay, at) = when(job.when);
    let failure = job.failure.as_ref();
    conn.prepare_cached(
        "UPDATE queue_jobs SET state = :state, rank = :rank, seq = :seq, parked = :parked, parked_at = :parked_at, \
         suspect = :suspect, attempts = :attempts, crashes = :crashes, lapses = :lapses, worker = :worker, fence = NULL, \
         lease_until = NULL, delivered = NULL, cancel_keep = NULL, due_at = :due_at, first_started_at = :first_started_at, \
         started_at = :started_at, ended_at = :ended_at, \
         keep_until = :keep_until, when_in = :when_in, when_at = :when_at, overdue_at = :overdue_at, \
         expires_at = :expires_at, deadline_at = :deadline_at, limits = :limits, \
         keys = :keys, parked_for = :parked_for, reason = :reason, culprit = :culprit, \
         failure_kind = :kind, failure_message = :message, failure_type = :type, failure_version = :version, \
         progress = CASE WHEN :unsaid THEN NULL ELSE progress END, result = CASE WHEN :void THEN NULL ELSE result END \
         WHERE n = :n",
    )?
    .execute(named_params! {
        ":n": n, ":state": number(job.state), ":rank": -i64::from(job.priority),
        ":seq": job.sequence.map(u64::cast_signed), ":parked": job.parked.as_ref().map(Parked::as_str),
        ":parked_at": micros(job.parked_at), ":suspect": job.suspect, ":attempts": job.attempts,
        ":crashes": job.crashes, ":lapses": job.lapses, ":worker": job.worker.map(worker_bytes),
        ":due_at": micros(job.due_at), ":started_at": micros(job.started_at),
        ":first_started_at": micros(job.first_started_at.filter(|_| job.first_started_at != job.started_at)),
        ":ended_at": micros(job.ended_at), ":keep_until": micros(job.keep_until),
        ":when_in": delay, ":when_at": at, ":overdue_at": overdue(job), ":expires_at": micros(job.expires_at),
        ":deadline_at": micros(job.deadline_at), ":limits": time_limits(job)?,
        ":keys": limits::encode(job)?, ":parked_for": job.parked_for.as_ref().map(Key::as_str),
        ":reason": job.reason.as_ref().map(EndReason::as_str), ":culprit": job.culprit.map(id_bytes),
        ":kind": failure.map(|failure| failure.kind.as_str()), ":message": failure.map(|failure| &failure.message),
        ":type": failure.and_then(|failure| failure.error_type.as_ref()),
        ":version": failure.and_then(|failure| failure.version.as_ref()),
        ":unsaid": job.progress.is_none(), ":void": job.result.is_none(),
    })?;
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

fn overdue(job: &Job) -> Option<i64> {
    job.overdue_at().map(|(at, _)| at.as_micros())
}

fn time_limits(job: &Job) -> Result<Option<Vec<u8>>> {
    let encode = || rmp_serde::to_vec(&(job.expires, job.deadline));
    let encoded = is_limited(job).then(encode).transpose();
    encoded.map_err(|error| Error::corrupt(format!("the limits of job {} can't be written: {error}", job.id)))
}

fn tags(job: &Job) -> Option<String> {
    let all: Vec<&str> = job.tags.iter().map(AsRef::as_ref).collect();
    (!all.is_empty()).then(|| all.join(" "))
}

/// A time asked for, as it is stored: a delay, or a moment.
fn when(when: When) -> (Option<i64>, Option<i64>) {
    match when {
        When::Now => (None, None),
        When::In(delay) => (Some(length(delay)), None),
        When::At(at) => (None, Some(Timestamp::as_micros(at))),
    }
}

/// The kind of a failure, its message, type and version, each for a bound parameter.
pub(crate) type FailureColumns<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>);

pub(crate) fn failure(failure: Option<&Failure>) -> FailureColumns<'_> {
    let Some(Failure { kind, message, error_type, version }) = failure else { return (None, None, None, None) };
    (Some(FailureKind::as_str(kind)), Some(message), error_type.as_deref(), version.as_deref())
}
