//! The road from one shard to another: what stands in the outbox, and what arrives at holds.

use queue_storage::model::{EndReason, Ending, Input, JobId, Move, Node, Parked, Shard, State, Timestamp};
use queue_storage::storage::{KEEP_TOLD, MAX_CLAIM_BYTES, MAX_UPKEEP, Outbox, Parcel, Receipt, StorageError};
use rusqlite::params;

use crate::error::Result;
use crate::job::edges;
use crate::job::follow;
use crate::job::inputs;
use crate::job::parcels;
use crate::job::row::{self, Stored};
use crate::job::shift::shift;
use crate::job::tx::Tx;
use crate::ledger::Ledger;

/// Refuses what breaks the contract.
pub(crate) fn check_sent(sent: &[Receipt]) -> Result<(), StorageError> {
    if sent.len() > MAX_UPKEEP as usize {
        let count = sent.len();
        return Err(StorageError::invalid(format!("{count} receipts in one call; the most is {MAX_UPKEEP}")));
    }
    Ok(())
}

/// Completes relays whose parcels were delivered; what stands in the outbox then.
pub(crate) fn outbox(tx: &mut Tx<'_>, shard: &Shard, sent: &[Receipt]) -> Result<Outbox> {
    let Some(mut shard) = Ledger::find(tx.conn, tx.namespace, shard)? else { return Ok(Outbox::default()) };
    let before = shard.outbox;
    for Receipt { relay, sequence } in sent {
        if let Some(mut stored) = row::by_id(tx.conn, (shard.n, &shard.shard), *relay)?
            && stored.job.parked == Some(Parked::Outbox)
            && stored.job.sequence == Some(*sequence)
        {
            complete(tx, &mut shard, &mut stored)?;
        }
    }
    let outbox = look(tx, &mut shard)?;
    if shard.outbox < before {
        let wake = shard.follow > 0;
        tx.finish(&mut shard, wake)?;
    }
    Ok(outbox)
}

fn complete(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored) -> Result<()> {
    let now = tx.now;
    let keep = match input(tx, shard, stored)? {
        Some(Input::Failed(ending)) => kept_with(&ending, now),
        _ => now + KEEP_TOLD,
    };
    shift(tx, shard, stored, Move::Deliver, |job| {
        (job.state, job.ended_at, job.keep_until) = (State::Completed, Some(now), Some(keep));
        (job.parked, job.parked_at) = (None, None);
    })
}

/// What the job before a relay hands on.
fn input(tx: &Tx<'_>, shard: &Ledger, relay: &Stored) -> Result<Option<Input>> {
    Ok(inputs::of(tx.conn, (shard.n, &shard.shard), &relay.job.waits_for)?.pop())
}

/// The first of what stands there; what has nothing to tell any more is recalled.
fn look(tx: &mut Tx<'_>, shard: &mut Ledger) -> Result<Outbox> {
    let (mut outbox, mut bytes) = (Outbox::default(), 0);
    for (at, n) in parcels::first(tx.conn, shard, MAX_UPKEEP + 1)?.into_iter().enumerate() {
        if at == MAX_UPKEEP as usize || bytes >= MAX_CLAIM_BYTES {
            outbox.more = true;
            break;
        }
        let Some(mut relay) = row::find(tx.conn, &shard.shard, n)? else { continue };
        match (input(tx, shard, &relay)?, &relay.job.node) {
            (Some(Input::Open(_)), _) => recall(tx, shard, &mut relay)?,
            (Some(input), Node::Relay { shard, to }) => {
                bytes += if let Input::Returned(result) = &input { result.len() } else { 0 };
                let place = (relay.job.id, relay.job.sequence.unwrap_or(0));
                outbox.parcels.push(Parcel::new(place, shard.clone(), *to, input));
            }
            _ => {}
        }
    }
    Ok(outbox)
}

/// Lets a relay wait once more whose job has not ended any more.
fn recall(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored) -> Result<()> {
    shift(tx, shard, stored, Move::Recall, |job| {
        (job.state, job.sequence) = (State::Waiting, None);
        (job.parked, job.parked_at) = (None, None);
    })?;
    match edges::parents(tx, shard, &stored.job.waits_for)? {
        Ok(parents) => edges::tie_anew(tx, shard, (stored.n, State::Waiting), &parents),
        Err(_) => Ok(()),
    }
}

/// Delivers to holds, and follows what that ends; the state of each then.
pub(crate) fn deliver(tx: &mut Tx<'_>, shard: &Shard, deliveries: Vec<(JobId, Input)>) -> Result<Vec<Option<State>>> {
    let Some(mut shard) = Ledger::find(tx.conn, tx.namespace, shard)? else { return Ok(vec![None; deliveries.len()]) };
    let mut states = Vec::with_capacity(deliveries.len());
    for (id, input) in deliveries {
        states.push(match row::by_id(tx.conn, (shard.n, &shard.shard), id)? {
            Some(mut stored) => Some(arrive(tx, &mut shard, &mut stored, input)?),
            None => None,
        });
    }
    let mut edges_left = follow::BUDGET;
    follow::follow(tx, &mut shard, &mut edges_left)?;
    // What is not followed yet is the next exchange's: there must be one.
    let wake = tx.hints.ready || shard.follow > 0 || tx.is_due_sooner(&shard)?;
    tx.finish(&mut shard, wake)?;
    Ok(states)
}

/// What arrives at a hold, unless it has ended; its state then.
fn arrive(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored, input: Input) -> Result<State> {
    if stored.job.node != Node::Hold || stored.job.state != State::Waiting {
        return Ok(stored.job.state);
    }
    if let Input::Returned(result) = &input {
        tx.conn
            .prepare_cached("UPDATE queue_jobs SET result = ?2 WHERE n = ?1")?
            .execute(params![stored.n, &result[..]])?;
    }
    let now = tx.now;
    shift(tx, shard, stored, Move::Deliver, |job| {
        (job.state, job.ended_at, job.keep_until) = (State::Completed, Some(now), Some(now + KEEP_TOLD));
        match input {
            Input::Returned(result) => job.result = Some(result),
            Input::Failed(ending) => {
                job.state = State::Cancelled;
                job.keep_until = Some(kept_with(&ending, now));
                (job.reason, job.culprit) = (Some(EndReason::Dependency), Some(ending.origin()));
                job.failure = ending.failure;
            }
            _ => {}
        }
    })?;
    Ok(stored.job.state)
}

/// Until when a relay or a hold is kept that has told of this.
fn kept_with(ending: &Ending, now: Timestamp) -> Timestamp {
    ending.keep_until.unwrap_or(now).max(now + KEEP_TOLD)
}
