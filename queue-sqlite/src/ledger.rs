//! One shard's row: what rises, what is counted, and the one function through which a state changes.

use std::collections::HashMap;

use queue_storage::model::{Key, Move, Shard, State, Timestamp};
use queue_storage::storage::{Counts, Ends};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::Result;

/// A shard, as it is stored; read at the start of an operation and saved at its end.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) n: i64,
    pub(crate) shard: Shard,
    pub(crate) sequence: u64,
    pub(crate) fence: u64,
    /// When it was last called with an exchange or a renewal.
    pub(crate) seen_at: Option<Timestamp>,
    /// The last silence: when it began, and until when only leases that had ended by then are taken back.
    pub(crate) silent_since: Option<Timestamp>,
    pub(crate) spare_until: Option<Timestamp>,
    /// Jobs by state, in the order of [`State::ALL`].
    stored: [u64; 9],
    pub(crate) parked: u64,
    /// Those of the parked that are so for a key.
    pub(crate) blocked: u64,
    /// Suspects that are ready and not parked.
    pub(crate) suspects: u64,
    /// Ended jobs whose edges are not all followed.
    pub(crate) follow: u64,
    /// Completed jobs without a result that are kept for no other.
    pub(crate) traces: u64,
    /// Those of the parked that are relays in the outbox.
    pub(crate) outbox: u64,
    /// Live jobs with a time limit.
    pub(crate) limited: u64,
    /// Running jobs that were asked to stop.
    pub(crate) stopping: u64,
    pub(crate) enqueued: u64,
    ended: Ends,
    pub(crate) pruned_made_at: Option<Timestamp>,
    /// What other processes listen to: see `notify`.
    pub(crate) bell: u64,
    pub(crate) news: u64,
    pub(crate) stops: u64,
    /// Whether anything is said of the shard: see `control`.
    pub(crate) controlled: bool,
    /// Whether it has, or had, a schedule.
    pub(crate) scheduled: bool,
    /// When the first of its schedules is due.
    pub(crate) ticks_at: Option<Timestamp>,
    /// How many jobs hold a slot of a key, as far as this operation has counted them; kept true by `slots`, never saved.
    pub(crate) holders: HashMap<Key, u64>,
}

/// The columns beside the row's number, in the order in which they are read and saved; a literal, for `concat!`.
macro_rules! fields {
    () => {
        "seq, fence, seen_at, silent_since, spare_until, n_waiting, n_scheduled, n_ready, n_running, n_retrying, \
         n_completed, n_cancelled, n_expired, n_dead, n_parked, n_suspects, n_follow, n_traces, n_outbox, enqueued, \
         ended_completed, ended_cancelled, ended_expired, ended_dead, pruned_made_at, bell, news, n_limited, n_stopping, \
         stops, controlled, n_blocked, scheduled, ticks_at"
    };
}

const FIND: &str =
    concat!("SELECT shard, ", fields!(), " FROM queue_shards WHERE namespace = ?1 AND queue = ?2 AND idx = ?3");
const MAKE: &str = concat!(
    "INSERT INTO queue_shards (namespace, queue, idx, tag) VALUES (?1, ?2, ?3, ?4) RETURNING shard, ",
    fields!()
);
// By numbers: a parameter with a name is looked for among all of them.
const SAVE: &str = concat!(
    "UPDATE queue_shards SET (",
    fields!(),
    ") = (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, \
     ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35) WHERE shard = ?1"
);

impl Ledger {
    /// The shard's row, if it has one.
    pub(crate) fn find(conn: &Connection, namespace: &str, shard: &Shard) -> Result<Option<Self>> {
        let found = conn
            .prepare_cached(FIND)?
            .query_row(params![namespace, shard.queue.as_str(), shard.index], |row| Self::read(row, shard.clone()))
            .optional()?;
        Ok(found)
    }

    /// The shard's row, made if it has none.
    pub(crate) fn open(conn: &Connection, namespace: &str, shard: &Shard) -> Result<Self> {
        if let Some(ledger) = Self::find(conn, namespace, shard)? {
            return Ok(ledger);
        }
        let ledger = conn
            .prepare_cached(MAKE)?
            .query_row(params![namespace, shard.queue.as_str(), shard.index, shard.tag()], |row| {
                Self::read(row, shard.clone())
            })?;
        Ok(ledger)
    }

    fn read(row: &Row<'_>, shard: Shard) -> rusqlite::Result<Self> {
        let moment = |at| row.get(at).map(|micros: Option<i64>| micros.map(Timestamp::from_micros));
        let count = |at| row.get(at).map(i64::cast_unsigned);
        let mut stored = [0; 9];
        for (at, jobs) in stored.iter_mut().enumerate() {
            *jobs = count(6 + at)?;
        }
        Ok(Self {
            n: row.get(0)?,
            shard,
            sequence: count(1)?,
            fence: count(2)?,
            seen_at: moment(3)?,
            silent_since: moment(4)?,
            spare_until: moment(5)?,
            stored,
            parked: count(15)?,
            suspects: count(16)?,
            follow: count(17)?,
            traces: count(18)?,
            outbox: count(19)?,
            enqueued: count(20)?,
            ended: Ends { completed: count(21)?, cancelled: count(22)?, expired: count(23)?, dead: count(24)? },
            pruned_made_at: moment(25)?,
            bell: count(26)?,
            news: count(27)?,
            limited: count(28)?,
            stopping: count(29)?,
            stops: count(30)?,
            controlled: row.get(31)?,
            blocked: count(32)?,
            scheduled: row.get(33)?,
            ticks_at: moment(34)?,
            holders: HashMap::new(),
        })
    }

    /// Writes the row back.
    pub(crate) fn save(&self, conn: &Connection) -> Result<()> {
        let micros = |moment: Option<Timestamp>| moment.map(Timestamp::as_micros);
        let count = u64::cast_signed;
        let [waiting, scheduled, ready, running, retrying, completed, cancelled, expired, dead] =
            self.stored.map(count);
        conn.prepare_cached(SAVE)?.execute(params![
            self.n,
            count(self.sequence),
            count(self.fence),
            micros(self.seen_at),
            micros(self.silent_since),
            micros(self.spare_until),
            waiting,
            scheduled,
            ready,
            running,
            retrying,
            completed,
            cancelled,
            expired,
            dead,
            count(self.parked),
            count(self.suspects),
            count(self.follow),
            count(self.traces),
            count(self.outbox),
            count(self.enqueued),
            count(self.ended.completed),
            count(self.ended.cancelled),
            count(self.ended.expired),
            count(self.ended.dead),
            micros(self.pruned_made_at),
            count(self.bell),
            count(self.news),
            count(self.limited),
            count(self.stopping),
            count(self.stops),
            self.controlled,
            count(self.blocked),
            self.scheduled,
            micros(self.ticks_at),
        ])?;
        Ok(())
    }

    /// The next number of a claim or of a schedule's change; kept where it is used.
    pub(crate) fn next_fence(&self, now: Timestamp) -> u64 {
        (self.fence + 1).max(now.as_micros().unsigned_abs())
    }

    /// Whether a schedule is due.
    pub(crate) fn ticks(&self, now: Timestamp) -> bool {
        self.ticks_at.is_some_and(|at| at <= now)
    }

    /// The next place in the line.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Counts a job that is taken in.
    pub(crate) fn admitted(&mut self, state: State) {
        self.enqueued += 1;
        self.stored[state as usize] += 1;
    }

    /// Counts the end of a job that ends as it is taken in.
    pub(crate) fn ends_at_once(&mut self, state: State) {
        self.ends(state);
        self.prunable(state, false, true);
    }

    /// Checks a move against the table and counts it.
    ///
    /// Every change of a stored state passes here before it is written.
    pub(crate) fn moves(&mut self, mv: Move, from: State, to: State) -> Result<()> {
        mv.check(from, to)?;
        self.left(from, 1);
        self.stored[to as usize] += 1;
        self.ends(to);
        Ok(())
    }

    fn ends(&mut self, state: State) {
        match state {
            State::Completed => self.ended.completed += 1,
            State::Cancelled => self.ended.cancelled += 1,
            State::Expired => self.ended.expired += 1,
            State::Dead => self.ended.dead += 1,
            _ => {}
        }
    }

    /// Counts jobs that left a state.
    pub(crate) fn left(&mut self, state: State, jobs: u64) {
        let count = &mut self.stored[state as usize];
        *count = count.saturating_sub(jobs);
    }

    /// Counts an ended job in or out of the traces that retention may remove, if it is one.
    pub(crate) fn prunable(&mut self, state: State, has_result: bool, is: bool) {
        if state == State::Completed && !has_result {
            self.traces = if is { self.traces + 1 } else { self.traces.saturating_sub(1) };
        }
    }

    /// Jobs in this state.
    pub(crate) fn count(&self, state: State) -> u64 {
        self.stored[state as usize]
    }

    /// Parked jobs that some worker might run.
    pub(crate) fn aside(&self) -> u64 {
        self.parked.saturating_sub(self.blocked).saturating_sub(self.outbox)
    }

    /// Ready jobs in the line that every worker looks at.
    pub(crate) fn in_line(&self) -> u64 {
        self.count(State::Ready).saturating_sub(self.parked).saturating_sub(self.suspects)
    }

    /// What is counted, but for what is due.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            stored: State::ALL.into_iter().map(|state| (state, self.count(state))).filter(|(_, n)| *n > 0).collect(),
            parked: self.parked,
            due: 0,
            oldest: None,
            enqueued: self.enqueued,
            ended: self.ended,
        }
    }
}
