//! What waits for a key costs those who do not a thing, and those who do no more than what comes back: SQLite's own steps,
//! counted with few jobs and with many.

use std::time::Duration;

use queue_storage::model::{Conflict, Key, Limit, NewJob, Rate, Unique, WhenFull, Window};
use queue_storage::storage::{Control, Exchanged, MAX_HEADS, MAX_PRUNE, MAX_UPKEEP, Retention};
use rusqlite::params;

use crate::bounds::{Desk, HOUR, assert_flat, completed, job, mail};
use crate::job::maintain;

fn key(name: &str) -> Key {
    name.parse().unwrap()
}

fn alone(name: &str) -> NewJob {
    let mut job = job("t");
    job.limits = vec![Limit::Slots { key: key(name), most: 1, full: WhenFull::Wait }];
    job
}

fn slow(starts: u32) -> NewJob {
    let mut job = job("t");
    job.limits = vec![Limit::Rate { key: key("k"), rate: Rate::per(HOUR, 1).burst(starts), cost: 1 }];
    job
}

impl Desk {
    /// Takes the only job that is parked for a key as the first of `count` like it.
    fn crowd(&mut self, count: u32) {
        let columns = "shard, state, rank, parked, parked_for, task, needs, at_most_once, enqueued_at, more, envelope";
        let sql = format!(
            "WITH RECURSIVE k(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM k WHERE i < ?1) \
             INSERT INTO queue_jobs (id, seq, {columns}) SELECT randomblob(16), seq + i, {columns} FROM queue_jobs, k \
             WHERE parked_for IS NOT NULL"
        );
        self.conn.execute(&sql, [count - 1]).unwrap();
        let sql = "UPDATE queue_shards SET seq = seq + ?1, enqueued = enqueued + ?1, n_ready = n_ready + ?1, \
            n_parked = n_parked + ?1, n_blocked = n_blocked + ?1";
        self.conn.execute(sql, params![count - 1]).unwrap();
    }
}

fn brief(answer: &Exchanged) -> (usize, Option<Duration>) {
    (answer.claimed.len(), answer.look_again)
}

/// A claim passes by what is parked for a full key, and an enqueue adds to it without looking.
#[test]
fn the_blocked_hinder_nobody() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        // Parked for another reason, so that parked jobs are looked through at all.
        desk.enqueue(vec![alone("k"), job("strange")]);
        assert_eq!(desk.exchange(9).claimed.len(), 1);
        desk.enqueue(vec![alone("k")]);
        desk.crowd(count);
        let (answer, steps) = desk.steps(|desk| {
            desk.enqueue(vec![alone("k"), job("t")]);
            desk.exchange(9)
        });
        assert_eq!(desk.counts().parked, u64::from(count) + 2);
        (brief(&answer), steps)
    });
}

/// A slot that falls free brings one job back, whoever else waits.
#[test]
fn one_slot_brings_one_job() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        desk.enqueue(vec![alone("k")]);
        let runs = desk.exchange(9).claimed;
        desk.enqueue(vec![alone("k")]);
        desk.crowd(count);
        let (answer, steps) = desk.steps(|desk| desk.settle(9, vec![completed(&runs[0])]));
        assert_eq!(desk.counts().parked, u64::from(count) - 1);
        (brief(&answer), steps)
    });
}

/// Those parked for a rate cost nothing until it opens, and then no more than it lets start.
#[test]
fn the_throttled_hinder_nobody() {
    let throttled = |count: u32, later: Duration| {
        let mut desk = Desk::new();
        desk.enqueue(vec![slow(3), slow(3), slow(3), slow(3)]);
        assert_eq!(desk.exchange(9).claimed.len(), 3);
        desk.crowd(count);
        desk.now = desk.now + later;
        let (answer, steps) = desk.steps(|desk| desk.exchange(9));
        (brief(&answer), steps)
    };
    assert_flat(|count| throttled(count, Duration::from_secs(1)));
    assert_flat(|count| throttled(count, HOUR * 2));
    assert_eq!(throttled(1_000, HOUR * 2).0.0, 2);
}

/// However many a rate has room for, one call brings so many back and says that there are more.
#[test]
fn a_rate_opens_by_small_steps() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        desk.enqueue((0..501).map(|_| slow(500)).collect());
        while desk.counts().parked == 0 {
            desk.exchange(256);
        }
        desk.crowd(count);
        desk.now = desk.now + HOUR * 1_000;
        let (answer, steps) = desk.steps(|desk| desk.exchange(0));
        assert_eq!(desk.counts().parked, u64::from(count - MAX_UPKEEP));
        (brief(&answer), steps)
    });
}

/// Fifty full keys at the head keep nobody from a free one behind them, nor do their many.
#[test]
fn full_keys_starve_no_free_one() {
    let mut desk = Desk::new();
    let names: Vec<String> = (0..50).map(|at| format!("k{at}")).collect();
    // In line, since nobody runs yet: four times as many as there are slots.
    desk.enqueue((0..250).map(|at| alone(&names[at % 50])).chain([alone("free")]).collect());
    let runs = desk.exchange(256).claimed;
    assert_eq!(runs.len(), 51, "one look of {MAX_HEADS} heads reaches them all");
    desk.settle(0, vec![completed(&runs[50])]);
    // Behind those that come when the keys are full.
    desk.enqueue((0..999).map(|at| alone(&names[at % 50])).chain([alone("free")]).collect());
    let claimed = desk.exchange(9).claimed;
    assert_eq!(claimed.iter().map(|run| run.job.limits[0].key().as_str()).collect::<Vec<_>>(), ["free"]);
}

/// Looking into a queue that is full as a whole reads no more of it for a large wish than for a small one.
#[test]
fn a_full_queue_is_not_read() {
    let looked = |want: u32| {
        let mut desk = Desk::new();
        desk.enqueue(vec![job("t")]);
        desk.exchange(1);
        desk.control(&Control::Slots(Some(1)));
        desk.enqueue((0..1_000).map(|_| job("t")).collect());
        desk.steps(|desk| brief(&desk.exchange(want)))
    };
    assert_eq!(looked(256), looked(1));
}

/// Unique keys are found among any number of others, and those whose time has passed go by so many a call.
#[test]
fn unique_keys_are_found_at_once() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        let mut one = job("t");
        one.unique = Some(Unique::new(key("k"), Window::For(HOUR), Conflict::Replace));
        desk.enqueue(vec![one.clone()]);
        let sql = "WITH RECURSIVE k(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM k WHERE i < ?1) \
            INSERT INTO queue_unique (shard, key, id, until) SELECT shard, 'k' || i, id, until FROM queue_unique, k";
        desk.conn.execute(sql, [count - 1]).unwrap();
        let mut other = job("t");
        other.unique = one.unique;
        let ((), steps) = desk.steps(|desk| desk.enqueue(vec![other]));
        desk.now = desk.now + HOUR;
        let prune = |desk: &mut Desk| desk.call(|tx, _| maintain::prune(tx, &mail(), Retention::default()));
        let (_, pruning) = desk.steps(prune);
        let left: u32 = desk.conn.query_row("SELECT count(*) FROM queue_unique", [], |row| row.get(0)).unwrap();
        assert_eq!(left, count - MAX_PRUNE);
        (desk.counts().enqueued, steps + pruning)
    });
}
