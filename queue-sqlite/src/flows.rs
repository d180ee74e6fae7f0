//! What a flow costs in one call does not grow with what else is tied to it: SQLite's own steps, counted with few jobs and
//! with many.

use queue_storage::model::{
    Claimed, EndReason, Failure, FailureKind, JobId, NewJob, Node, Settled, Settlement, Shard, State, Trigger,
};
use queue_storage::storage::{Act, Acted, Edit, MAX_PRUNE, MAX_UPKEEP, Outbox, Parcel, Receipt, Retention};
use rusqlite::params;

use crate::bounds::{Desk, HOUR, assert_flat, completed, job, mail};
use crate::job::{act, deliver, maintain};

fn after(parent: &NewJob) -> NewJob {
    let mut child = job("t");
    child.waits_for = vec![parent.id];
    child
}

fn relay(parent: &NewJob) -> NewJob {
    let there = Shard::of("there".parse().unwrap());
    let mut relay = after(parent);
    (relay.trigger, relay.node) = (Trigger::Ended, Node::Relay { to: JobId::new(&there), shard: there });
    relay
}

fn gather(parent: &NewJob) -> NewJob {
    let mut gather = after(parent);
    (gather.trigger, gather.node) = (Trigger::Ended, Node::Gather { keep: HOUR });
    gather
}

fn died(run: &Claimed) -> Settled {
    let failure = Failure::new(FailureKind::Error, "boom");
    let settlement = Settlement::Die { reason: EndReason::Fatal, failure, keep: HOUR };
    Settled { job: run.job.id, fence: run.fence, attempts: 1, settlement }
}

impl Desk {
    fn act(&mut self, id: JobId, act: &Act) -> Acted {
        self.call(|tx, _| act::act(tx, &mail(), &[id], act)).remove(0)
    }

    fn outbox(&mut self, sent: &[Receipt]) -> Outbox {
        self.call(|tx, _| deliver::outbox(tx, &mail(), sent))
    }

    /// Takes the job that came last as the first of `count` like it, which wait for the same and are as far.
    fn fan(&mut self, count: u32) {
        let last: i64 = self.conn.query_row("SELECT max(n) FROM queue_jobs", [], |row| row.get(0)).unwrap();
        let columns = "shard, state, rank, parked, task, needs, at_most_once, enqueued_at, ended_at, keep_until, reason, \
            waits_for, more, envelope";
        let copy = format!(
            "WITH RECURSIVE k(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM k WHERE i < ?2) \
             INSERT INTO queue_jobs (id, seq, {columns}) SELECT randomblob(16), seq + i, {columns} FROM queue_jobs, k \
             WHERE n = ?1"
        );
        self.conn.execute(&copy, params![last, count - 1]).unwrap();
        let tie =
            "INSERT INTO queue_edges SELECT parent, n, struck FROM queue_edges, queue_jobs WHERE child = ?1 AND n > ?1";
        self.conn.execute(tie, [last]).unwrap();
        let post = "INSERT INTO queue_outbox SELECT shard, seq, n FROM queue_jobs WHERE parked = 'outbox' AND n > ?1";
        self.conn.execute(post, [last]).unwrap();
        let count = |wanted: &str| format!("(SELECT count(*) FROM queue_jobs WHERE {wanted})");
        let sql = format!(
            "UPDATE queue_shards SET seq = (SELECT max(seq) FROM queue_jobs), n_waiting = {}, n_ready = {}, n_parked = {}, \
             n_outbox = {}, n_completed = {}, n_cancelled = {}, n_traces = {}",
            count("state = 0"),
            count("state = 2"),
            count("parked IS NOT NULL"),
            count("parked = 'outbox'"),
            count("state = 5"),
            count("state = 6"),
            count("state = 5 AND held = 0 AND result IS NULL")
        );
        self.conn.execute(&sql, []).unwrap();
    }

    /// How many edges there are.
    fn edges(&self) -> u32 {
        self.conn.query_row("SELECT count(*) FROM queue_edges", [], |row| row.get(0)).unwrap()
    }
}

/// A claim passes by what stands in the outbox, and whoever carries it sees the first of it.
#[test]
fn the_outbox_hinders_nobody() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        let parent = job("t");
        desk.enqueue(vec![parent.clone(), relay(&parent)]);
        let runs = desk.exchange(1).claimed;
        assert!(desk.settle(0, vec![completed(&runs[0])]).outbox);
        desk.fan(count);
        desk.enqueue(vec![job("strange")]);
        desk.exchange(9);
        let ((answer, outbox), steps) = desk.steps(|desk| {
            desk.enqueue(vec![job("t")]);
            let answer = desk.exchange(9);
            let first = desk.outbox(&[]);
            let sent: Vec<_> = first.parcels.iter().map(Parcel::receipt).collect();
            (answer, desk.outbox(&sent))
        });
        assert_eq!(desk.counts().parked, u64::from(count - MAX_UPKEEP) + 1);
        ((answer.claimed.len(), answer.outbox, outbox.parcels.len(), outbox.more), steps)
    });
}

/// Whether somebody needs an ended job is seen at once, however many are kept with it.
#[test]
fn reviving_looks_at_nobody_who_ended() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        let parent = job("t");
        desk.enqueue(vec![parent.clone(), after(&parent)]);
        assert_eq!(desk.act(parent.id, &Act::Cancel { keep: HOUR }), Acted::Done(State::Cancelled));
        desk.fan(count);
        let (acted, steps) = desk.steps(|desk| desk.act(parent.id, &Act::Revive(Edit::new())));
        assert_eq!(acted, Acted::Done(State::Ready));
        (desk.edges() == count, steps)
    });
}

/// A dead letter lets go of those that it was kept for by so many a call.
#[test]
fn a_dead_letter_lets_go_by_small_steps() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        let parent = job("t");
        desk.enqueue(vec![parent.clone(), after(&parent)]);
        desk.act(parent.id, &Act::Cancel { keep: HOUR });
        desk.fan(count);
        desk.act(parent.id, &Act::Revive(Edit::new()));
        let runs = desk.exchange(1).claimed;
        let (answer, steps) = desk.steps(|desk| desk.settle(0, vec![died(&runs[0])]));
        assert_eq!(desk.edges(), count - MAX_UPKEEP);
        (answer.look_again, steps)
    });
}

type Child = fn(&NewJob) -> NewJob;
type Settle = fn(&Claimed) -> Settled;

/// Those who wait are told by so many a call, whatever they wait for.
#[test]
fn an_end_is_told_by_small_steps() {
    let told: [(Child, Settle); 3] = [(after, died), (relay, completed), (gather, died)];
    for (child, settlement) in told {
        assert_flat(|count| {
            let mut desk = Desk::new();
            let parent = job("t");
            desk.enqueue(vec![parent.clone(), child(&parent)]);
            let runs = desk.exchange(1).claimed;
            desk.fan(count);
            let (answer, steps) = desk.steps(|desk| desk.settle(0, vec![settlement(&runs[0])]));
            let waiting = desk.counts().stored[&State::Waiting];
            assert_eq!(waiting, u64::from(count - MAX_UPKEEP));
            (answer.look_again, steps)
        });
    }
}

/// Gathers that are removed count with what they let go of.
#[test]
fn gathers_go_by_small_steps() {
    assert_flat(|count| {
        let mut desk = Desk::new();
        let parent = job("t");
        desk.enqueue(vec![parent.clone(), gather(&parent)]);
        let runs = desk.exchange(1).claimed;
        desk.settle(0, vec![completed(&runs[0])]);
        desk.fan(count);
        desk.now = desk.now + HOUR * 2;
        let retention = Retention::default();
        let (step, steps) = desk.steps(|desk| desk.call(|tx, _| maintain::prune(tx, &mail(), retention)));
        assert_eq!(step.done, MAX_PRUNE / 2);
        ((step.done, step.more), steps)
    });
}
