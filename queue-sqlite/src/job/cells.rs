//! What stands in single columns: ids, states, times, and how each is read and written.

use std::time::Duration;

use queue_storage::model::{Failure, FailureKind, JobId, State, Tag, TaskName, Timestamp, WorkerId};
use rusqlite::Row;

use crate::error::{Error, Result};

pub(crate) fn state(number: i64) -> Result<State> {
    let known = usize::try_from(number).ok().and_then(|at| State::ALL.get(at));
    known.copied().ok_or_else(|| Error::corrupt(format!("{number} is not a state")))
}

/// The number stored for a state.
pub(crate) const fn number(state: State) -> i64 {
    state as i64
}

pub(crate) fn priority(rank: i64) -> Result<i32> {
    i32::try_from(-rank).map_err(|_| Error::corrupt(format!("{rank} is not a rank")))
}

pub(crate) fn task(name: &str) -> Result<TaskName> {
    TaskName::new(name).map_err(|error| Error::corrupt(format!("a job's task: {error}")))
}

/// Tags as they are stored: with spaces between, which no tag has.
pub(crate) fn tags(text: &str) -> Result<Vec<Tag>> {
    let tag = |tag| Tag::new(tag).map_err(|error| Error::corrupt(format!("a job's tag: {error}")));
    text.split(' ').map(tag).collect()
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

/// The moment in micros, for a bound parameter.
pub(crate) fn micros(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(Timestamp::as_micros)
}

/// A length of time in micros, for a bound parameter.
pub(crate) fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A length of time, of its micros.
pub(crate) fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

/// A failure whose kind, message, type and version stand in a row from `at` on.
pub(crate) fn failure(row: &Row<'_>, at: usize) -> Result<Option<Failure>> {
    let Some(kind) = row.get_ref(at)?.as_str_or_null().ok().flatten() else { return Ok(None) };
    Ok(Some(Failure {
        kind: FailureKind::from(kind),
        message: row.get::<_, Option<String>>(at + 1)?.unwrap_or_default(),
        error_type: row.get(at + 2)?,
        version: row.get(at + 3)?,
    }))
}
