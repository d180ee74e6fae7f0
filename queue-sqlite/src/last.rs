//! What a shard remembers of each worker's last exchange, so that a repeat is answered the same.

use std::collections::HashSet;

use queue_storage::storage::SettleAnswer;
use rusqlite::{OptionalExtension, params};

use crate::error::Result;
use crate::job::cells;
use crate::job::tx::Tx;
use crate::job::workers::Known;
use crate::ledger::Ledger;

/// The last exchange of a worker with a shard, and its answer.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) number: u64,
    pub(crate) fence: u64,
    pub(crate) settled: Vec<SettleAnswer>,
    pub(crate) claimed: Vec<i64>,
}

impl Last {
    pub(crate) fn find(tx: &Tx<'_>, shard: &Ledger, worker: &Known) -> Result<Option<Self>> {
        let found = tx
            .conn
            .prepare_cached(
                "SELECT number, fence, settled, claimed FROM queue_exchanges WHERE worker = ?1 AND shard = ?2",
            )?
            .query_row([worker.n, shard.n], |row| {
                let (settled, claimed) = (row.get::<_, Vec<u8>>(2)?, row.get::<_, Vec<u8>>(3)?);
                Ok(Self {
                    number: row.get::<_, i64>(0)?.cast_unsigned(),
                    fence: row.get::<_, i64>(1)?.cast_unsigned(),
                    settled: settled.iter().copied().map(answer).collect(),
                    claimed: claimed.as_chunks::<8>().0.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect(),
                })
            })
            .optional()?;
        Ok(found)
    }

    pub(crate) fn remember(&self, tx: &Tx<'_>, shard: &Ledger, worker: &Known) -> Result<()> {
        let settled: Vec<u8> = self.settled.iter().copied().map(byte).collect();
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
    pub(crate) fn confirm(&self, tx: &Tx<'_>, worker: &Known, settled: &HashSet<i64>) -> Result<()> {
        let mut statement = tx.conn.prepare_cached(
            "UPDATE queue_jobs SET delivered = 1 WHERE n = ?1 AND state = 3 AND worker = ?2 AND fence = ?3 AND delivered = 0",
        )?;
        let holder = cells::worker_bytes(worker.id);
        for n in self.claimed.iter().filter(|n| !settled.contains(n)) {
            statement.execute(params![n, holder, self.fence.cast_signed()])?;
        }
        Ok(())
    }
}

/// An answer as it is stored.
fn byte(answer: SettleAnswer) -> u8 {
    match answer {
        SettleAnswer::Applied => 1,
        SettleAnswer::Cancelled => 2,
        _ => 0,
    }
}

fn answer(byte: u8) -> SettleAnswer {
    match byte {
        1 => SettleAnswer::Applied,
        2 => SettleAnswer::Cancelled,
        _ => SettleAnswer::Lost,
    }
}
