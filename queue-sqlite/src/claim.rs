//! The exchange, step by step.

use std::collections::HashSet;
use std::time::Duration;

use queue_storage::model::{Claimed, Fence, State};
use queue_storage::storage::{Controls, Exchange, Exchanged, StorageError};
use rusqlite::params;

use crate::control;
use crate::error::{Error, Result};
use crate::job::cells;
use crate::job::ends;
use crate::job::follow;
use crate::job::inputs;
use crate::job::maintain;
use crate::job::rates;
use crate::job::row;
use crate::job::tx::Tx;
use crate::job::workers::{Known, Workers};
use crate::last::Last;
use crate::leases;
use crate::ledger::Ledger;
use crate::room::Room;
use crate::settle;
use crate::take::{self, Taken};

/// Settles, follows, promotes, expires, reclaims, claims.
pub(crate) fn exchange(tx: &mut Tx<'_>, workers: &mut Workers, call: &Exchange) -> Result<Exchanged> {
    let Some(worker) = workers.calls(tx, call.worker)? else {
        let message = format!("worker {} is not registered", call.worker);
        return Err(Error::Refused(StorageError::unknown_worker(message)));
    };
    let mut shard = Ledger::open(tx.conn, tx.namespace, &call.shard)?;
    leases::note(tx, workers, &mut shard, &worker)?;
    let mut controls = control::said(tx.conn, &shard)?;
    let last = Last::find(tx, &shard, &worker)?;
    match &last {
        Some(last) if last.number == call.number => return repeat(tx, &mut shard, &worker, &controls, last),
        Some(last) if last.number > call.number => {
            return Err(Error::Refused(StorageError::superseded(format!(
                "exchange {} of {} with {} was overtaken by {}",
                call.number, call.worker, call.shard, last.number
            ))));
        }
        _ => {}
    }
    // Only now: a pause that has ended since it was told is for a repeat to tell.
    control::drop_ended(tx, &mut shard, &mut controls)?;
    let running = shard.count(State::Running);
    let mut ends = HashSet::with_capacity(call.settlements.len());
    let settled = settle::settle(tx, &mut shard, &worker, &call.settlements, &mut ends)?;
    if let Some(last) = &last {
        last.confirm(tx, &worker, &ends)?;
    }
    let upkeep_left = upkeep(tx, workers, &mut shard, &worker)?;
    // A slot of the whole shard fell free: what stands in line may start.
    tx.hints.ready |= controls.slots.is_some() && shard.count(State::Running) < running;
    let claim = take::claim(tx, &mut shard, &worker, &mut controls, call)?;
    let more = shard.follow > 0 || upkeep_left || claim.stopped;
    let number =
        Last { number: call.number, fence: claim.fence, settled: settled.clone(), claimed: claim.rows.clone() };
    number.remember(tx, &shard, &worker)?;
    let look_again = if more { Some(Duration::ZERO) } else { leases::look_again(tx, &shard, &worker, &controls)? };
    let wake = is_for_others(tx, &shard, &worker, &controls, call, &claim)? || tx.is_due_sooner(&shard)?;
    tx.finish(&mut shard, wake)?;
    let Taken { jobs, suspects_left, parked, .. } = claim;
    let (outbox, ticks) = (shard.outbox > 0, shard.ticks(tx.now));
    let upkept = std::mem::take(&mut tx.hints.upkept);
    Ok(Exchanged { settled, claimed: jobs, look_again, suspects_left, parked, upkept, outbox, ticks })
}

/// Steps 3 to 5: whether more is to be done.
fn upkeep(tx: &mut Tx<'_>, workers: &mut Workers, shard: &mut Ledger, worker: &Known) -> Result<bool> {
    let mut edges_left = follow::BUDGET;
    follow::follow(tx, shard, &mut edges_left)?;
    let promotions_left = maintain::promote(tx, shard)?;
    let windows_left = rates::open_windows(tx, shard)?;
    let overdue_left = ends::expire(tx, shard, worker.terms.keep_ended)?;
    let leases_left = leases::reclaim(tx, workers, shard, worker)?;
    follow::follow(tx, shard, &mut edges_left)?;
    Ok(promotions_left || windows_left || overdue_left || leases_left)
}

/// Whether other workers should come for what this call leaves. A paused one has not looked at what is left and wakes
/// nobody for it: two of them would wake each other for ever. So would they for what the limits of the shard keep back.
fn is_for_others(
    tx: &Tx<'_>,
    shard: &Ledger,
    worker: &Known,
    controls: &Controls,
    call: &Exchange,
    claim: &Taken,
) -> Result<bool> {
    let looked = call.want > 0 && !take::is_paused(controls, worker);
    let left = shard.in_line() > 0 && (tx.hints.ready || looked);
    let for_others = left || !claim.parked.is_empty() || (tx.hints.ready && shard.suspects > 0);
    Ok(for_others && Room::of(tx, shard, controls)?.left(shard, tx.now) > 0)
}

/// Answers a number again: what it claimed and still holds runs anew from now; nothing else changes.
fn repeat(tx: &mut Tx<'_>, shard: &mut Ledger, worker: &Known, controls: &Controls, last: &Last) -> Result<Exchanged> {
    let until = tx.now + worker.terms.length;
    let holder = cells::worker_bytes(worker.id);
    let mut claimed = Vec::new();
    for n in &last.claimed {
        let held = tx
            .conn
            .prepare_cached(
                "UPDATE queue_jobs SET lease_until = ?4 WHERE n = ?1 AND state = 3 AND worker = ?2 AND fence = ?3",
            )?
            .execute(params![n, holder, last.fence.cast_signed(), until.as_micros()])?;
        let Some(row::Stored { job, .. }) =
            (held == 1).then(|| row::find(tx.conn, &shard.shard, *n)).transpose()?.flatten()
        else {
            continue;
        };
        let inputs = inputs::of(tx.conn, (shard.n, &shard.shard), &job.waits_for)?;
        claimed.push(Claimed::new(job, Fence(last.fence), inputs));
    }
    let look_again = leases::look_again(tx, shard, worker, controls)?;
    shard.save(tx.conn)?;
    Ok(Exchanged {
        settled: last.settled.clone(),
        claimed,
        look_again,
        suspects_left: shard.suspects > 0,
        outbox: shard.outbox > 0,
        ticks: shard.ticks(tx.now),
        ..Exchanged::default()
    })
}
