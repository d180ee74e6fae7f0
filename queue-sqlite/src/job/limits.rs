//! What holds a job back for the sake of others: its unique key and its limits.
//!
//! No statement is run for a job that has neither.

use std::time::Duration;

use queue_storage::model::{Job, JobId, Key, Limit, Parked, Shard, State, Unique, WhenFull};
use queue_storage::storage::Usage;
use rusqlite::params;

use crate::error::Result;
use crate::job::keys::{Keys, rates, slots};
use crate::job::paid;
use crate::job::parking;
use crate::job::rates;
use crate::job::row::Stored;
use crate::job::slots;
use crate::job::tx::Tx;
use crate::job::unique;
use crate::ledger::Ledger;
use crate::reader::Snapshot;

/// What follows for others from the move of the job of this row and id, which has these keys and was not parked, from one
/// state to another.
pub(crate) fn went(
    tx: &mut Tx<'_>,
    shard: &mut Ledger,
    (n, id): (i64, JobId),
    keys: &Keys,
    (from, to): (State, State),
) -> Result<()> {
    let mover = Mover { n, id, unique: keys.unique.as_ref(), limits: &keys.limits };
    let (before, after) = (Standing::of(from, false), Standing::of(to, false));
    moved(tx, shard, mover, before, after)?;
    if before.leaves_unstarted(after) { rates::give_turns_on(tx, shard, &keys.limits) } else { Ok(()) }
}

/// What follows for others when the job of this row and id, which has these keys, is parked that was in line.
pub(crate) fn stepped_aside(tx: &mut Tx<'_>, shard: &mut Ledger, (n, id): (i64, JobId), keys: &Keys) -> Result<()> {
    let mover = Mover { n, id, unique: None, limits: &keys.limits };
    moved(tx, shard, mover, Standing::InLine, Standing::Aside)?;
    rates::give_turns_on(tx, shard, &keys.limits)
}

/// Closes the rates of these keys.
pub(crate) fn close(tx: &Tx<'_>, shard: &Ledger, keys: &Keys, hold: Duration) -> Result<()> {
    rates(&keys.limits).try_for_each(|(key, rate, _)| rates::close(tx, shard, (key, rate), hold))
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

    /// Whether who stood here and stands there now had its turn and did not start.
    fn leaves_unstarted(self, after: Self) -> bool {
        self == Self::InLine && !matches!(after, Self::InLine | Self::Runs)
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
        let after = Standing::of_job(job);
        moved(tx, shard, Mover::of(n, job), self.place, after)?;
        let unstarted = self.place.leaves_unstarted(after) && job.parked_for.is_none();
        if unstarted { rates::give_turns_on(tx, shard, &job.limits) } else { Ok(()) }
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
            Limit::Rate { key, rate, cost } if !paid::admits(tx, shard, key, *rate, *cost)? => {
                return Ok(Some(HeldBack::Park(Parked::RateWindow, key.clone())));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Sets a job aside that has come to run, for the key of a limit.
pub(crate) fn park(tx: &mut Tx<'_>, shard: &mut Ledger, stored: &Stored, (reason, key): (&Parked, &Key)) -> Result<()> {
    let (n, job) = (stored.n, &stored.job);
    parking::park(tx, shard, stored, reason, key)?;
    if *reason == Parked::RateWindow {
        let own = rates(&job.limits).find(|(one, ..)| *one == key);
        own.map_or(Ok(()), |(key, rate, cost)| rates::watch(tx, shard, key, rate, cost))?;
    }
    moved(tx, shard, Mover::of(n, job), Standing::of_job(job), Standing::Aside)
}

/// Starts a job that nothing holds back: it takes its slots and pays its rates.
pub(crate) fn start(tx: &mut Tx<'_>, shard: &mut Ledger, n: i64, job: &Job) -> Result<()> {
    rates(&job.limits).try_for_each(|(key, rate, cost)| paid::start(tx, shard, key, rate, cost))?;
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
    usage.paid_at = Some(paid::paid(look.conn, shard.n, key.as_str())?).filter(|paid| *paid > look.now);
    Ok(usage)
}
