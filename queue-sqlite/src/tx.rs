//! One operation inside a transaction: its connection, its time, and whom to tell once it is committed.

use queue_storage::model::{JobId, Shard, State, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::ledger::Ledger;

pub(crate) const NEXT_DUE: &str =
    "SELECT due_at FROM queue_jobs WHERE shard = ?1 AND state IN (1, 4) ORDER BY due_at LIMIT 1";

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Tx<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) namespace: &'c str,
    /// Read once, when the operation has the file's write lock.
    pub(crate) now: Timestamp,
    pub(crate) hints: Hints,
}

/// What to tell listeners once the operation is committed.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    pub(crate) shards: Vec<Shard>,
    pub(crate) jobs: Vec<JobId>,
    /// Shards whose bell rang for others, or whose news rose.
    pub(crate) raised: Vec<(i64, bool, bool)>,
    /// Whether a job became ready.
    pub(crate) ready: bool,
    /// The earliest moment that a job is newly due at.
    pub(crate) due: Option<Timestamp>,
}

impl Hints {
    pub(crate) fn due_at(&mut self, due: Timestamp) {
        self.due = Some(self.due.map_or(due, |earliest| earliest.min(due)));
    }
}

impl<'c> Tx<'c> {
    pub(crate) fn new(conn: &'c Connection, namespace: &'c str, now: Timestamp) -> Self {
        Self { conn, namespace, now, hints: Hints::default() }
    }

    /// Ends an operation on a shard: notes whom it concerns, here and in other processes, and saves the shard.
    pub(crate) fn finish(&mut self, shard: &mut Ledger, wake: bool) -> Result<()> {
        let news = !self.hints.jobs.is_empty();
        shard.bell += u64::from(wake);
        shard.news += u64::from(news);
        if wake || news {
            self.hints.raised.push((shard.n, wake, news));
        }
        if wake {
            self.hints.shards.push(shard.shard.clone());
        }
        shard.save(self.conn)
    }

    /// When the next scheduled or retrying job of the shard is due.
    pub(crate) fn next_due(&self, shard: &Ledger) -> Result<Option<Timestamp>> {
        if shard.count(State::Scheduled) + shard.count(State::Retrying) == 0 {
            return Ok(None);
        }
        let due =
            self.conn.prepare_cached(NEXT_DUE)?.query_row(params![shard.n], |row| row.get::<_, i64>(0)).optional()?;
        Ok(due.map(Timestamp::from_micros))
    }

    /// Whether a job that this operation made due comes before all others: sleepers were told a later moment.
    pub(crate) fn is_due_sooner(&self, shard: &Ledger) -> Result<bool> {
        match self.hints.due {
            Some(due) => Ok(self.next_due(shard)?.is_some_and(|first| due <= first)),
            None => Ok(false),
        }
    }
}
