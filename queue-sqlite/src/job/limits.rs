//! What holds a job back for the sake of others: its unique key and its limits.
//!
//! A job that has neither has NULL in the column `keys`, and no statement is run for it. Below stand `slots`, `rates`,
//! `unique` and `parking`.

use std::time::Duration;

use queue_storage::model::{Job, JobId, Key, Limit, Parked, Shard, State, Unique, WhenFull};
use queue_storage::storage::Usage;
use rusqlite::params;

use crate::error::{Error, Result};
use crate::job::parking;
use crate::job::rates::{self, rates};
use crate::job::slots;
use crate::job::tx::Tx;
use crate::job::unique;
use crate::ledger::Ledger;
use crate::reader::Snapshot;

/// What a job asks for the sake of others.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) unique: Option<Unique>,
    pub(crate) limits: Vec<Limit>,
}

/// The column of a job.
pub(crate) fn encode(job: &Job) -> Result<Option<Vec<u8>>> {
    let encode = || rmp_serde::to_vec_named(&(&job.unique, &job.limits));
    let encoded = is_keyed(job).then(encode).transpose();
    encoded.map_err(|error| Error::corrupt(format!("the keys of job {} can't be written: {error}", job.id)))
}

impl Keys {
    /// What the column of a job says.
    pub(crate) fn read(column: &[u8]) -> Result<Self> {
        let read = rmp_serde::from_slice(column);
        let (unique, limits) =
            read.map_err(|error| Error::corrupt(format!("the keys of a job can't be read: {error}")))?;
        Ok(Self { unique, limits })
    }

    /// What follows for others from the move of the job of this row and id, which was not parked, from one state to
    /// another.
    pub(crate) fn moved(
        &self,
        tx: &mut Tx<'_>,
        shard: &mut Ledger,
        (n, id): (i64, JobId),
        (from, to): (State, State),
    ) -> Result<()> {
        let mover = Mover { n, id, unique: self.unique.as_ref(), limits: &self.limits };
        moved(tx, shard, mover, Standing::of(from, false), Standing::of(to, false))
    }

    /// What follows for others when the job of this row and id is parked that was in line.
    pub(crate) fn stepped_aside(&self, tx: &mut Tx<'_>, shard: &mut Ledger, (n, id): (i64, JobId)) -> Result<()> {
        let mover = Mover { n, id, unique: None, limits: &self.limits };
        moved(tx, shard, mover, Standing::InLine, Standing::Aside)
    }

    /// Closes its rates.
    pub(crate) fn close(&self, tx: &Tx<'_>, shard: &Ledger, hold: Duration) -> Result<()> {
        rates(&self.limits).try_for_each(|(key, rate, _)| rates::close(tx, shard, (key, rate), hold))
    }
}

fn is_keyed(job: &Job) -> bool {
    job.unique.is_some() || !job.limits.is_empty()
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    InLine,
    Runs,
    Aside,
    Ended,
}

impl Standing {
    fn of(state: State, parked: bool) -> Self {
        match state {
            State::Ready if !parked => Self::InLine,
            State::Running => Self::Runs,
            state if state.is_end() => Self::Ended,
            _ => Self::Aside,
        }
    }

    fn of_job(job: &Job) -> Self {
        Self::of(job.state, job.parked.is_some())
    }
}

/// A job with keys that is about to move.
#[derive(Debug)]
pub(crate) struct Stood {
    place: Standing,
    throttled_for: Option<Key>,
}

impl Stood {
    /// Where the job stands; `None` for one without keys, whose moves concern nobody.
    pub(crate) fn of(job: &Job) -> Option<Self> {
        let throttled = job.parked == Some(Parked::RateWindow);
        let throttled_for = job.parked_for.clone().filter(|_| throttled);
        is_keyed(job).then(|| Self { place: Standing::of_job(job), throttled_for })
    }

    /// What follows for others once its move is written.
    pub(crate) fn moved(self, tx: &mut Tx<'_>, shard: &mut Ledger, n: i64, job: &Job) -> Result<()> {
        if let Some(key) = self.throttled_for.filter(|key| job.parked_for.as_ref() != Some(key)) {
            rates::unwatch(tx, shard, key.as_str())?;
        }
        moved(tx, shard, Mover::of(n, job), self.place, Standing::of_job(job))
    }
}

/// A job that has moved.
#[derive(Clone, Copy, Debug)]
struct Mover<'a> {
    n: i64,
    id: JobId,
    unique: Option<&'a Unique>,
    limits: &'a [Limit],
}

impl<'a> Mover<'a> {
    fn of(n: i64, job: &'a Job) -> Self {
        Self { n, id: job.id, unique: job.unique.as_ref(), limits: &job.limits }
    }
}

/// What follows for others from a job that has moved: its unique key may be free, and so may its slots, which bring those
/// parked for them back into line.
fn moved(tx: &mut Tx<'_>, shard: &mut Ledger, mover: Mover<'_>, before: Standing, after: Standing) -> Result<()> {
    let Mover { n, id, unique, limits } = mover;
    let (started, ended) = (after == Standing::Runs, after == Standing::Ended);
    if let Some(unique) = unique.filter(|unique| unique::is_over(unique.window, started, ended)) {
        unique::free(tx, shard, unique, id)?;
    }
    if started {
        return slots(limits).try_for_each(|key| slots::take(tx, shard, key, n));
    }
    if before == Standing::Runs {
        slots(limits).try_for_each(|key| slots::free(tx, shard, key, n))?;
    }
    let left_line = before == Standing::InLine && after != Standing::InLine;
    if before == Standing::Runs || left_line {
        slots(limits).try_for_each(|key| slots::unblock(tx, shard, key))?;
    }
    Ok(())
}

fn slots(limits: &[Limit]) -> impl Iterator<Item = &Key> {
    limits.iter().filter(|limit| matches!(limit, Limit::Slots { .. })).map(Limit::key)
}

/// What holds a job back that has come to run.
#[derive(Debug)]
pub(crate) enum HeldBack {
    /// It is parked for this key.
    Park(Parked, Key),
    /// It is not to wait.
    Cancel,
}

/// The first limit that keeps the job from running now.
pub(crate) fn hold_back(tx: &Tx<'_>, shard: &mut Ledger, job: &Job) -> Result<Option<HeldBack>> {
    for limit in &job.limits {
        match limit {
            Limit::Slots { key, most, full } if slots::is_full(tx, shard, key, *most)? => {
                return Ok(Some(match full {
                    WhenFull::Cancel => HeldBack::Cancel,
                    _ => HeldBack::Park(Parked::LimitFull, key.clone()),
                }));
            }
            Limit::Rate { key, rate, cost } if !rates::admits(tx, shard, key, *rate, *cost)? => {
                return Ok(Some(HeldBack::Park(Parked::RateWindow, key.clone())));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Sets a job aside that has come to run, for the key of a limit.
pub(crate) fn park(
    tx: &mut Tx<'_>,
    shard: &mut Ledger,
    n: i64,
    job: &Job,
    (reason, key): (&Parked, &Key),
) -> Result<()> {
    parking::park(tx, shard, n, job, reason, key)?;
    if *reason == Parked::RateWindow {
        let own = rates(&job.limits).find(|(one, ..)| *one == key);
        own.map_or(Ok(()), |(key, rate, cost)| rates::watch(tx, shard, key, rate, cost))?;
    }
    moved(tx, shard, Mover::of(n, job), Standing::of_job(job), Standing::Aside)
}

/// Starts a job that nothing holds back: it takes its slots and pays its rates.
pub(crate) fn start(tx: &mut Tx<'_>, shard: &mut Ledger, n: i64, job: &Job) -> Result<()> {
    rates(&job.limits).try_for_each(|(key, rate, cost)| rates::start(tx, shard, key, rate, cost))?;
    moved(tx, shard, Mover::of(n, job), Standing::InLine, Standing::Runs)
}

/// Parks a job at once that is taken in ready while no slot is free for it, unless it is to be cancelled then.
pub(crate) fn park_new(tx: &Tx<'_>, shard: &mut Ledger, job: &mut Job) -> Result<()> {
    for limit in &job.limits {
        if let Limit::Slots { key, most, full } = limit
            && *full != WhenFull::Cancel
            && slots::is_full(tx, shard, key, *most)?
        {
            (job.parked, job.parked_at, job.parked_for) = (Some(Parked::LimitFull), Some(tx.now), Some(key.clone()));
            return Ok(());
        }
    }
    Ok(())
}

/// How a key is used now, for a reader. Counts those parked, so it takes as long as they are many.
pub(crate) fn usage(look: &Snapshot<'_>, shard: &Shard, key: &Key) -> Result<Usage> {
    let mut usage = Usage::new();
    let Some(shard) = Ledger::find(look.conn, look.namespace, shard)? else { return Ok(usage) };
    let count = |sql: &str| -> Result<u64> {
        let counted: i64 =
            look.conn.prepare_cached(sql)?.query_row(params![shard.n, key.as_str()], |row| row.get(0))?;
        Ok(counted.cast_unsigned())
    };
    let owner = unique::owner(look.conn, shard.n, key, look.now)?;
    (usage.unique, usage.unique_until) = (owner.map(|owner| owner.id), owner.and_then(|owner| owner.until));
    usage.running = count(slots::HOLDERS)?;
    usage.waiting = count(parking::BLOCKED)?;
    usage.throttled = count(parking::THROTTLED)?;
    usage.paid_at = Some(rates::paid(look.conn, shard.n, key.as_str())?).filter(|paid| *paid > look.now);
    Ok(usage)
}
