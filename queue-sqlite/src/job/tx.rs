//! One operation inside a transaction: its connection, its time, and whom to tell once it is committed.

use bytes::Bytes;
use queue_storage::model::{JobId, Move, Shard, State, Timestamp, WorkerId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::job::more::More;
use crate::job::watch::{self, Kind};
use crate::ledger::Ledger;

pub(crate) const NEXT_DUE: &str =
    "SELECT due_at FROM queue_jobs WHERE shard = ?1 AND state IN (1, 4) ORDER BY due_at LIMIT 1";

pub(crate) const NEXT_WINDOW: &str =
    "SELECT opens_at, key FROM queue_windows WHERE shard = ?1 ORDER BY opens_at, key LIMIT 1";

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Tx<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) namespace: &'c str,
    /// Read once, when the operation has the file's write lock.
    pub(crate) now: Timestamp,
    pub(crate) hints: Hints,
    /// Jobs that were parked for a key and are back in line.
    pub(crate) back: Vec<Back>,
}

/// A job that was parked for a key and is back in line: a claim that is under way may have passed its place.
#[derive(Debug)]
pub(crate) struct Back {
    pub(crate) n: i64,
    pub(crate) id: JobId,
    pub(crate) rank: i64,
    pub(crate) sequence: i64,
    pub(crate) suspect: bool,
    pub(crate) more: More,
}

/// What to tell listeners once the operation is committed.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    pub(crate) shards: Vec<Shard>,
    pub(crate) jobs: Vec<JobId>,
    /// Jobs whose runs told how far they got.
    pub(crate) progress: Vec<JobId>,
    /// Workers that are to stop a run.
    pub(crate) stops: Vec<WorkerId>,
    /// Jobs that were taken back, or ended without a run of theirs being settled; and what became of them.
    pub(crate) upkept: Vec<(JobId, State)>,
    /// News for those who watch in this process.
    pub(crate) announced: Vec<Bytes>,
    /// Shards in which something was raised, each with what.
    pub(crate) raised: Vec<(i64, Raised)>,
    /// Whether a job became ready.
    pub(crate) ready: bool,
    /// The earliest moment that a job is newly due or overdue at, or a rate opens at.
    pub(crate) due: Option<Timestamp>,
}

/// How far the numbers of a shard rose that other processes listen to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) bell: i64,
    pub(crate) news: i64,
    pub(crate) stops: i64,
}

impl Hints {
    pub(crate) fn due_at(&mut self, due: Timestamp) {
        self.due = Some(self.due.map_or(due, |earliest| earliest.min(due)));
    }

    /// Notes a move of a job.
    pub(crate) fn moved(&mut self, id: JobId, mv: Move, from: State, to: State) {
        self.jobs.push(id);
        let ends_unrun = from != State::Running && matches!(mv, Move::Expire | Move::Cancel | Move::Die);
        if mv == Move::Reclaim || ends_unrun {
            self.upkept.push((id, to));
        }
    }
}

impl<'c> Tx<'c> {
    pub(crate) fn new(conn: &'c Connection, namespace: &'c str, now: Timestamp) -> Self {
        Self { conn, namespace, now, hints: Hints::default(), back: Vec::new() }
    }

    /// Ends an operation on a shard: notes whom it concerns, here and in other processes, and saves the shard.
    pub(crate) fn finish(&mut self, shard: &mut Ledger, wake: bool) -> Result<()> {
        let news = !self.hints.jobs.is_empty() || !self.hints.progress.is_empty();
        let stops = !self.hints.stops.is_empty();
        shard.bell += u64::from(wake);
        shard.news += u64::from(news);
        shard.stops += u64::from(stops);
        if wake || news || stops {
            let raised = Raised { bell: i64::from(wake), news: i64::from(news), stops: i64::from(stops) };
            self.hints.raised.push((shard.n, raised));
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

    /// When the next job of the shard that does not run is overdue.
    pub(crate) fn next_overdue(&self, shard: &Ledger) -> Result<Option<Timestamp>> {
        if shard.limited == 0 {
            return Ok(None);
        }
        watch::next(self.conn, shard.n, Kind::Overdue)
    }

    /// The rate whose parked jobs are next to be looked at, and when.
    pub(crate) fn first_window(&self, shard: &Ledger) -> Result<Option<(Timestamp, String)>> {
        if shard.blocked == 0 {
            return Ok(None);
        }
        let mut statement = self.conn.prepare_cached(NEXT_WINDOW)?;
        let first = statement.query_row([shard.n], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        Ok(first.map(|(opens, key)| (Timestamp::from_micros(opens), key)))
    }

    /// When jobs that are parked for a rate are next to be looked at.
    pub(crate) fn next_window(&self, shard: &Ledger) -> Result<Option<Timestamp>> {
        Ok(self.first_window(shard)?.map(|(opens, _)| opens))
    }

    /// Whether a moment that this operation made something due at comes before all others: sleepers were told a later one.
    pub(crate) fn is_due_sooner(&self, shard: &Ledger) -> Result<bool> {
        match self.hints.due {
            Some(due) => {
                let first = [self.next_due(shard)?, self.next_overdue(shard)?, self.next_window(shard)?];
                let first = first.into_iter().flatten().min();
                Ok(first.is_some_and(|first| due <= first))
            }
            None => Ok(false),
        }
    }
}
