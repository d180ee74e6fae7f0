//! Taking jobs in.

use queue_storage::model::{EndReason, Job, JobId, Move, NewJob, State};
use queue_storage::storage::{Admission, EnqueueCall, StorageError};
use rusqlite::{OptionalExtension, params};

use crate::edges;
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::row;
use crate::tx::Tx;

/// A numbered call: answered from memory when it was applied before.
pub(crate) fn enqueue(tx: &mut Tx<'_>, call: EnqueueCall) -> Result<Vec<Admission>> {
    let mut shard = Ledger::open(tx.conn, tx.namespace, &call.shard)?;
    let caller = call.caller.as_u128().to_be_bytes();
    let last = tx
        .conn
        .prepare_cached("SELECT number, answer FROM queue_callers WHERE shard = ?1 AND caller = ?2")?
        .query_row(params![shard.n, caller], |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, Vec<u8>>(1)?))
        })
        .optional()?;
    match last {
        Some((number, answer)) if number == call.number => return decode(&answer),
        Some((number, _)) if number > call.number => {
            return Err(Error::Refused(StorageError::superseded(format!(
                "enqueue call {} of {} to {} was overtaken by {number}",
                call.number, call.caller, call.shard
            ))));
        }
        _ => {}
    }
    let answer = take_in(tx, &mut shard, call.jobs)?;
    tx.conn
        .prepare_cached(
            "INSERT INTO queue_callers (shard, caller, number, seen_at, answer) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (shard, caller) DO UPDATE SET number = ?3, seen_at = ?4, answer = ?5",
        )?
        .execute(params![shard.n, caller, call.number.cast_signed(), tx.now.as_micros(), encode(&answer)])?;
    Ok(answer)
}

/// Stores the jobs in their order and saves the shard.
pub(crate) fn take_in(tx: &mut Tx<'_>, shard: &mut Ledger, jobs: Vec<NewJob>) -> Result<Vec<Admission>> {
    let answer = jobs.into_iter().map(|job| admit(tx, shard, job)).collect::<Result<Vec<_>>>()?;
    let wake = tx.hints.ready || tx.is_due_sooner(shard)?;
    tx.finish(shard, wake)?;
    Ok(answer)
}

fn admit(tx: &mut Tx<'_>, shard: &mut Ledger, new: NewJob) -> Result<Admission> {
    let mut parents = Vec::new();
    if !new.waits_for.is_empty() {
        if let Some(state) = stored(tx, shard, new.id)? {
            return Ok(Admission::Duplicate(state));
        }
        for id in &new.waits_for {
            match edges::parent(tx, shard, *id)? {
                Some(parent) => parents.push(parent),
                None => return Ok(Admission::UnknownDependency(*id)),
            }
        }
    }
    let mut job = Job::admitted(new, shard.shard.clone(), tx.now);
    if job.state == State::Waiting {
        settle_dependencies(tx, &mut job, &parents)?;
    }
    if job.state == State::Ready {
        job.sequence = Some(shard.sequence + 1);
    }
    let Some(n) = row::insert(tx.conn, shard.n, &job)? else {
        let state = stored(tx, shard, job.id)?;
        return state.map(Admission::Duplicate).ok_or_else(|| Error::corrupt(format!("job {} comes and goes", job.id)));
    };
    shard.admitted(job.state);
    match job.state {
        State::Ready => {
            shard.next_sequence();
            tx.hints.ready = true;
        }
        State::Scheduled => tx.hints.due_at(job.due_at.unwrap_or(tx.now)),
        State::Cancelled => shard.ends_at_once(),
        _ => {}
    }
    if !job.state.is_end() {
        edges::tie(tx, shard, n, &parents)?;
    }
    Ok(Admission::Added(job.state))
}

/// What becomes at once of a job whose dependencies have all completed, or one of which ended otherwise.
fn settle_dependencies(tx: &Tx<'_>, job: &mut Job, parents: &[edges::Parent]) -> Result<()> {
    let failed = parents.iter().find(|parent| parent.state.is_end() && parent.state != State::Completed);
    if let Some(culprit) = failed {
        Move::Cancel.check(job.state, State::Cancelled)?;
        job.state = State::Cancelled;
        job.ended_at = Some(tx.now);
        job.keep_until = Some(culprit.keep_until.unwrap_or(tx.now).max(tx.now));
        job.reason = Some(EndReason::Dependency);
        job.culprit = Some(culprit.id);
    } else if parents.iter().all(|parent| parent.state == State::Completed) {
        let (state, due_at) = job.when.start(tx.now);
        Move::Reach.check(job.state, state)?;
        (job.state, job.due_at) = (state, due_at);
    }
    Ok(())
}

/// The state of a stored job.
fn stored(tx: &Tx<'_>, shard: &Ledger, id: JobId) -> Result<Option<State>> {
    let state = tx
        .conn
        .prepare_cached("SELECT state FROM queue_jobs WHERE shard = ?1 AND id = ?2")?
        .query_row(params![shard.n, row::id_bytes(id)], |row| row.get::<_, i64>(0))
        .optional()?;
    state.map(row::state).transpose()
}

/// Answers as they are remembered.
fn encode(answer: &[Admission]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(answer.len() * 2);
    for admission in answer {
        match admission {
            Admission::Duplicate(state) => bytes.extend([1, *state as u8]),
            Admission::UnknownDependency(id) => {
                bytes.push(2);
                bytes.extend(row::id_bytes(*id));
            }
            Admission::Added(state) => bytes.extend([0, *state as u8]),
            other => bytes.extend([0, other.state().unwrap_or(State::Ready) as u8]),
        }
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Result<Vec<Admission>> {
    let mut answer = Vec::new();
    while let [kind, rest @ ..] = bytes {
        let damaged = || Error::corrupt("a remembered answer to an enqueue call is cut short");
        let length = if *kind == 2 { 16 } else { 1 };
        let (value, rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
        answer.push(match kind {
            0 => Admission::Added(row::state(i64::from(value[0]))?),
            1 => Admission::Duplicate(row::state(i64::from(value[0]))?),
            _ => Admission::UnknownDependency(row::job_id(value)?),
        });
        bytes = rest;
    }
    Ok(answer)
}
