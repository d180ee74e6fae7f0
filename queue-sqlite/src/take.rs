//! Step 6 of the exchange: what a worker takes from the lines, and what stands in its way.

use std::collections::BTreeSet;

use queue_storage::model::{Claimed, EndReason, Fence, Lease, Move, Parked, State, TaskName};
use queue_storage::storage::{Controls, Exchange, MAX_CLAIM, MAX_CLAIM_BYTES, MAX_HEADS, Revocation};
use rusqlite::{CachedStatement, OptionalExtension, params};

use crate::control;
use crate::error::{Error, Result};
use crate::job::cells;
use crate::job::ends;
use crate::job::inputs;
use crate::job::limits::{self, HeldBack};
use crate::job::more::More;
use crate::job::row::{self, Stored};
use crate::job::tx::Tx;
use crate::job::watch::{self, Kind, Moments};
use crate::job::workers::Known;
use crate::ledger::Ledger;
use crate::lines::{Asker, Head, Lines};
use crate::room::Room;

/// What a claim took.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) fence: u64,
    pub(crate) jobs: Vec<Claimed>,
    pub(crate) rows: Vec<i64>,
    /// Whether it stopped at a bound with more to do.
    pub(crate) stopped: bool,
    pub(crate) suspects_left: bool,
    /// The tasks of jobs that it parked for want of a worker that can run them.
    pub(crate) parked: BTreeSet<TaskName>,
}

/// A claim under way.
struct Claim<'a> {
    worker: &'a Known,
    asker: Asker<'a>,
    revocations: &'a mut Vec<Revocation>,
    lines: Lines,
    room: Room,
    fence: u64,
    /// How many more suspects may be taken.
    suspects: u32,
    /// Bytes of the envelopes that were taken.
    bytes: usize,
    taken: Taken,
    /// Prepared once for all of them: asking the cache again for each is a good part of the work.
    lease: CachedStatement<'a>,
}

/// Claims jobs for the worker, unless it or the shard is paused.
pub(crate) fn claim(
    tx: &mut Tx<'_>,
    shard: &mut Ledger,
    worker: &Known,
    controls: &mut Controls,
    call: &Exchange,
) -> Result<Taken> {
    let taken = Taken { fence: shard.fence, ..Taken::default() };
    if call.want == 0 || shard.count(State::Ready) == 0 || is_paused(controls, worker) {
        return Ok(taken);
    }
    let want = call.want.min(MAX_CLAIM);
    let room = Room::of(tx, shard, controls)?;
    let rules = controls.revocations.len();
    let asker = Asker { worker, paused: &controls.tasks };
    tx.back.clear();
    let lines = Lines::open(tx, shard, &asker, want.min(room.left(shard, tx.now)))?;
    let fence = shard.next_fence(tx.now);
    let revocations = &mut controls.revocations;
    let (lease, suspects) = (tx.conn.prepare_cached(LEASE)?, call.suspects);
    let mut claim = Claim { worker, asker, revocations, lines, room, fence, suspects, bytes: 0, taken, lease };
    claim.run(tx, shard, want as usize)?;
    let taken = claim.end(tx, shard, call)?;
    if controls.revocations.len() < rules {
        control::save(tx.conn, shard, controls)?;
    }
    Ok(taken)
}

impl Claim<'_> {
    fn run(&mut self, tx: &mut Tx<'_>, shard: &mut Ledger, want: usize) -> Result<()> {
        let mut looked = 0;
        while self.taken.jobs.len() < want && looked < MAX_HEADS && self.bytes < MAX_CLAIM_BYTES {
            if self.room.left(shard, tx.now) == 0 {
                break;
            }
            let Some(head) = self.lines.next(tx, shard, &self.asker)? else { break };
            looked += u32::from(self.look(tx, shard, head)?);
            for back in std::mem::take(&mut tx.back) {
                self.lines.bring(tx, shard, &self.asker, &back)?;
            }
        }
        Ok(())
    }

    /// Takes a head, or whatever else is to become of it; whether it counts as looked at.
    fn look(&mut self, tx: &mut Tx<'_>, shard: &mut Ledger, mut head: Head) -> Result<bool> {
        if let Some(reason) = head.misfit.take() {
            let task = park(tx, shard, &head, &reason)?;
            self.taken.parked.extend(Some(task).filter(|_| reason != Parked::TaskPaused));
            return Ok(true);
        }
        let mut stored = match head.stored.take() {
            Some(stored) => stored,
            None => find(tx, shard, &head)?,
        };
        let (keep, job) = (self.worker.terms.keep_ended, &stored.job);
        if job.overdue_at().is_some_and(|(at, _)| at <= tx.now) {
            ends::expire_one(tx, shard, &mut stored, keep)?;
        } else if let Some(rule) = self.revocations.iter().position(|rule| rule.fits(job, tx.now)) {
            if self.revocations[rule].next_only {
                self.revocations.remove(rule);
            }
            ends::cancel(tx, shard, &mut stored, EndReason::Revoked, keep)?;
        } else if head.suspect && self.suspects == 0 {
            // The first suspect beyond those asked for: it and all after it hide nobody.
            self.taken.suspects_left = true;
            self.lines.drop_suspects();
            return Ok(false);
        } else if let Some(held_back) = limits::hold_back(tx, shard, job)? {
            match held_back {
                HeldBack::Park(reason, key) => limits::park(tx, shard, &stored, (&reason, &key))?,
                HeldBack::Cancel => ends::cancel(tx, shard, &mut stored, EndReason::Full, keep)?,
            }
        } else {
            self.suspects -= u32::from(head.suspect);
            self.bytes += job.envelope.len();
            self.room.start(tx.now);
            self.taken.rows.push(head.n);
            let taken = self.take(tx, shard, &head, stored)?;
            self.taken.jobs.push(taken);
        }
        Ok(true)
    }

    /// Leases a job to the worker.
    fn take(&mut self, tx: &mut Tx<'_>, shard: &mut Ledger, head: &Head, mut stored: Stored) -> Result<Claimed> {
        shard.moves(Move::Claim, State::Ready, State::Running)?;
        if head.parked {
            shard.parked -= 1;
        } else {
            shard.suspects -= u64::from(head.suspect);
        }
        limits::start(tx, shard, head.n, &stored.job)?;
        let until = tx.now + self.worker.terms.length;
        let job = &mut stored.job;
        // What most jobs never had need not be taken from them.
        let plain = !head.parked && job.started_at.is_none() && job.overdue_at().is_none();
        let moments = if plain { Moments::default() } else { Moments::of(job) };
        (job.state, job.parked, job.parked_at, job.progress) = (State::Running, None, None, None);
        job.first_started_at.get_or_insert(tx.now);
        (job.started_at, job.worker) = (Some(tx.now), Some(self.worker.id));
        job.lease = Some(Lease { worker: self.worker.id, fence: Fence(self.fence), until, delivered: false });
        let (holder, fence_column) = (cells::worker_bytes(self.worker.id), self.fence.cast_signed());
        let (until, now) = (until.as_micros(), tx.now.as_micros());
        if plain {
            self.lease.execute(params![head.n, holder, fence_column, until, now])?;
        } else {
            let more = stored.more().encode(stored.job.id)?;
            tx.conn.prepare_cached(LEASE_ANEW)?.execute(params![head.n, holder, fence_column, until, now, more])?;
            moments.replace(tx.conn, (shard.n, head.n), Moments::default())?;
        }
        let inputs = inputs::of(tx.conn, (shard.n, &shard.shard), &stored.job.waits_for)?;
        Ok(Claimed::new(stored.job, Fence(self.fence), inputs))
    }

    fn end(mut self, tx: &Tx<'_>, shard: &mut Ledger, call: &Exchange) -> Result<Taken> {
        let next = self.lines.peek(tx, shard, &self.asker)?;
        let mut taken = self.taken;
        taken.suspects_left |= self.suspects == 0 && next.is_some_and(|head| head.suspect);
        let has_room = self.room.left(shard, tx.now) > 0;
        taken.stopped = taken.jobs.len() < call.want as usize && has_room && next.is_some();
        if !taken.jobs.is_empty() {
            (taken.fence, shard.fence) = (self.fence, self.fence);
            self.room.save(tx, shard)?;
        }
        Ok(taken)
    }
}

/// Whether the worker may claim nothing.
pub(crate) fn is_paused(controls: &Controls, worker: &Known) -> bool {
    controls.queue.is_some() || controls.workers.contains_key(&worker.id)
}

fn find(tx: &Tx<'_>, shard: &Ledger, head: &Head) -> Result<Stored> {
    row::find(tx.conn, &shard.shard, head.n)?.ok_or_else(missing)
}

fn missing() -> Error {
    Error::corrupt("a ready job is indexed but not stored")
}

/// Sets a head aside that this worker can't run; it keeps its sequence. Its task.
fn park(tx: &mut Tx<'_>, shard: &mut Ledger, head: &Head, reason: &Parked) -> Result<TaskName> {
    let (task, id, more) = tx
        .conn
        .prepare_cached("SELECT task, id, more FROM queue_jobs WHERE n = ?1")?
        .query_row([head.n], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
        })
        .optional()?
        .ok_or_else(missing)?;
    let id = cells::job_id(&id)?;
    let more = More { parked_at: Some(tx.now), ..More::read(id, more.as_deref())? };
    tx.conn.prepare_cached("UPDATE queue_jobs SET parked = ?2, more = ?3 WHERE n = ?1")?.execute(params![
        head.n,
        reason.as_str(),
        more.encode(id)?
    ])?;
    if *reason == Parked::UnknownTask {
        watch::add(tx.conn, (shard.n, head.n), Kind::Unknown, tx.now)?;
    }
    shard.parked += 1;
    shard.suspects -= u64::from(head.suspect);
    if !more.keys.is_empty() {
        limits::stepped_aside(tx, shard, (head.n, id), &more.keys)?;
    }
    cells::task(&task)
}

macro_rules! lease {
    ($rest:literal) => {
        concat!(
            "UPDATE queue_jobs SET state = 3, worker = ?2, fence = ?3, lease_until = ?4, delivered = 0, started_at = ?5",
            $rest,
            " WHERE n = ?1"
        )
    };
}
const LEASE: &str = lease!("");
const LEASE_ANEW: &str = lease!(", parked = NULL, more = ?6");
