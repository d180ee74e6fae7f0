//! Ended jobs that are taken in once more: let to wait again, or, elsewhere, to run.

use queue_storage::model::{Job, Move, State};
use queue_storage::storage::Acted;

use crate::error::Result;
use crate::job::edges;
use crate::job::fate::{self, Fate};
use crate::job::follow;
use crate::job::history;
use crate::job::row::Stored;
use crate::job::shift::shift;
use crate::job::tx::Tx;
use crate::job::unique;
use crate::ledger::Ledger;

/// Lets a job wait again for those that it waited for, unless what others need of it would be gone, or one of those is.
/// What has ended of them is followed at once.
pub(crate) fn rearm(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored) -> Result<Acted> {
    if !stored.job.may_wait_again() || (stored.held && edges::is_needed(tx, stored.n)?) {
        return Ok(Acted::Refused(stored.job.state));
    }
    let Ok(parents) = edges::parents(tx, shard, &stored.job.waits_for)? else {
        return Ok(Acted::Refused(stored.job.state));
    };
    begin_anew(tx, shard, stored)?;
    let now = tx.now;
    shift(tx, shard, stored, Move::Rearm, |job| {
        if job.state == State::Expired {
            (job.expires, job.deadline) = (None, None);
        }
        made_anew(job);
        (job.state, job.sequence, job.due_at) = (State::Waiting, None, None);
        job.set_limits(now);
    })?;
    edges::tie_anew(tx, shard, (stored.n, State::Waiting), &parents)?;
    let told: Vec<_> = parents.iter().map(edges::Parent::told).collect();
    match fate::at_once(stored.job.trigger, &stored.job.node, &told) {
        Fate::Waits => {}
        Fate::Reached => follow::reach(tx, shard, stored)?,
        Fate::Cancelled(how) => follow::cancel(tx, shard, stored, how)?,
    }
    Ok(Acted::Done(stored.job.state))
}

/// An ended job is taken in once more: its last run joins its history, and its key is free.
pub(crate) fn begin_anew(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored) -> Result<()> {
    if let Some(last) = stored.job.attempts_made().get(stored.job.history.len()) {
        stored.runs = history::remember(tx.conn, stored.n, stored.runs, last, u32::MAX)?;
    }
    shard.enqueued += 1;
    unique::disown(tx, shard, &stored.job)
}

/// Nothing is left of how an ended job ended and of what it has been through; its history stands elsewhere.
pub(crate) fn made_anew(job: &mut Job) {
    (job.attempts, job.crashes, job.lapses, job.suspect) = (0, 0, 0, false);
    (job.first_started_at, job.started_at) = (None, None);
    (job.ended_at, job.keep_until) = (None, None);
    (job.reason, job.culprit) = (None, None);
    (job.failure, job.result, job.progress, job.worker) = (None, None, None, None);
    job.unique = None;
}
