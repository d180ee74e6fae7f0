//! What schedules cost: nothing where there is none or none is due, and no more among many than among few. SQLite's own
//! steps, counted.

use bytes::Bytes;
use queue_storage::model::{NewJob, Timestamp};
use queue_storage::storage::{Changed, MAX_UPKEEP, ScheduleChange, ScheduleRecord, Ticked};

use crate::bounds::{Desk, HOUR, assert_flat, job, mail};
use crate::schedules;

/// A schedule that is stored to be due then.
fn stores(name: &str, due: Timestamp) -> ScheduleChange {
    ScheduleChange::new(name.parse().unwrap(), None, Some((Some(due), Bytes::from_static(b"data"))))
}

fn moves(record: &ScheduleRecord, due: Timestamp, jobs: Vec<NewJob>) -> ScheduleChange {
    let to = Some((Some(due), record.data.clone()));
    let mut change = ScheduleChange::new(record.name.clone(), Some(record.version), to);
    change.jobs = jobs;
    change
}

impl Desk {
    fn tick(&mut self, changes: Vec<ScheduleChange>) -> Ticked {
        self.call(|tx, _| schedules::tick(tx, &mail(), changes))
    }

    /// Takes the only schedule as the first of `count` that are due an hour later each.
    fn spread(&mut self, count: u32) {
        let sql = "WITH RECURSIVE k(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM k WHERE i < ?1) \
            INSERT INTO queue_schedules (shard, name, version, due, data) \
            SELECT shard, CAST('s' || i AS BLOB), version, due + i * ?2, data FROM queue_schedules, k";
        self.conn.execute(sql, [i64::from(count) - 1, HOUR.as_micros().try_into().unwrap()]).unwrap();
    }
}

/// Until one is due, an exchange of a shard with schedules is that of one without any.
#[test]
fn exchanges_pay_for_no_schedule_that_is_not_due() {
    let exchange = |due: Option<Timestamp>| {
        let mut desk = Desk::new();
        desk.enqueue(vec![job("t"), job("t")]);
        desk.exchange(1);
        if let Some(due) = due {
            desk.tick(vec![stores("s", due)]);
        }
        let (answer, steps) = desk.steps(|desk| desk.exchange(1));
        (answer.ticks, steps)
    };
    let now = Desk::new().now;
    let (none, steps) = exchange(None);
    assert_eq!((none, exchange(Some(now + HOUR))), (false, (false, steps)));
    let (due, dearer) = exchange(Some(now));
    assert!(due && dearer > steps, "{steps} steps and {dearer}");
}

/// Whatever is due, an exchange looks for the next only, and a tick hands out and changes so many.
#[test]
fn many_schedules_cost_what_few_do() {
    for hours in [0, 10_000_000] {
        assert_flat(|count| {
            let mut desk = Desk::new();
            desk.tick(vec![stores("s", desk.now)]);
            desk.spread(count);
            desk.now = desk.now + HOUR * hours;
            let ((answer, ticked), steps) = desk.steps(|desk| {
                let due = desk.tick(vec![]).due;
                let later = desk.now + HOUR;
                let changes = due.iter().map(|one| moves(one, later, vec![job("t")])).collect();
                let ticked = desk.tick(changes);
                (desk.exchange(9), ticked)
            });
            let applied = ticked.changed.iter().filter(|change| **change != Changed::Stale).count();
            assert_eq!(applied, if hours == 0 { 1 } else { MAX_UPKEEP as usize });
            ((answer.claimed.len(), answer.ticks, answer.look_again, ticked.due.len(), ticked.more), steps)
        });
    }
}
