//! What people do to jobs.

use std::time::Duration;

use queue_storage::model::{EndReason, JobId, Move, Node, Shard, State, Trigger, When};
use queue_storage::storage::{Act, Acted, Edit};
use rusqlite::params;

use crate::error::Result;
use crate::job::edges::{self, Parent};
use crate::job::edit::{self, edit};
use crate::job::ends;
use crate::job::follow;
use crate::job::maintain;
use crate::job::rearm::{begin_anew, made_anew, rearm};
use crate::job::row::{self, Stored};
use crate::job::shift::shift;
use crate::job::tx::Tx;
use crate::job::unique;
use crate::job::write;
use crate::ledger::Ledger;

/// Does something to each of some jobs, and follows what ended.
pub(crate) fn act(tx: &mut Tx<'_>, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>> {
    let Some(mut shard) = Ledger::find(tx.conn, tx.namespace, shard)? else {
        return Ok(vec![Acted::Missing; ids.len()]);
    };
    let mut answer = Vec::with_capacity(ids.len());
    for id in ids {
        answer.push(match row::by_id(tx.conn, (shard.n, &shard.shard), *id)? {
            Some(mut stored) => act_on(tx, &mut shard, &mut stored, act)?,
            None => Acted::Missing,
        });
    }
    let mut edges_left = follow::BUDGET;
    follow::follow(tx, &mut shard, &mut edges_left)?;
    // What is not followed yet is the next exchange's: there must be one.
    let wake = tx.hints.ready || shard.follow > 0 || tx.is_due_sooner(&shard)?;
    tx.finish(&mut shard, wake)?;
    Ok(answer)
}

fn act_on(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored, act: &Act) -> Result<Acted> {
    let (state, node) = (stored.job.state, &stored.job.node);
    match act {
        Act::Cancel { .. } | Act::Delete if !state.is_end() && matches!(node, Node::Relay { .. }) => {
            return Ok(Acted::Refused(state));
        }
        Act::Edit(_) | Act::Revive(_) if !node.is_task() => return Ok(Acted::Refused(state)),
        Act::Rearm => return rearm(tx, shard, stored),
        Act::Cancel { keep } if state == State::Running => return ask_to_stop(tx, shard, stored, *keep),
        Act::Cancel { keep } if !state.is_end() => ends::cancel(tx, shard, stored, EndReason::Requested, *keep)?,
        Act::Delete if state != State::Running => delete(tx, shard, stored)?,
        Act::Revive(edit) if state.is_end() => return revive(tx, shard, stored, edit),
        Act::Edit(changes) if !state.is_end() && state != State::Running => edit(tx, shard, stored, changes)?,
        _ => return Ok(Acted::Refused(state)),
    }
    Ok(Acted::Done(stored.job.state))
}

/// Notes on a running job that it is to stop, and tells its worker.
fn ask_to_stop(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored, keep: Duration) -> Result<Acted> {
    if stored.cancel_keep.is_none() {
        stored.cancel_keep = Some(keep);
        write::more(tx.conn, stored.n, stored.job.id, &stored.more())?;
        shard.stopping += 1;
    }
    tx.hints.stops.extend(stored.job.worker);
    Ok(Acted::Asked)
}

/// Removes a job, or leaves it to those who need it and to nothing else.
fn delete(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored) -> Result<()> {
    if !stored.job.state.is_end() {
        ends::cancel(tx, shard, stored, EndReason::Requested, Duration::ZERO)?;
    }
    unique::disown(tx, shard, &stored.job)?;
    if stored.held {
        let until = tx.now.max(stored.job.ended_at.unwrap_or(tx.now));
        tx.conn
            .prepare_cached("UPDATE queue_jobs SET keep_until = ?2 WHERE n = ?1")?
            .execute(params![stored.n, until.as_micros()])?;
    } else {
        maintain::remove_one(tx, shard, &maintain::Ended::of(stored))?;
        tx.hints.jobs.push(stored.job.id);
    }
    Ok(())
}

/// Runs an ended job again, unless what others need of it would be gone, or what it needs is not there. That is held for
/// it once more.
fn revive(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored, edit: &Edit) -> Result<Acted> {
    let is_there = |input: &Parent| match stored.job.trigger {
        Trigger::Completed => input.state == State::Completed,
        _ => input.state.is_end(),
    };
    let inputs = edges::parents(tx, shard, &stored.job.waits_for)?.ok().filter(|all| all.iter().all(is_there));
    let (Some(inputs), false) = (inputs, stored.held && edges::is_needed(tx, stored.n)?) else {
        return Ok(Acted::Refused(stored.job.state));
    };
    begin_anew(tx, shard, stored)?;
    let when = edit.when.unwrap_or(When::Now);
    let (state, due_at) = when.start(tx.now);
    let sequence = (state == State::Ready).then(|| shard.next_sequence());
    shift(tx, shard, stored, Move::Revive, |job| {
        made_anew(job);
        (job.state, job.when, job.due_at, job.sequence) = (state, when, due_at, sequence);
        (job.expires, job.deadline, job.expires_at, job.deadline_at) = (None, None, None, None);
        job.priority = edit.priority.unwrap_or(job.priority);
    })?;
    edges::tie_anew(tx, shard, (stored.n, state), &inputs)?;
    edit::write_envelope(tx, stored, edit)?;
    Ok(Acted::Done(state))
}
