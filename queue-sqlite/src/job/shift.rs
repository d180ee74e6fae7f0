//! The rare moves: a job is read whole, changed, and written whole, with all that follows for the shard.
//!
//! What every job goes through (it is taken in, promoted, claimed, settled) has statements of its own instead.

use std::time::Duration;

use queue_storage::model::{EndReason, Job, Move, Parked, State, Timestamp};

use crate::error::Result;
use crate::job::edges::{self, End};
use crate::job::limits::Stood;
use crate::job::parcels;
use crate::job::row::Stored;
use crate::job::tx::Tx;
use crate::job::watch::Moments;
use crate::job::write;
use crate::ledger::Ledger;

/// Moves a job; `edit` sets its new state and what goes with it.
pub(crate) fn shift(
    tx: &mut Tx<'_>,
    shard: &mut Ledger,
    stored: &mut Stored,
    mv: Move,
    edit: impl FnOnce(&mut Job),
) -> Result<()> {
    let (from, limited) = (stored.job.state, write::is_limited(&stored.job));
    let (stood, moments) = (Stood::of(&stored.job), Moments::of(&stored.job));
    leave(tx, shard, stored)?;
    edit(&mut stored.job);
    let job = &stored.job;
    shard.moves(mv, from, job.state)?;
    write::rewrite(tx.conn, stored.n, job, stored.runs)?;
    moments.replace(tx.conn, (shard.n, stored.n), Moments::of(job))?;
    tx.hints.moved(job.id, mv, from, job.state);
    if job.state.is_end() {
        let (state, has_result, held) = (job.state, job.result.is_some(), stored.held);
        let (waited, keeps) = (!job.waits_for.is_empty(), job.keeps_inputs());
        edges::ended(tx, shard, &End { n: stored.n, state, has_result, held, waited, keeps, limited })?;
    } else {
        shard.limited += u64::from(from.is_end() && write::is_limited(job));
        arrive(tx, shard, (stored.n, job))?;
    }
    stood.map_or(Ok(()), |stood| stood.moved(tx, shard, stored.n, job))
}

/// Takes a job out of what its shard counts beside the states.
fn leave(tx: &Tx<'_>, shard: &mut Ledger, Stored { job, held, cancel_keep, .. }: &Stored) -> Result<()> {
    match job.state {
        State::Ready if job.parked.is_some() => {
            shard.parked -= 1;
            shard.blocked -= u64::from(job.parked_for.is_some());
            if job.parked == Some(Parked::Outbox) {
                parcels::take(tx.conn, shard, job.sequence.unwrap_or(0))?;
            }
        }
        State::Ready if job.suspect => shard.suspects -= 1,
        State::Running => shard.stopping -= u64::from(cancel_keep.is_some()),
        state if state.is_end() && !held => shard.prunable(state, job.result.is_some(), false),
        _ => {}
    }
    Ok(())
}

/// Counts a live job in, and notes whom it concerns.
fn arrive(tx: &mut Tx<'_>, shard: &mut Ledger, (n, job): (i64, &Job)) -> Result<()> {
    match job.state {
        State::Ready if job.parked.is_some() => {
            shard.parked += 1;
            shard.blocked += u64::from(job.parked_for.is_some());
            if job.parked == Some(Parked::Outbox) {
                parcels::add(tx.conn, shard, n, job.sequence.unwrap_or(0))?;
                tx.hints.ready = true;
            }
        }
        State::Ready => {
            shard.suspects += u64::from(job.suspect);
            tx.hints.ready = true;
        }
        State::Scheduled | State::Retrying => tx.hints.due_at(job.due_at.unwrap_or(tx.now)),
        _ => {}
    }
    Ok(())
}

/// What is written of a job that ends without a run.
pub(crate) fn end(job: &mut Job, state: State, reason: EndReason, now: Timestamp, keep: Duration) {
    (job.state, job.reason) = (state, Some(reason));
    (job.ended_at, job.keep_until) = (Some(now), Some(now + keep));
    (job.parked, job.parked_at, job.parked_for, job.cancel_requested) = (None, None, None, false);
}
