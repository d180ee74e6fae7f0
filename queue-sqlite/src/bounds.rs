//! What a call costs does not grow with what stands in its way: SQLite's own steps, counted with few jobs and with many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{
    CallerId, Claimed, JobId, NewJob, Settled, Settlement, Shard, State, Timestamp, When, WorkerId,
};
use queue_storage::storage::{
    Act, Acted, Control, Counts, EnqueueCall, Exchange, Exchanged, JobQuery, LeaseTerms, MAX_HEADS, MAX_UPKEEP,
    Retention, Revocation, Scope, WorkerRecord,
};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};

use crate::error::{Place, Result};
use crate::job::tx::Tx;
use crate::job::workers::Workers;
use crate::job::{act, maintain, workers};
use crate::reader::Snapshot;
use crate::{claim, control, enqueue, list, operate, schema};

const FEW: u32 = 1_000;
const MANY: u32 = 100_000;
const NAMESPACE: &str = "queue";
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// A file in memory with one shard, one worker and a clock that stands still.
pub(crate) struct Desk {
    pub(crate) conn: Connection,
    workers: Workers,
    pub(crate) now: Timestamp,
    worker: WorkerId,
    number: u64,
}

pub(crate) fn mail() -> Shard {
    Shard::of("mail".parse().unwrap())
}

pub(crate) fn job(task: &str) -> NewJob {
    NewJob::new(JobId::new(&mail()), task.parse().unwrap(), Bytes::from_static(b"\x01\x00\x80"))
}

pub(crate) fn completed(run: &Claimed) -> Settled {
    let settlement = Settlement::Complete { result: None, keep: HOUR };
    Settled { job: run.job.id, fence: run.fence, attempts: 1, settlement }
}

impl Desk {
    pub(crate) fn new() -> Self {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
        conn.set_prepared_statement_cache_capacity(128);
        schema::migrate(&mut conn, schema::MIGRATIONS, &Place::new("test.db".into())).unwrap();
        schema::complete(&mut conn).unwrap();
        let now = Timestamp::EPOCH + HOUR * 24 * 365;
        let mut desk = Self { conn, workers: Workers::default(), now, worker: WorkerId::generate(), number: 0 };
        let record = WorkerRecord {
            id: desk.worker,
            host: "here".into(),
            version: None,
            shards: vec![mail()],
            tasks: ["t".parse().unwrap()].into(),
            understands: 1,
            lease: LeaseTerms::default(),
            concurrency: 64,
            started_at: now,
            seen_at: now,
        };
        desk.call(|tx, _| workers::register(tx, &record));
        desk
    }

    /// Does something in a transaction of its own.
    pub(crate) fn call<T>(&mut self, work: impl FnOnce(&mut Tx<'_>, &mut Workers) -> Result<T>) -> T {
        self.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut tx = Tx::new(&self.conn, NAMESPACE, self.now);
        let done = work(&mut tx, &mut self.workers).unwrap();
        self.conn.execute_batch("COMMIT").unwrap();
        done
    }

    /// How many steps SQLite took to do it.
    pub(crate) fn steps<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> (T, u64) {
        let steps = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&steps);
        let count = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            false
        };
        self.conn.progress_handler(1, Some(count)).unwrap();
        let done = work(self);
        self.conn.progress_handler(0, None::<fn() -> bool>).unwrap();
        (done, steps.load(Ordering::Relaxed))
    }

    pub(crate) fn enqueue(&mut self, jobs: Vec<NewJob>) {
        let call = EnqueueCall { caller: CallerId::generate(), shard: mail(), number: 1, jobs };
        self.call(|tx, _| enqueue::enqueue(tx, call));
    }

    pub(crate) fn exchange(&mut self, want: u32) -> Exchanged {
        self.settle(want, Vec::new())
    }

    pub(crate) fn settle(&mut self, want: u32, settlements: Vec<Settled>) -> Exchanged {
        self.number += 1;
        let (worker, number) = (self.worker, self.number);
        let call = Exchange { worker, shard: mail(), number, settlements, want, suspects: 1 };
        self.call(|tx, workers| claim::exchange(tx, workers, &call))
    }

    pub(crate) fn control(&mut self, change: &Control) {
        self.call(|tx, _| control::control(tx, &mail(), change));
    }

    fn look<T>(&mut self, look: impl FnOnce(&Snapshot<'_>) -> Result<T>) -> T {
        look(&Snapshot { conn: &self.conn, namespace: NAMESPACE, now: self.now }).unwrap()
    }

    pub(crate) fn counts(&mut self) -> Counts {
        self.look(|look| operate::counts(look, &mail()))
    }

    /// Takes the only stored job as the first of `count` like it.
    fn multiply(&mut self, count: u32) {
        let columns = "shard, state, rank, parked, task, needs, at_most_once, enqueued_at, due_at, ended_at, keep_until, \
            reason, more, envelope";
        let sql = format!(
            "WITH RECURSIVE k(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM k WHERE i < ?1) \
             INSERT INTO queue_jobs (id, seq, {columns}) SELECT randomblob(16), seq + i, {columns} FROM queue_jobs, k"
        );
        self.conn.execute(&sql, [count - 1]).unwrap();
        let sql =
            "INSERT OR IGNORE INTO queue_watch SELECT w.shard, w.kind, w.at, j.n FROM queue_watch w, queue_jobs j";
        self.conn.execute(sql, []).unwrap();
        let sql = "UPDATE queue_shards SET seq = seq + ?1, enqueued = enqueued + ?1, n_waiting = n_waiting * ?2, \
            n_scheduled = n_scheduled * ?2, n_ready = n_ready * ?2, n_dead = n_dead * ?2, ended_dead = ended_dead * ?2, \
            n_parked = n_parked * ?2, n_limited = n_limited * ?2";
        self.conn.execute(sql, params![count - 1, count]).unwrap();
    }
}

/// Says that a call costs as much among many as among few.
pub(crate) fn assert_flat<T: PartialEq + std::fmt::Debug>(play: impl Fn(u32) -> (T, u64)) {
    let ((few, cheap), (many, dear)) = (play(FEW), play(MANY));
    assert_eq!(few, many);
    assert!(dear <= cheap + cheap / 10, "{cheap} steps among {FEW} jobs, {dear} among {MANY}");
}

/// The oldest of a line is its first: whoever looks at it passes the others by.
#[test]
fn the_oldest_is_found_at_once() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        desk.enqueue(vec![job("t")]);
        desk.multiply(count);
        let (counts, steps) = desk.steps(Desk::counts);
        assert_eq!(counts.pending(), u64::from(count));
        (counts.oldest.is_some(), steps)
    });
}

/// Ready jobs that a worker parked: it, and whoever wants other jobs, passes them by.
#[test]
fn the_parked_hinder_nobody() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        desk.enqueue(vec![job("strange")]);
        assert_eq!(desk.exchange(1).parked.len(), 1);
        desk.multiply(count);
        desk.enqueue(vec![job("t")]);
        let (answer, steps) = desk.steps(|desk| desk.exchange(9));
        assert_eq!(desk.counts().parked, u64::from(count));
        ((answer.claimed.len(), answer.look_again), steps)
    });
}

/// The same for jobs of a paused task; and what looks at none of them does not when the pause ends.
#[test]
fn a_paused_task_hinders_nobody() {
    let paused = |count: u32, stir: fn(&mut Desk)| {
        let mut desk = Desk::new();
        let until = desk.now + HOUR;
        desk.enqueue(vec![job("t")]);
        desk.control(&Control::Pause(Scope::Task("t".parse().unwrap()), Some(until)));
        assert_eq!(desk.exchange(1).claimed.len(), 0);
        desk.multiply(count);
        stir(&mut desk);
        let (answer, steps) = desk.steps(|desk| desk.exchange(9));
        ((answer.claimed.len(), answer.look_again), steps)
    };
    assert_flat(|count| paused(count, |_| {}));
    assert_flat(|count| paused(count, |desk| desk.now = desk.now + HOUR));
}

/// A claim that meets jobs of a paused task, or revoked ones, looks at so many and no more.
#[test]
fn a_claim_looks_at_so_many_heads() {
    let task = "t".parse().unwrap();
    let mut revoked = Revocation::default();
    revoked.tag = Some("bad".parse().unwrap());
    for change in [Control::Pause(Scope::Task(task), None), Control::Revoke(revoked)] {
        assert_flat(|count| {
            let mut desk = Desk::new();
            let mut bad = job("t");
            bad.tags = vec!["bad".parse().unwrap()];
            desk.enqueue(vec![bad]);
            desk.multiply(count);
            desk.control(&change);
            let (answer, steps) = desk.steps(|desk| desk.exchange(9));
            let counts = desk.counts();
            assert_eq!(counts.parked + counts.ended.cancelled, u64::from(MAX_HEADS));
            ((answer.claimed.len(), answer.look_again), steps)
        });
    }
}

/// Jobs that expire some day cost an exchange nothing, and those that are overdue no more than one call expires.
#[test]
fn expiry_goes_by_small_steps() {
    let expiring = |count: u32, later: Duration| {
        let mut desk = Desk::new();
        let mut late = job("t");
        (late.when, late.deadline) = (When::In(HOUR * 9), Some(When::At(desk.now + HOUR)));
        desk.enqueue(vec![late]);
        desk.multiply(count);
        desk.now = desk.now + later;
        let (answer, steps) = desk.steps(|desk| desk.exchange(9));
        ((answer.look_again, desk.counts().ended.expired), steps)
    };
    assert_flat(|count| expiring(count, HOUR / 2));
    assert_flat(|count| expiring(count, HOUR * 2));
    let ((again, expired), _) = expiring(FEW, HOUR * 2);
    assert_eq!((again, expired), (Some(Duration::ZERO), u64::from(MAX_UPKEEP)));
}

/// What nobody knows dies by so many a call.
#[test]
fn strangers_die_by_small_steps() {
    let strange = |count: u32, later: Duration| {
        let mut desk = Desk::new();
        desk.enqueue(vec![job("strange")]);
        desk.exchange(1);
        desk.multiply(count);
        desk.now = desk.now + later;
        let retention = Retention { unknown: Some(HOUR), dead: u64::MAX, ..Retention::default() };
        let (step, steps) = desk.steps(|desk| desk.call(|tx, _| maintain::prune(tx, &mail(), retention)));
        ((step.died.len(), step.more), steps)
    };
    assert_flat(|count| strange(count, HOUR));
    assert_flat(|count| strange(count, HOUR * 2));
    assert_eq!(strange(FEW, HOUR * 2).0, (MAX_UPKEEP as usize, true));
}

/// The last deaths are found among any number of others.
#[test]
fn a_page_of_dead_letters_is_found_at_once() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        desk.enqueue(vec![job("strange")]);
        desk.exchange(1);
        desk.now = desk.now + HOUR * 2;
        let retention = Retention { unknown: Some(HOUR), ..Retention::default() };
        desk.call(|tx, _| maintain::prune(tx, &mail(), retention));
        desk.multiply(count);
        // Each at a moment of its own, the ones taken in first last.
        desk.conn.execute("UPDATE queue_jobs SET ended_at = ended_at - n", []).unwrap();
        let mut query = JobQuery::default();
        (query.state, query.limit) = (Some(State::Dead), 5);
        let ((first, next), steps) = desk.steps(|desk| {
            let first = desk.look(|look| list::list(look, &query));
            query.after = first.next.clone();
            (first, desk.look(|look| list::list(look, &query)))
        });
        let deaths: Vec<_> = first.jobs.iter().chain(&next.jobs).map(|job| job.ended_at).collect();
        assert!(deaths.is_sorted_by(|a, b| a > b), "{deaths:?}");
        (deaths, steps)
    });
}

/// An act on one job costs what that job costs.
#[test]
fn an_act_looks_at_its_jobs_alone() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        let mut limited = job("t");
        limited.deadline = Some(When::In(HOUR * 9));
        desk.enqueue(vec![limited]);
        desk.multiply(count);
        let one = job("t");
        let id = one.id;
        desk.enqueue(vec![one]);
        let acts = [Act::Edit(queue_storage::storage::Edit::new().when(When::In(HOUR))), Act::Delete];
        let (answers, steps) = desk.steps(|desk| acts.map(|act| desk.call(|tx, _| act::act(tx, &mail(), &[id], &act))));
        assert_eq!(answers, [vec![Acted::Done(State::Scheduled)], vec![Acted::Done(State::Cancelled)]]);
        (answers.len(), steps)
    });
}

/// A plain job pays for nothing that few jobs have.
#[test]
fn a_plain_job_costs_so_many_steps() {
    let mut desk = Desk::new();
    let mut each = |count: u64| {
        let jobs = (0..count).map(|_| job("t")).collect();
        let ((), filled) = desk.steps(|desk| desk.enqueue(jobs));
        let (_, drained) = desk.steps(|desk| {
            let want = count.try_into().unwrap();
            let runs = desk.exchange(want).claimed;
            desk.settle(0, runs.iter().map(completed).collect())
        });
        [filled, drained]
    };
    let (few, many) = (each(40), each(240));
    let [fill, drain] = [0, 1].map(|at| (many[at] - few[at]) / 200);
    assert!(fill <= 112, "{fill} steps to enqueue one");
    assert!(drain <= 314, "{drain} steps to claim and settle one");
}
