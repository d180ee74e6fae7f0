//! The lines a claim takes from, merged: what is ready, the suspects, and the parked jobs this worker can run.

use std::collections::{BTreeMap, VecDeque};

use queue_storage::model::{Parked, TaskName};
use queue_storage::storage::{MAX_CLAIM_BYTES, MAX_HEADS, Pause};
use rusqlite::{OptionalExtension, Row, ToSql, params};

use crate::error::{Error, Result};
use crate::job::row::{self, Stored, columns};
use crate::job::tx::{Back, Tx};
use crate::job::workers::Known;
use crate::ledger::Ledger;

/// Who claims, and which tasks nobody may run now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) worker: &'a Known,
    pub(crate) paused: &'a BTreeMap<TaskName, Pause>,
}

impl Asker<'_> {
    /// Why a job of the task is not to run here and now.
    fn misfit(&self, task: &str, needs: u16) -> Option<Parked> {
        self.worker.misfit(task, needs).or_else(|| self.is_paused(task).then_some(Parked::TaskPaused))
    }

    fn is_paused(&self, task: &str) -> bool {
        !self.paused.is_empty() && TaskName::new(task).is_ok_and(|task| self.paused.contains_key(&task))
    }
}

/// The next job of a line.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) n: i64,
    rank: i64,
    sequence: i64,
    pub(crate) suspect: bool,
    pub(crate) parked: bool,
    /// Why this worker can't run it now.
    pub(crate) misfit: Option<Parked>,
    /// The job, where it was read along: in the line that most are taken from.
    pub(crate) stored: Option<Stored>,
}

/// Which jobs stand in a line.
#[derive(Debug)]
enum Kind {
    Ready,
    Suspects,
    /// Parked jobs of one task and level.
    Parked {
        suspect: bool,
        task: String,
        needs: u16,
    },
    /// Jobs that came back into line before the place the claim has got to: nothing is fetched for it.
    Back,
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
    with_suspects: bool,
}

pub(crate) const READY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM queue_jobs WHERE shard = ?1 AND state = 2 AND parked IS NULL AND suspect = 0 AND (rank, seq) > (?2, ?3) \
     ORDER BY rank, seq LIMIT ?4"
);
pub(crate) const SUSPECTS: &str = "SELECT n, rank, seq, task, needs FROM queue_jobs \
    WHERE shard = ?1 AND state = 2 AND parked IS NULL AND suspect = 1 AND (rank, seq) > (?2, ?3) \
    ORDER BY rank, seq LIMIT ?4";
pub(crate) const PARKED: &str = "SELECT n, rank, seq FROM queue_jobs \
    WHERE shard = ?1 AND state = 2 AND parked <> 'outbox' AND parked_for IS NULL AND suspect = ?5 AND task = ?6 \
    AND needs = ?7 AND (rank, seq) > (?2, ?3) ORDER BY rank, seq LIMIT ?4";
pub(crate) const PARKED_LEVELS: &str = "SELECT needs FROM queue_jobs \
    WHERE shard = ?1 AND state = 2 AND parked <> 'outbox' AND parked_for IS NULL AND suspect = ?2 AND task = ?3 \
    AND needs > ?4 AND needs <= ?5 ORDER BY needs LIMIT 1";

impl Lines {
    /// The lines that hold jobs for this worker.
    pub(crate) fn open(tx: &Tx<'_>, shard: &Ledger, asker: &Asker<'_>, want: u32) -> Result<Self> {
        // One more than wanted, to tell whether any is left.
        let chunk = want.saturating_add(1).min(MAX_HEADS);
        let mut kinds = Vec::new();
        if shard.in_line() > 0 {
            kinds.push(Kind::Ready);
        }
        if shard.suspects > 0 {
            kinds.push(Kind::Suspects);
        }
        if shard.aside() > 0 {
            for task in asker.worker.tasks.iter().filter(|task| !asker.is_paused(task)) {
                for suspect in [false, true] {
                    let levels = levels(tx, shard, asker, task, suspect)?;
                    kinds.extend(levels.into_iter().map(|needs| Kind::Parked { suspect, task: task.clone(), needs }));
                }
            }
        }
        let line = |kind| Line { kind, fetched: VecDeque::new(), after: Some((i64::MIN, i64::MIN)), chunk };
        Ok(Self { lines: kinds.into_iter().map(line).collect(), with_suspects: true })
    }

    /// The first head of all lines: lowest rank, then lowest sequence.
    pub(crate) fn peek(&mut self, tx: &Tx<'_>, shard: &Ledger, asker: &Asker<'_>) -> Result<Option<&Head>> {
        Ok(self.first(tx, shard, asker)?.and_then(|at| self.lines[at].fetched.front()))
    }

    /// Takes the first head of all lines.
    pub(crate) fn next(&mut self, tx: &Tx<'_>, shard: &Ledger, asker: &Asker<'_>) -> Result<Option<Head>> {
        Ok(self.first(tx, shard, asker)?.and_then(|at| self.lines[at].fetched.pop_front()))
    }

    /// Looks at no suspect any more.
    pub(crate) fn drop_suspects(&mut self) {
        self.with_suspects = false;
        self.lines.retain(|line| !matches!(line.kind, Kind::Suspects | Kind::Parked { suspect: true, .. }));
        self.lines.iter_mut().for_each(|line| line.fetched.retain(|head| !head.suspect));
    }

    /// Takes up a job that came back into line in its old place, unless what is still to be fetched holds it.
    pub(crate) fn bring(&mut self, tx: &Tx<'_>, shard: &Ledger, asker: &Asker<'_>, back: &Back) -> Result<()> {
        let place = (back.rank, back.sequence);
        let own = self.lines.iter().find(|line| match line.kind {
            Kind::Ready => !back.suspect,
            Kind::Suspects => back.suspect,
            _ => false,
        });
        let comes = own.and_then(|line| line.after).is_some_and(|after| place > after);
        if comes || (back.suspect && !self.with_suspects) {
            return Ok(());
        }
        let Some(stored) = row::find(tx.conn, &shard.shard, back.n)? else { return Ok(()) };
        let misfit = asker.misfit(stored.job.task.as_str(), stored.job.needs);
        let head = Head {
            n: back.n,
            rank: back.rank,
            sequence: back.sequence,
            suspect: back.suspect,
            parked: false,
            misfit,
            stored: Some(stored),
        };
        let at = self.lines.iter().position(|line| matches!(line.kind, Kind::Back)).unwrap_or_else(|| {
            self.lines.push(Line { kind: Kind::Back, fetched: VecDeque::new(), after: None, chunk: 0 });
            self.lines.len() - 1
        });
        let line = &mut self.lines[at].fetched;
        line.insert(line.partition_point(|head| (head.rank, head.sequence) < place), head);
        Ok(())
    }

    fn first(&mut self, tx: &Tx<'_>, shard: &Ledger, asker: &Asker<'_>) -> Result<Option<usize>> {
        let mut best: Option<(usize, (i64, i64))> = None;
        for (at, line) in self.lines.iter_mut().enumerate() {
            line.fill(tx, shard, asker)?;
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
    fn fill(&mut self, tx: &Tx<'_>, shard: &Ledger, asker: &Asker<'_>) -> Result<()> {
        let Some((rank, sequence)) = self.after.filter(|_| self.fetched.is_empty()) else { return Ok(()) };
        let mut values: Vec<&dyn ToSql> = vec![&shard.n, &rank, &sequence, &self.chunk];
        let (sql, suspect, parked) = match &self.kind {
            Kind::Ready => (READY, false, false),
            Kind::Suspects => (SUSPECTS, true, false),
            Kind::Parked { suspect, task, needs } => {
                values.extend([suspect as &dyn ToSql, task, needs]);
                (PARKED, *suspect, true)
            }
            Kind::Back => return Ok(()),
        };
        let mut statement = tx.conn.prepare_cached(sql)?;
        let mut rows = statement.query(&values[..])?;
        let (mut bytes, mut all) = (0, true);
        while let Some(row) = rows.next()? {
            // The columns of row number, rank and sequence, and of the task where the worker may not know it.
            let (n, rank, sequence, task) = match self.kind {
                Kind::Ready => (row::N, 2, 3, Some(6)),
                Kind::Suspects => (0, 1, 2, Some(3)),
                _ => (0, 1, 2, None),
            };
            let misfit = task.map(|at| misfit(row, at, asker)).transpose()?.flatten();
            let along = matches!(self.kind, Kind::Ready) && misfit.is_none();
            let head = Head {
                n: row.get(n)?,
                rank: row.get(rank)?,
                sequence: row.get::<_, Option<i64>>(sequence)?.unwrap_or_default(),
                suspect,
                parked,
                misfit,
                stored: along.then(|| row::stored(tx.conn, row, &shard.shard)).transpose()?,
            };
            bytes += head.stored.as_ref().map_or(0, |stored| stored.job.envelope.len());
            self.fetched.push_back(head);
            if bytes > MAX_CLAIM_BYTES {
                all = false;
                break;
            }
        }
        let ended = all && self.fetched.len() < self.chunk as usize;
        self.after = self.fetched.back().filter(|_| !ended).map(|head| (head.rank, head.sequence));
        Ok(())
    }
}

/// Why the worker can't run the job of the row, whose task and level are the columns from `at` on.
fn misfit(row: &Row<'_>, at: usize, asker: &Asker<'_>) -> Result<Option<Parked>> {
    let task = row.get_ref(at)?.as_str().map_err(|_| Error::corrupt("a job has no task"))?;
    Ok(asker.misfit(task, row.get(at + 1)?))
}

/// The levels at which jobs of a task are parked that this worker understands: one look for each.
fn levels(tx: &Tx<'_>, shard: &Ledger, asker: &Asker<'_>, task: &str, suspect: bool) -> Result<Vec<u16>> {
    let (mut levels, mut above) = (Vec::new(), -1);
    loop {
        let level = tx
            .conn
            .prepare_cached(PARKED_LEVELS)?
            .query_row(params![shard.n, suspect, task, above, asker.worker.understands()], |row| row.get::<_, u16>(0))
            .optional()?;
        let Some(level) = level else { return Ok(levels) };
        levels.push(level);
        above = i32::from(level);
    }
}
