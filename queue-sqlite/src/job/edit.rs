//! Jobs that do not run, changed.

use queue_storage::model::{Job, Move, State, Timestamp, When};
use queue_storage::storage::Edit;

use crate::error::Result;
use crate::job::row::Stored;
use crate::job::shift::shift;
use crate::job::tx::Tx;
use crate::job::write;
use crate::ledger::Ledger;

/// Changes a live job that does not run.
pub(crate) fn edit(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored, edit: &Edit) -> Result<()> {
    let moved = edit.when.map(|when| (when, rescheduled(&stored.job, when, tx.now)));
    let fresh = moved.is_some_and(|(_, (_, _, fresh))| fresh).then(|| shard.next_sequence());
    let now = tx.now;
    shift(tx, shard, stored, Move::Reschedule, |job| {
        if let Some((when, (state, due_at, _))) = moved {
            (job.state, job.due_at, job.when) = (state, due_at, when);
            job.sequence = fresh.or(job.sequence);
            if state != State::Ready {
                (job.parked, job.parked_at, job.parked_for) = (None, None, None);
            }
            job.set_limits(now);
        }
        job.priority = edit.priority.unwrap_or(job.priority);
    })?;
    write_envelope(tx, stored, edit)
}

/// Writes the other envelope of an edit that has one.
pub(crate) fn write_envelope(tx: &Tx<'_>, stored: &Stored, edit: &Edit) -> Result<()> {
    edit.envelope.as_ref().map_or(Ok(()), |envelope| write::envelope(tx.conn, stored.n, envelope))
}

/// Where a live job goes that is to start then: its state, when it is due, and whether it gets a new place in line.
fn rescheduled(job: &Job, when: When, now: Timestamp) -> (State, Option<Timestamp>, bool) {
    if job.state == State::Waiting {
        return (State::Waiting, None, false);
    }
    match (job.state, when.start(now)) {
        (State::Retrying, (State::Scheduled, due_at)) => (State::Retrying, due_at, false),
        (from, (state, due_at)) => (state, due_at, state == State::Ready && from != State::Ready),
    }
}
