//! Taking jobs in.

use queue_storage::model::{Conflict, Job, JobId, Move, NewJob, Parked, State};
use queue_storage::storage::{Admission, Edit, EnqueueCall, StorageError};
use rusqlite::{OptionalExtension, params};

use crate::error::{Error, Result};
use crate::job::cells;
use crate::job::edges;
use crate::job::edit;
use crate::job::fate::{self, Fate};
use crate::job::limits;
use crate::job::parcels;
use crate::job::row;
use crate::job::tx::Tx;
use crate::job::unique::{self, Owner};
use crate::job::watch::{self, Kind};
use crate::job::write::{self, Insert};
use crate::ledger::Ledger;

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
        .execute(params![shard.n, caller, call.number.cast_signed(), tx.now.as_micros(), encode(&answer)?])?;
    Ok(answer)
}

/// Stores the jobs in their order and saves the shard.
pub(crate) fn take_in(tx: &mut Tx<'_>, shard: &mut Ledger, jobs: Vec<NewJob>) -> Result<Vec<Admission>> {
    let mut insert = Insert::prepare(tx.conn)?;
    let answer = jobs.into_iter().map(|job| admit(tx, shard, &mut insert, job)).collect::<Result<Vec<_>>>()?;
    let wake = tx.hints.ready || tx.is_due_sooner(shard)?;
    tx.finish(shard, wake)?;
    Ok(answer)
}

/// Takes one job in.
pub(crate) fn admit(tx: &mut Tx<'_>, shard: &mut Ledger, insert: &mut Insert<'_>, new: NewJob) -> Result<Admission> {
    let mut parents = Vec::new();
    if !new.waits_for.is_empty() || new.unique.is_some() {
        if let Some(state) = stored(tx, shard, new.id)? {
            return Ok(Admission::Duplicate(state));
        }
        match edges::parents(tx, shard, &new.waits_for)? {
            Ok(stored) => parents = stored,
            Err(unknown) => return Ok(Admission::UnknownDependency(unknown)),
        }
    }
    if let Some(answer) = keep_out(tx, shard, &new)? {
        return Ok(answer);
    }
    let mut job = Job::admitted(new, shard.shard.clone(), tx.now);
    if job.state == State::Waiting {
        follow_back(tx, &mut job, &parents)?;
    } else if job.state == State::Ready {
        limits::park_new(tx, shard, &mut job)?;
    }
    if job.state == State::Ready {
        job.sequence = Some(shard.sequence + 1);
    }
    let Some(n) = insert.store(shard.n, &job)? else {
        let state = stored(tx, shard, job.id)?;
        return state.map(Admission::Duplicate).ok_or_else(|| Error::corrupt(format!("job {} comes and goes", job.id)));
    };
    count_in(tx, shard, (n, &job))?;
    unique::own(tx, shard, &job)?;
    if !job.state.is_end() {
        shard.limited += u64::from(write::is_limited(&job));
        if let Some((overdue, _)) = job.overdue_at() {
            watch::add(tx.conn, (shard.n, n), Kind::Overdue, overdue)?;
            tx.hints.due_at(overdue);
        }
    }
    if !job.state.is_end() || job.keeps_inputs() {
        edges::tie(tx, shard, (n, job.state), &parents)?;
    }
    Ok(Admission::Added(job.state))
}

/// Counts a job that was stored, and notes whom it concerns.
fn count_in(tx: &mut Tx<'_>, shard: &mut Ledger, (n, job): (i64, &Job)) -> Result<()> {
    shard.admitted(job.state);
    match job.state {
        State::Ready => {
            shard.parked += u64::from(job.parked.is_some());
            shard.blocked += u64::from(job.parked_for.is_some());
            tx.hints.ready |= job.parked_for.is_none();
            let place = shard.next_sequence();
            if job.parked == Some(Parked::Outbox) {
                parcels::add(tx.conn, shard, n, place)?;
            }
        }
        State::Scheduled => tx.hints.due_at(job.due_at.unwrap_or(tx.now)),
        state if state.is_end() => {
            shard.ends_at_once(state);
            tx.hints.jobs.push(job.id);
        }
        _ => {}
    }
    Ok(())
}

/// What becomes of a job whose unique key another holds; `None` if nobody does.
fn keep_out(tx: &mut Tx<'_>, shard: &mut Ledger, new: &NewJob) -> Result<Option<Admission>> {
    let Some(unique) = &new.unique else { return Ok(None) };
    let Some(Owner { id, .. }) = unique::owner(tx.conn, shard.n, &unique.key, tx.now)? else { return Ok(None) };
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
            edit::edit(tx, shard, &mut stored, &edit)?;
            Ok(Some(Admission::Replaced(id, stored.job.state)))
        }
        None => Ok(Some(Admission::Existing(id, state))),
    }
}

/// What becomes at once of a job that comes to wait.
fn follow_back(tx: &Tx<'_>, job: &mut Job, parents: &[edges::Parent]) -> Result<()> {
    let told: Vec<_> = parents.iter().map(edges::Parent::told).collect();
    let mv = match fate::at_once(job.trigger, &job.node, &told) {
        Fate::Waits => return Ok(()),
        Fate::Reached => {
            fate::reach(job, tx.now);
            Move::Reach
        }
        Fate::Cancelled(how) => {
            fate::cancel(job, how, tx.now);
            Move::Cancel
        }
    };
    Ok(mv.check(State::Waiting, job.state)?)
}

/// The state of a stored job.
fn stored(tx: &Tx<'_>, shard: &Ledger, id: JobId) -> Result<Option<State>> {
    let state = tx
        .conn
        .prepare_cached("SELECT state FROM queue_jobs WHERE shard = ?1 AND id = ?2")?
        .query_row(params![shard.n, cells::id_bytes(id)], |row| row.get::<_, i64>(0))
        .optional()?;
    state.map(cells::state).transpose()
}

/// Answers as they are remembered: each its kind, the job it names, and a state.
fn encode(answer: &[Admission]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(answer.len() * 2);
    for admission in answer {
        let state = admission.state().map_or(NO_STATE, |state| state as u8);
        let (kind, id) = match admission {
            Admission::Added(_) => (0, None),
            Admission::Duplicate(_) => (1, None),
            Admission::UnknownDependency(id) => (2, Some(id)),
            Admission::Existing(id, _) => (3, Some(id)),
            Admission::Rejected(id, _) => (4, Some(id)),
            Admission::Replaced(id, _) => (5, Some(id)),
            other => return Err(Error::corrupt(format!("the answer {other:?} can't be remembered"))),
        };
        bytes.push(kind);
        bytes.extend(id.into_iter().flat_map(|id| cells::id_bytes(*id)));
        bytes.extend(Some(state).filter(|_| kind != 2));
    }
    Ok(bytes)
}

/// Stands for the state of a job that is stored no more.
const NO_STATE: u8 = u8::MAX;

fn decode(mut bytes: &[u8]) -> Result<Vec<Admission>> {
    let mut answer = Vec::new();
    while let [kind, rest @ ..] = bytes {
        let damaged = || Error::corrupt("a remembered answer to an enqueue call is cut short");
        let length = if *kind < 2 { 0 } else { 16 };
        let (id, rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let (state, rest) = rest.split_at_checked(usize::from(*kind != 2)).ok_or_else(damaged)?;
        let id = if id.is_empty() { None } else { Some(cells::job_id(id)?) };
        let state = state.first().filter(|state| **state != NO_STATE);
        let state = state.map(|state| cells::state(i64::from(*state))).transpose()?;
        answer.push(match (kind, id, state) {
            (0, _, Some(state)) => Admission::Added(state),
            (1, _, Some(state)) => Admission::Duplicate(state),
            (2, Some(id), _) => Admission::UnknownDependency(id),
            (3, Some(id), state) => Admission::Existing(id, state),
            (4, Some(id), state) => Admission::Rejected(id, state),
            (5, Some(id), Some(state)) => Admission::Replaced(id, state),
            _ => return Err(damaged()),
        });
        bytes = rest;
    }
    Ok(answer)
}
