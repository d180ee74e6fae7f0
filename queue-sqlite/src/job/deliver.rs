//! The road from one shard to another: what stands in the outbox, and what arrives at holds.

use queue_storage::model::{EndReason, Input, JobId, Move, Node, Parked, Shard, State};
use queue_storage::storage::{MAX_CLAIM_BYTES, MAX_UPKEEP, Outbox, Parcel, StorageError};
use rusqlite::params;

use crate::error::Result;
use crate::job::follow;
use crate::job::inputs;
use crate::job::parcels;
use crate::job::row::{self, Stored};
use crate::job::shift::shift;
use crate::job::tx::Tx;
use crate::ledger::Ledger;

/// Refuses what breaks the contract.
pub(crate) fn check_sent(sent: &[JobId]) -> Result<(), StorageError> {
    if sent.len() > MAX_UPKEEP as usize {
        let count = sent.len();
        return Err(StorageError::invalid(format!("{count} relays in one call; the most is {MAX_UPKEEP}")));
    }
    Ok(())
}

/// Completes relays whose parcels were delivered; what stands in the outbox then.
pub(crate) fn outbox(tx: &mut Tx<'_>, shard: &Shard, sent: &[JobId]) -> Result<Outbox> {
    let Some(mut shard) = Ledger::find(tx.conn, tx.namespace, shard)? else { return Ok(Outbox::default()) };
    let before = shard.outbox;
    for id in sent {
        if let Some(mut stored) = row::by_id(tx.conn, (shard.n, &shard.shard), *id)?
            && stored.job.parked == Some(Parked::Outbox)
        {
            complete(tx, &mut shard, &mut stored)?;
        }
    }
    let outbox = look(tx, &shard)?;
    if shard.outbox < before {
        let wake = shard.follow > 0;
        tx.finish(&mut shard, wake)?;
    }
    Ok(outbox)
}

fn complete(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &mut Stored) -> Result<()> {
    let now = tx.now;
    let keep = match input(tx, shard, stored)? {
        Some(Input::Failed(ending)) => ending.keep_until.unwrap_or(now).max(now),
        _ => now,
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

fn look(tx: &Tx<'_>, shard: &Ledger) -> Result<Outbox> {
    let (mut outbox, mut bytes) = (Outbox::default(), 0);
    for n in parcels::first(tx.conn, shard, MAX_UPKEEP + 1)? {
        if outbox.parcels.len() == MAX_UPKEEP as usize || bytes >= MAX_CLAIM_BYTES {
            outbox.more = true;
            break;
        }
        let Some(relay) = row::find(tx.conn, &shard.shard, n)? else { continue };
        if let (Some(input), Node::Relay { shard, to }) = (input(tx, shard, &relay)?, relay.job.node) {
            bytes += if let Input::Returned(result) = &input { result.len() } else { 0 };
            outbox.parcels.push(Parcel::new(relay.job.id, shard, to, input));
        }
    }
    Ok(outbox)
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
        (job.state, job.ended_at, job.keep_until) = (State::Completed, Some(now), Some(now));
        match input {
            Input::Returned(result) => job.result = Some(result),
            Input::Failed(ending) => {
                job.state = State::Cancelled;
                job.keep_until = Some(ending.keep_until.unwrap_or(now).max(now));
                (job.reason, job.culprit) = (Some(EndReason::Dependency), Some(ending.origin()));
                job.failure = ending.failure;
            }
            _ => {}
        }
    })?;
    Ok(stored.job.state)
}
