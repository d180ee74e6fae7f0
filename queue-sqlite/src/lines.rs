//! The lines a claim takes from, merged: what is ready, the suspects, and the parked jobs this worker can run.

use std::collections::VecDeque;

use queue_storage::storage::MAX_HEADS;
use rusqlite::{OptionalExtension, ToSql, params};

use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::tx::Tx;
use crate::workers::Known;

/// The next job of a line.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) n: i64,
    rank: i64,
    sequence: i64,
    pub(crate) suspect: bool,
    pub(crate) parked: bool,
    /// Set for jobs that this worker has not been matched with yet.
    pub(crate) unmatched: Option<(String, u16)>,
}

/// Which jobs stand in a line.
#[derive(Debug)]
enum Kind {
    Ready,
    Suspects,
    /// Parked jobs of one task and level.
    Parked { suspect: bool, task: String, needs: u16 },
}

#[derive(Debug)]
struct Line {
    kind: Kind,
    fetched: VecDeque<Head>,
    /// Where to go on; `None` at the end of the line.
    after: Option<(i64, i64)>,
    /// How many to fetch at a time.
    chunk: u32,
}

/// The lines of one exchange.
#[derive(Debug)]
pub(crate) struct Lines {
    lines: Vec<Line>,
}

pub(crate) const READY: &str = "SELECT n, rank, seq, task, needs FROM queue_jobs \
    WHERE shard = ?1 AND state = 2 AND parked IS NULL AND suspect = 0 AND (rank, seq) > (?2, ?3) \
    ORDER BY rank, seq LIMIT ?4";
pub(crate) const SUSPECTS: &str = "SELECT n, rank, seq, task, needs FROM queue_jobs \
    WHERE shard = ?1 AND state = 2 AND parked IS NULL AND suspect = 1 AND (rank, seq) > (?2, ?3) \
    ORDER BY rank, seq LIMIT ?4";
pub(crate) const PARKED: &str = "SELECT n, rank, seq FROM queue_jobs \
    WHERE shard = ?1 AND state = 2 AND parked IS NOT NULL AND suspect = ?5 AND task = ?6 AND needs = ?7 \
    AND (rank, seq) > (?2, ?3) ORDER BY rank, seq LIMIT ?4";
pub(crate) const PARKED_LEVELS: &str = "SELECT needs FROM queue_jobs \
    WHERE shard = ?1 AND state = 2 AND parked IS NOT NULL AND suspect = ?2 AND task = ?3 AND needs > ?4 AND needs <= ?5 \
    ORDER BY needs LIMIT 1";

impl Lines {
    /// The lines that hold jobs for this worker.
    pub(crate) fn open(tx: &Tx<'_>, shard: &Ledger, worker: &Known, want: u32) -> Result<Self> {
        // One more than wanted, to tell whether any is left.
        let chunk = want.saturating_add(1).min(MAX_HEADS);
        let mut kinds = Vec::new();
        if shard.in_line() > 0 {
            kinds.push(Kind::Ready);
        }
        if shard.suspects > 0 {
            kinds.push(Kind::Suspects);
        }
        if shard.parked > 0 {
            for task in &worker.tasks {
                for suspect in [false, true] {
                    let levels = levels(tx, shard, worker, task, suspect)?;
                    kinds.extend(levels.into_iter().map(|needs| Kind::Parked { suspect, task: task.clone(), needs }));
                }
            }
        }
        let line = |kind| Line { kind, fetched: VecDeque::new(), after: Some((i64::MIN, i64::MIN)), chunk };
        Ok(Self { lines: kinds.into_iter().map(line).collect() })
    }

    /// The first head of all lines: lowest rank, then lowest sequence.
    pub(crate) fn peek(&mut self, tx: &Tx<'_>, shard: &Ledger) -> Result<Option<&Head>> {
        Ok(self.first(tx, shard)?.and_then(|at| self.lines[at].fetched.front()))
    }

    /// Takes the first head of all lines.
    pub(crate) fn next(&mut self, tx: &Tx<'_>, shard: &Ledger) -> Result<Option<Head>> {
        Ok(self.first(tx, shard)?.and_then(|at| self.lines[at].fetched.pop_front()))
    }

    /// Looks at no suspect any more.
    pub(crate) fn drop_suspects(&mut self) {
        self.lines.retain(|line| !matches!(line.kind, Kind::Suspects | Kind::Parked { suspect: true, .. }));
    }

    fn first(&mut self, tx: &Tx<'_>, shard: &Ledger) -> Result<Option<usize>> {
        let mut best: Option<(usize, (i64, i64))> = None;
        for (at, line) in self.lines.iter_mut().enumerate() {
            line.fill(tx, shard)?;
            let Some(head) = line.fetched.front() else { continue };
            let place = (head.rank, head.sequence);
            if best.is_none_or(|(_, first)| place < first) {
                best = Some((at, place));
            }
        }
        Ok(best.map(|(at, _)| at))
    }
}

impl Line {
    /// Fetches the next heads when none is left; the statement is finished before any of them is changed.
    fn fill(&mut self, tx: &Tx<'_>, shard: &Ledger) -> Result<()> {
        let Some((rank, sequence)) = self.after.filter(|_| self.fetched.is_empty()) else { return Ok(()) };
        let mut values: Vec<&dyn ToSql> = vec![&shard.n, &rank, &sequence, &self.chunk];
        let (sql, suspect, parked) = match &self.kind {
            Kind::Ready => (READY, false, false),
            Kind::Suspects => (SUSPECTS, true, false),
            Kind::Parked { suspect, task, needs } => {
                values.extend([suspect as &dyn ToSql, task, needs]);
                (PARKED, *suspect, true)
            }
        };
        let mut statement = tx.conn.prepare_cached(sql)?;
        let mut rows = statement.query(&values[..])?;
        while let Some(row) = rows.next()? {
            let unmatched = if parked { None } else { Some((row.get(3)?, row.get(4)?)) };
            self.fetched.push_back(Head {
                n: row.get(0)?,
                rank: row.get(1)?,
                sequence: row.get::<_, Option<i64>>(2)?.ok_or_else(|| Error::corrupt("a ready job has no sequence"))?,
                suspect,
                parked,
                unmatched,
            });
        }
        let full = self.fetched.len() == self.chunk as usize;
        self.after = self.fetched.back().filter(|_| full).map(|head| (head.rank, head.sequence));
        Ok(())
    }
}

/// The levels at which jobs of a task are parked that this worker understands: one look for each.
fn levels(tx: &Tx<'_>, shard: &Ledger, worker: &Known, task: &str, suspect: bool) -> Result<Vec<u16>> {
    let (mut levels, mut above) = (Vec::new(), -1);
    loop {
        let level = tx
            .conn
            .prepare_cached(PARKED_LEVELS)?
            .query_row(params![shard.n, suspect, task, above, worker.understands()], |row| row.get::<_, u16>(0))
            .optional()?;
        let Some(level) = level else { return Ok(levels) };
        levels.push(level);
        above = i32::from(level);
    }
}
