//! Ended jobs that are let to wait once more.

use queue_storage::model::{EndReason, Job, Move, Node, State};
use queue_storage::storage::Acted;

use crate::error::Result;
use crate::job::edges;
use crate::job::fate::{self, Fate};
use crate::job::follow;
use crate::job::row::Stored;
use crate::job::shift::shift;
use crate::job::tx::Tx;
use crate::job::unique;
use crate::ledger::Ledger;

/// Lets a job wait again for those that it waited for, unless what others need of it would be gone, or one of those is.
/// What has ended of them is followed at once.
pub(crate) fn rearm(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored) -> Result<Acted> {
    if !is_rearmable(&stored.job) || (stored.held && edges::is_needed(tx, stored.n)?) {
        return Ok(Acted::Refused(stored.job.state));
    }
    let Ok(parents) = edges::parents(tx, shard, &stored.job.waits_for)? else {
        return Ok(Acted::Refused(stored.job.state));
    };
    shard.enqueued += 1;
    unique::disown(tx, shard, &stored.job)?;
    let now = tx.now;
    shift(tx, shard, stored, Move::Rearm, |job| {
        (job.state, job.sequence, job.due_at) = (State::Waiting, None, None);
        (job.ended_at, job.keep_until, job.reason, job.culprit) = (None, None, None, None);
        (job.failure, job.unique) = (None, None);
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

/// Whether a job was cancelled for others, or told of them, and could wait for them again.
fn is_rearmable(job: &Job) -> bool {
    match (job.state, &job.node) {
        (State::Cancelled, _) => matches!(job.reason, Some(EndReason::Dependency | EndReason::NotNeeded)),
        (State::Completed, Node::Relay { .. }) => true,
        _ => false,
    }
}
