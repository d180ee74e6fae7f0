//! The limits of a whole shard: how many of its jobs run at once, and how fast they start.

use queue_storage::model::{Rate, State, Timestamp};
use queue_storage::storage::Controls;

use crate::error::Result;
use crate::job::paid::{self, SHARD};
use crate::job::tx::Tx;
use crate::ledger::Ledger;

/// What the limits of a shard leave while a claim goes on.
#[derive(Debug)]
pub(crate) struct Room {
    slots: Option<u32>,
    rate: Option<Rate>,
    paid: Timestamp,
}

impl Room {
    pub(crate) fn of(tx: &Tx<'_>, shard: &Ledger, controls: &Controls) -> Result<Self> {
        let paid = controls.rate.map(|_| paid::paid(tx.conn, shard.n, SHARD)).transpose()?;
        Ok(Self { slots: controls.slots, rate: controls.rate, paid: paid.unwrap_or_default() })
    }

    /// How many more may start now; enough of them for any claim.
    pub(crate) fn left(&self, shard: &Ledger, now: Timestamp) -> u32 {
        let running = u32::try_from(shard.count(State::Running)).unwrap_or(u32::MAX);
        let slots = self.slots.map_or(u32::MAX, |slots| slots.saturating_sub(running));
        slots.min(self.rate.map_or(u32::MAX, |rate| rate.room(self.paid, now, 1)))
    }

    /// Pays for a start.
    pub(crate) fn start(&mut self, now: Timestamp) {
        let paid = self.rate.and_then(|rate| rate.admits(self.paid, now, 1));
        self.paid = paid.unwrap_or(self.paid);
    }

    /// Writes what was paid.
    pub(crate) fn save(&self, tx: &Tx<'_>, shard: &Ledger) -> Result<()> {
        self.rate.map_or(Ok(()), |_| paid::pay(tx, shard, SHARD, self.paid))
    }

    /// When the rate next admits a start, if it does not now.
    pub(crate) fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.rate.map(|rate| rate.opens_at(self.paid, 1)).filter(|opens| *opens > now)
    }
}
