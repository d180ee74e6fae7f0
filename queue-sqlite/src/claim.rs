//! The exchange, step by step, and the renewal.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use queue_storage::model::{Claimed, Fence, Input, JobId, Lease, Move, Parked, State, TaskName};
use queue_storage::storage::{
    Exchange, Exchanged, MAX_CLAIM, MAX_CLAIM_BYTES, MAX_HEADS, Renewal, Renewed, SettleAnswer, StorageError,
};
use rusqlite::{OptionalExtension, params};

use crate::edges;
use crate::error::{Error, Result};
use crate::leases;
use crate::ledger::Ledger;
use crate::lines::{Head, Lines};
use crate::maintain;
use crate::row;
use crate::settle;
use crate::tx::Tx;
use crate::workers::{Known, Workers};

/// Settles, follows, promotes, reclaims, claims.
pub(crate) fn exchange(tx: &mut Tx<'_>, workers: &mut Workers, call: &Exchange) -> Result<Exchanged> {
    let Some(worker) = workers.calls(tx, call.worker)? else {
        let message = format!("worker {} is not registered", call.worker);
        return Err(Error::Refused(StorageError::unknown_worker(message)));
    };
    let mut shard = Ledger::open(tx.conn, tx.namespace, &call.shard)?;
    leases::note(tx, workers, &mut shard, &worker)?;
    let last = Last::find(tx, &shard, &worker)?;
    match &last {
        Some(last) if last.number == call.number => return repeat(tx, &mut shard, &worker, last),
        Some(last) if last.number > call.number => {
            return Err(Error::Refused(StorageError::superseded(format!(
                "exchange {} of {} with {} was overtaken by {}",
                call.number, call.worker, call.shard, last.number
            ))));
        }
        _ => {}
    }
    let mut ends = HashSet::with_capacity(call.settlements.len());
    let settled = settle::settle(tx, &mut shard, &worker, &call.settlements, &mut ends)?;
    if let Some(last) = &last {
        last.confirm(tx, &worker, &ends)?;
    }
    let mut edges_left = edges::BUDGET;
    edges::follow(tx, &mut shard, &mut edges_left)?;
    let promotions_left = maintain::promote(tx, &mut shard)?;
    let leases_left = leases::reclaim(tx, workers, &mut shard, &worker)?;
    edges::follow(tx, &mut shard, &mut edges_left)?;
    let claim = claim(tx, &mut shard, &worker, call)?;
    let more = shard.follow > 0 || promotions_left || leases_left || claim.stopped;
    let number = Last { number: call.number, fence: claim.fence, settled: settled.clone(), claimed: claim.rows };
    number.remember(tx, &shard, &worker)?;
    let look_again = if more { Some(Duration::ZERO) } else { leases::look_again(tx, &shard, &worker)? };
    let left = shard.in_line() > 0 && (tx.hints.ready || call.want > 0);
    let wake =
        left || !claim.parked.is_empty() || (tx.hints.ready && shard.suspects > 0) || tx.is_due_sooner(&shard)?;
    tx.finish(&mut shard, wake)?;
    Ok(Exchanged { settled, claimed: claim.jobs, look_again, suspects_left: claim.suspects_left, parked: claim.parked })
}

/// Answers a number again: what it claimed and still holds runs anew from now; nothing else changes.
fn repeat(tx: &mut Tx<'_>, shard: &mut Ledger, worker: &Arc<Known>, last: &Last) -> Result<Exchanged> {
    let until = tx.now + worker.terms.length;
    let mut claimed = Vec::new();
    for n in &last.claimed {
        let held = tx
            .conn
            .prepare_cached(
                "UPDATE queue_jobs SET lease_until = ?4 WHERE n = ?1 AND state = 3 AND worker = ?2 AND fence = ?3",
            )?
            .execute(params![n, worker.n, last.fence.cast_signed(), until.as_micros()])?;
        let Some(job) = (held == 1).then(|| row::find(tx.conn, &shard.shard, *n)).transpose()?.flatten() else {
            continue;
        };
        let inputs = inputs(tx, shard, &job.waits_for)?;
        claimed.push(Claimed::new(job, Fence(last.fence), inputs));
    }
    let look_again = leases::look_again(tx, shard, worker)?;
    shard.save(tx.conn)?;
    Ok(Exchanged {
        settled: last.settled.clone(),
        claimed,
        look_again,
        suspects_left: shard.suspects > 0,
        ..Exchanged::default()
    })
}

/// What a claim took.
#[derive(Debug, Default)]
struct Taken {
    fence: u64,
    jobs: Vec<Claimed>,
    rows: Vec<i64>,
    /// Whether it stopped at a bound with more to do.
    stopped: bool,
    suspects_left: bool,
    parked: BTreeSet<TaskName>,
}

fn claim(tx: &Tx<'_>, shard: &mut Ledger, worker: &Arc<Known>, call: &Exchange) -> Result<Taken> {
    let mut taken = Taken { fence: shard.fence, ..Taken::default() };
    if call.want == 0 || shard.count(State::Ready) == 0 {
        return Ok(taken);
    }
    let fence = (shard.fence + 1).max(tx.now.as_micros().unsigned_abs());
    let want = call.want.min(MAX_CLAIM) as usize;
    let mut lines = Lines::open(tx, shard, worker, call.want.min(MAX_CLAIM))?;
    let (mut looked, mut bytes, mut suspects) = (0, 0, call.suspects);
    let mut parkings = Vec::new();
    while taken.jobs.len() < want && looked < MAX_HEADS && bytes < MAX_CLAIM_BYTES {
        let Some(head) = lines.next(tx, shard, worker)? else { break };
        looked += 1;
        if let Some(reason) = head.misfit {
            parkings.push((head.n, reason));
            continue;
        }
        if head.suspect && suspects == 0 {
            // The first suspect beyond those asked for: it and all after it hide nobody.
            taken.suspects_left = true;
            lines.drop_suspects();
            looked -= 1;
            continue;
        }
        suspects -= u32::from(head.suspect);
        taken.rows.push(head.n);
        let claimed = take(tx, shard, worker, head, fence)?;
        bytes += claimed.job.envelope.len();
        taken.jobs.push(claimed);
    }
    let next = lines.peek(tx, shard, worker)?;
    taken.suspects_left |= suspects == 0 && next.is_some_and(|head| head.suspect);
    taken.stopped = taken.jobs.len() < call.want as usize && next.is_some();
    for (n, reason) in parkings {
        taken.parked.insert(park(tx, shard, n, &reason)?);
    }
    if !taken.jobs.is_empty() {
        (taken.fence, shard.fence) = (fence, fence);
    }
    Ok(taken)
}

/// Sets a head aside that this worker can't run; it keeps its sequence. Its task.
fn park(tx: &Tx<'_>, shard: &mut Ledger, n: i64, reason: &Parked) -> Result<TaskName> {
    let task: String = tx
        .conn
        .prepare_cached("UPDATE queue_jobs SET parked = ?2 WHERE n = ?1 RETURNING task")?
        .query_row(params![n, reason.as_str()], |row| row.get(0))?;
    shard.parked += 1;
    TaskName::new(&task).map_err(|error| Error::corrupt(format!("a job's task: {error}")))
}

/// Leases a job to the worker.
fn take(tx: &Tx<'_>, shard: &mut Ledger, worker: &Known, head: Head, fence: u64) -> Result<Claimed> {
    shard.moves(Move::Claim, State::Ready, State::Running)?;
    shard.parked -= u64::from(head.parked);
    shard.suspects -= u64::from(head.suspect);
    let until = tx.now + worker.terms.length;
    let stored = match head.job {
        Some(job) => Some(job),
        None => row::find(tx.conn, &shard.shard, head.n)?,
    };
    let mut job = stored.ok_or_else(|| Error::corrupt("a ready job is indexed but not stored"))?;
    tx.conn
        .prepare_cached(
            "UPDATE queue_jobs SET state = 3, parked = NULL, worker = ?2, fence = ?3, lease_until = ?4, delivered = 0, \
             started_at = ?5 WHERE n = ?1",
        )?
        .execute(params![head.n, worker.n, fence.cast_signed(), until.as_micros(), tx.now.as_micros()])?;
    (job.state, job.parked, job.started_at) = (State::Running, None, Some(tx.now));
    job.lease = Some(Lease { worker: worker.id, fence: Fence(fence), until, delivered: false });
    let inputs = inputs(tx, shard, &job.waits_for)?;
    Ok(Claimed::new(job, Fence(fence), inputs))
}

/// What became of the jobs that were waited for.
fn inputs(tx: &Tx<'_>, shard: &Ledger, waits_for: &[JobId]) -> Result<Vec<Input>> {
    let mut inputs = Vec::with_capacity(waits_for.len());
    for id in waits_for {
        let result: Option<Vec<u8>> = tx
            .conn
            .prepare_cached("SELECT result FROM queue_jobs WHERE shard = ?1 AND id = ?2")?
            .query_row(params![shard.n, row::id_bytes(*id)], |row| row.get(0))
            .optional()?
            .ok_or_else(|| Error::corrupt(format!("job {id} was pruned while its result was needed")))?;
        inputs.push(result.map_or(Input::Nothing, |bytes| Input::Returned(bytes.into())));
    }
    Ok(inputs)
}

/// Renews leases, each on its own.
pub(crate) fn renew(tx: &Tx<'_>, workers: &mut Workers, call: &Renewal) -> Result<Vec<Renewed>> {
    let Some(worker) = workers.calls(tx, call.worker)? else {
        return Ok(vec![Renewed::Lost; call.leases.len()]);
    };
    let mut shard = Ledger::open(tx.conn, tx.namespace, &call.shard)?;
    leases::note(tx, workers, &mut shard, &worker)?;
    let until = tx.now + worker.terms.length;
    let mut answer = Vec::with_capacity(call.leases.len());
    for (id, fence) in &call.leases {
        let held = tx
            .conn
            .prepare_cached(
                "UPDATE queue_jobs SET lease_until = ?5, delivered = 1 \
                 WHERE shard = ?1 AND id = ?2 AND state = 3 AND worker = ?3 AND fence = ?4",
            )?
            .execute(params![shard.n, row::id_bytes(*id), worker.n, fence.0.cast_signed(), until.as_micros()])?;
        answer.push(if held == 1 { Renewed::Held } else { Renewed::Lost });
    }
    shard.save(tx.conn)?;
    Ok(answer)
}

/// The last exchange of a worker with a shard, and its answer.
#[derive(Debug)]
struct Last {
    number: u64,
    fence: u64,
    settled: Vec<SettleAnswer>,
    claimed: Vec<i64>,
}

impl Last {
    fn find(tx: &Tx<'_>, shard: &Ledger, worker: &Known) -> Result<Option<Self>> {
        let found = tx
            .conn
            .prepare_cached(
                "SELECT number, fence, settled, claimed FROM queue_exchanges WHERE worker = ?1 AND shard = ?2",
            )?
            .query_row([worker.n, shard.n], |row| {
                let (settled, claimed) = (row.get::<_, Vec<u8>>(2)?, row.get::<_, Vec<u8>>(3)?);
                let answer = |byte: &u8| if *byte == 1 { SettleAnswer::Applied } else { SettleAnswer::Lost };
                Ok(Self {
                    number: row.get::<_, i64>(0)?.cast_unsigned(),
                    fence: row.get::<_, i64>(1)?.cast_unsigned(),
                    settled: settled.iter().map(answer).collect(),
                    claimed: claimed.as_chunks::<8>().0.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect(),
                })
            })
            .optional()?;
        Ok(found)
    }

    fn remember(&self, tx: &Tx<'_>, shard: &Ledger, worker: &Known) -> Result<()> {
        let settled: Vec<u8> = self.settled.iter().map(|answer| u8::from(*answer == SettleAnswer::Applied)).collect();
        let claimed: Vec<u8> = self.claimed.iter().flat_map(|n| n.to_be_bytes()).collect();
        tx.conn
            .prepare_cached(
                "INSERT INTO queue_exchanges (worker, shard, number, fence, settled, claimed) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (worker, shard) \
                 DO UPDATE SET number = ?3, fence = ?4, settled = ?5, claimed = ?6",
            )?
            .execute(params![
                worker.n,
                shard.n,
                self.number.cast_signed(),
                self.fence.cast_signed(),
                settled,
                claimed
            ])?;
        Ok(())
    }

    /// Notes that the worker has received what it claimed then; `settled` are rows known to be settled since.
    fn confirm(&self, tx: &Tx<'_>, worker: &Known, settled: &HashSet<i64>) -> Result<()> {
        let mut statement = tx.conn.prepare_cached(
            "UPDATE queue_jobs SET delivered = 1 WHERE n = ?1 AND state = 3 AND worker = ?2 AND fence = ?3 AND delivered = 0",
        )?;
        for n in self.claimed.iter().filter(|n| !settled.contains(n)) {
            statement.execute(params![n, worker.n, self.fence.cast_signed()])?;
        }
        Ok(())
    }
}
