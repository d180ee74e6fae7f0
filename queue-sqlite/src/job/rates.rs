//! Rates: what has been paid for, and when those parked for one are looked at next.

use std::time::Duration;

use queue_storage::model::{Job, Key, Limit, Parked, Rate, Timestamp};
use queue_storage::storage::{MAX_PRUNE, MAX_UPKEEP};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::job::limits::Keys;
use crate::job::parking::{self, Back};
use crate::job::tx::Tx;
use crate::ledger::Ledger;

/// Stands for the whole shard among its keys, none of which is empty.
pub(crate) const SHARD: &str = "";

pub(crate) const PAID: &str = "SELECT paid_at FROM queue_rates WHERE shard = ?1 AND key = ?2";

/// When everything that has started under the key is paid for.
pub(crate) fn paid(conn: &Connection, shard: i64, key: &str) -> Result<Timestamp> {
    let paid = conn.prepare_cached(PAID)?.query_row(params![shard, key], |row| row.get(0)).optional()?;
    Ok(paid.map(Timestamp::from_micros).unwrap_or_default())
}

/// Writes when everything that has started under the key is paid for.
pub(crate) fn pay(tx: &Tx<'_>, shard: &Ledger, key: &str, paid: Timestamp) -> Result<()> {
    tx.conn
        .prepare_cached(
            "INSERT INTO queue_rates (shard, key, paid_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (shard, key) DO UPDATE SET paid_at = ?3",
        )?
        .execute(params![shard.n, key, paid.as_micros()])?;
    Ok(())
}

/// Whether the rate admits a start now.
pub(crate) fn admits(tx: &Tx<'_>, shard: &Ledger, key: &Key, rate: Rate, cost: u32) -> Result<bool> {
    Ok(rate.admits(paid(tx.conn, shard.n, key.as_str())?, tx.now, cost).is_some())
}

/// Pays for a start that the rate admits.
pub(crate) fn start(tx: &Tx<'_>, shard: &Ledger, key: &Key, rate: Rate, cost: u32) -> Result<()> {
    match rate.admits(paid(tx.conn, shard.n, key.as_str())?, tx.now, cost) {
        Some(paid) => pay(tx, shard, key.as_str(), paid),
        None => Ok(()),
    }
}

/// Closes the rate for everyone.
pub(crate) fn close(tx: &Tx<'_>, shard: &Ledger, (key, rate): (&Key, Rate), hold: Duration) -> Result<()> {
    let key = key.as_str();
    let paid = rate.held(paid(tx.conn, shard.n, key)?, tx.now, hold);
    pay(tx, shard, key, paid)?;
    if shard.blocked == 0 {
        return Ok(());
    }
    let Some((rate, cost)) = first_word(tx, shard, key)? else { return Ok(()) };
    tx.conn
        .prepare_cached("UPDATE queue_windows SET opens_at = max(opens_at, ?3) WHERE shard = ?1 AND key = ?2")?
        .execute(params![shard.n, key, rate.opens_at(paid, cost).as_micros()])?;
    Ok(())
}

/// Sees to it that a job parked for the rate is looked at once that opens.
pub(crate) fn watch(tx: &mut Tx<'_>, shard: &Ledger, key: &Key, rate: Rate, cost: u32) -> Result<()> {
    let opens = rate.opens_at(paid(tx.conn, shard.n, key.as_str())?, cost);
    tx.conn
        .prepare_cached(
            "INSERT INTO queue_windows (shard, key, opens_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (shard, key) DO UPDATE SET opens_at = min(opens_at, ?3)",
        )?
        .execute(params![shard.n, key.as_str(), opens.as_micros()])?;
    tx.hints.due_at(opens);
    Ok(())
}

pub(crate) const NEXT: &str = "SELECT n, rank, seq, suspect, keys FROM queue_jobs \
    WHERE shard = ?1 AND parked_for = ?2 AND parked = 'rate_window' ORDER BY rank, seq LIMIT ?3";

/// Forgets to look at a key for which no job is parked any more.
pub(crate) fn unwatch(tx: &Tx<'_>, shard: &Ledger, key: &str) -> Result<()> {
    if tx.conn.prepare_cached(NEXT)?.exists(params![shard.n, key, 1])? {
        return Ok(());
    }
    tx.conn
        .prepare_cached("DELETE FROM queue_windows WHERE shard = ?1 AND key = ?2")?
        .execute(params![shard.n, key])?;
    Ok(())
}

pub(crate) const NEXT_WINDOW: &str =
    "SELECT opens_at, key FROM queue_windows WHERE shard = ?1 ORDER BY opens_at, key LIMIT 1";

fn first_window(tx: &Tx<'_>, shard: &Ledger) -> Result<Option<(Timestamp, String)>> {
    let first = tx
        .conn
        .prepare_cached(NEXT_WINDOW)?
        .query_row([shard.n], |row| Ok((Timestamp::from_micros(row.get(0)?), row.get(1)?)))
        .optional()?;
    Ok(first)
}

/// When jobs that are parked for a rate are next to be looked at.
pub(crate) fn next_window(tx: &Tx<'_>, shard: &Ledger) -> Result<Option<Timestamp>> {
    if shard.blocked == 0 {
        return Ok(None);
    }
    Ok(first_window(tx, shard)?.map(|(opens, _)| opens))
}

/// Brings jobs back whose rates have opened, earliest first; whether more are left.
pub(crate) fn open_windows(tx: &mut Tx<'_>, shard: &mut Ledger) -> Result<bool> {
    let (mut left, mut looks) = (MAX_UPKEEP, MAX_UPKEEP);
    while shard.blocked > 0 {
        let Some((_, key)) = first_window(tx, shard)?.filter(|(opens, _)| *opens <= tx.now) else { return Ok(false) };
        if left == 0 || looks == 0 {
            return Ok(true);
        }
        let back = open_window(tx, shard, &key, left)?;
        left -= back;
        // A rate that was used up again meanwhile brings nobody back.
        looks -= u32::from(back == 0);
    }
    Ok(false)
}

/// Brings back as many as the rate has room for, by the word of the first, and says when to look again.
fn open_window(tx: &mut Tx<'_>, shard: &mut Ledger, key: &str, most: u32) -> Result<u32> {
    let Some((rate, cost)) = first_word(tx, shard, key)? else {
        unwatch(tx, shard, key)?;
        return Ok(0);
    };
    let paid = paid(tx.conn, shard.n, key)?;
    let room = rate.room(paid, tx.now, cost).min(most);
    let jobs = if room == 0 { Vec::new() } else { throttled(tx, shard, key, room)? };
    let back = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    for (job, _) in jobs {
        parking::unpark(tx, shard, job)?;
    }
    let next = if back == 0 { rate.opens_at(paid, cost) } else { rate.look_after(paid, tx.now, cost, back) };
    tx.conn
        .prepare_cached("UPDATE queue_windows SET opens_at = ?3 WHERE shard = ?1 AND key = ?2")?
        .execute(params![shard.n, key, next.as_micros()])?;
    if back > 0 {
        unwatch(tx, shard, key)?;
    }
    Ok(back)
}

/// The first jobs parked for the rate, each with its keys.
fn throttled(tx: &Tx<'_>, shard: &Ledger, key: &str, most: u32) -> Result<Vec<(Back, Vec<u8>)>> {
    let mut statement = tx.conn.prepare_cached(NEXT)?;
    let jobs = statement.query_map(params![shard.n, key, most], |row| {
        let back = Back { n: row.get(0)?, rank: row.get(1)?, sequence: row.get(2)?, suspect: row.get(3)? };
        Ok((back, row.get(4)?))
    })?;
    Ok(jobs.collect::<Result<_, _>>()?)
}

/// What the first job parked for the rate says of it, and what it costs.
fn first_word(tx: &Tx<'_>, shard: &Ledger, key: &str) -> Result<Option<(Rate, u32)>> {
    let Some((_, keys)) = throttled(tx, shard, key, 1)?.pop() else { return Ok(None) };
    let limits = Keys::read(&keys)?.limits;
    Ok(rates(&limits).find(|(one, ..)| one.as_str() == key).map(|(_, rate, cost)| (rate, cost)))
}

/// The rates among some limits, each with its key and what a start costs.
pub(crate) fn rates(limits: &[Limit]) -> impl Iterator<Item = (&Key, Rate, u32)> {
    limits.iter().filter_map(|limit| match limit {
        Limit::Rate { key, rate, cost } => Some((key, *rate, *cost)),
        _ => None,
    })
}

/// When the rate opens for which the job of this row is parked.
pub(crate) fn opens_at(conn: &Connection, n: i64, job: &Job) -> Result<Option<Timestamp>> {
    let key = job.parked_for.as_ref().filter(|_| job.parked == Some(Parked::RateWindow));
    let Some((key, rate, cost)) = rates(&job.limits).find(|(one, ..)| Some(*one) == key) else { return Ok(None) };
    let shard = conn.prepare_cached("SELECT shard FROM queue_jobs WHERE n = ?1")?.query_row([n], |row| row.get(0))?;
    Ok(Some(rate.opens_at(paid(conn, shard, key.as_str())?, cost)))
}

pub(crate) const FORGET: &str = "DELETE FROM queue_rates WHERE shard = ?1 AND key IN \
    (SELECT key FROM queue_rates WHERE shard = ?1 AND paid_at <= ?2 ORDER BY paid_at LIMIT ?3)";

/// Drops what is remembered of rates that are paid.
pub(crate) fn prune(tx: &Tx<'_>, shard: &Ledger) -> Result<()> {
    tx.conn.prepare_cached(FORGET)?.execute(params![shard.n, tx.now.as_micros(), MAX_PRUNE])?;
    Ok(())
}
