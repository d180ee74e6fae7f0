//! Rates that are used up: when those parked for one are looked at next, and brought back.

use std::time::Duration;

use queue_storage::model::{Key, Limit, Rate};
use queue_storage::storage::MAX_UPKEEP;
use rusqlite::params;

use crate::error::Result;
use crate::job::keys::rates;
use crate::job::paid::{paid, pay};
use crate::job::parking;
use crate::job::tx::{Back, Tx};
use crate::ledger::Ledger;

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

/// Sees to it that who waits for these rates is looked at by the next call: who came back for them did not start.
pub(crate) fn give_turns_on(tx: &mut Tx<'_>, shard: &Ledger, limits: &[Limit]) -> Result<()> {
    if shard.blocked == 0 {
        return Ok(());
    }
    for (key, ..) in rates(limits) {
        let stirred = tx
            .conn
            .prepare_cached("UPDATE queue_windows SET opens_at = 0 WHERE shard = ?1 AND key = ?2")?
            .execute(params![shard.n, key.as_str()])?;
        if stirred > 0 {
            tx.hints.due_at(tx.now);
        }
    }
    Ok(())
}

pub(crate) const NEXT: &str = "SELECT n, id, rank, seq, suspect, more FROM queue_jobs \
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

/// Brings jobs back whose rates have opened, earliest first; whether more are left.
pub(crate) fn open_windows(tx: &mut Tx<'_>, shard: &mut Ledger) -> Result<bool> {
    let (mut left, mut looks) = (MAX_UPKEEP, MAX_UPKEEP);
    while shard.blocked > 0 {
        let Some((_, key)) = tx.first_window(shard)?.filter(|(opens, _)| *opens <= tx.now) else { return Ok(false) };
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
    for job in jobs {
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

/// The first jobs parked for the rate.
fn throttled(tx: &Tx<'_>, shard: &Ledger, key: &str, most: u32) -> Result<Vec<Back>> {
    let mut statement = tx.conn.prepare_cached(NEXT)?;
    let mut rows = statement.query(params![shard.n, key, most])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(parking::back(row)?);
    }
    Ok(jobs)
}

/// What the first job parked for the rate says of it, and what it costs.
fn first_word(tx: &Tx<'_>, shard: &Ledger, key: &str) -> Result<Option<(Rate, u32)>> {
    let Some(first) = throttled(tx, shard, key, 1)?.pop() else { return Ok(None) };
    Ok(rates(&first.more.keys.limits).find(|(one, ..)| one.as_str() == key).map(|(_, rate, cost)| (rate, cost)))
}
