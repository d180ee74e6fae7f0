//! What a file keeps beside its jobs agrees with them, whatever has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use queue_sqlite::rusqlite::Connection;

/// Each finds what must not be there.
const WRONG: &[(&str, &str)] = &[
    (
        "a count of parked jobs",
        "SELECT s.shard FROM queue_shards s WHERE n_parked <> (SELECT count(*) FROM queue_jobs j \
        WHERE j.shard = s.shard AND state = 2 AND parked IS NOT NULL)",
    ),
    (
        "a count of jobs parked for a key",
        "SELECT s.shard FROM queue_shards s WHERE n_blocked <> (SELECT count(*) FROM queue_jobs j \
        WHERE j.shard = s.shard AND parked_for IS NOT NULL)",
    ),
    (
        "a job parked for a key",
        "SELECT n FROM queue_jobs WHERE (parked_for IS NOT NULL) <> (parked IS 'limit_full' OR parked IS 'rate_window') \
        OR parked_for IS NOT NULL AND more IS NULL",
    ),
    ("a slot", "SELECT job FROM queue_slots WHERE job NOT IN (SELECT n FROM queue_jobs WHERE state = 3)"),
    (
        "a window",
        "SELECT shard FROM queue_windows w WHERE key NOT IN \
        (SELECT parked_for FROM queue_jobs j WHERE j.shard = w.shard AND parked = 'rate_window')",
    ),
    (
        "a missing window",
        "SELECT n FROM queue_jobs j WHERE parked = 'rate_window' AND NOT EXISTS \
        (SELECT 1 FROM queue_windows w WHERE w.shard = j.shard AND w.key = j.parked_for)",
    ),
    (
        "a count of suspects",
        "SELECT s.shard FROM queue_shards s WHERE n_suspects <> (SELECT count(*) FROM queue_jobs j \
        WHERE j.shard = s.shard AND state = 2 AND parked IS NULL AND suspect = 1)",
    ),
    (
        "a count of traces",
        "SELECT s.shard FROM queue_shards s WHERE n_traces <> (SELECT count(*) FROM queue_jobs j \
        WHERE j.shard = s.shard AND state = 5 AND held = 0 AND result IS NULL)",
    ),
    (
        "a count of relays in the outbox",
        "SELECT s.shard FROM queue_shards s WHERE n_outbox <> (SELECT count(*) \
        FROM queue_jobs j WHERE j.shard = s.shard AND parked = 'outbox')",
    ),
    (
        "a relay in the outbox",
        "SELECT n FROM queue_outbox o WHERE NOT EXISTS (SELECT 1 FROM queue_jobs j \
        WHERE j.n = o.n AND j.shard = o.shard AND j.seq = o.seq AND parked = 'outbox')",
    ),
    (
        "a missing relay in the outbox",
        "SELECT n FROM queue_jobs WHERE parked = 'outbox' AND n NOT IN (SELECT n FROM queue_outbox)",
    ),
    (
        "a count of ends to follow",
        "SELECT s.shard FROM queue_shards s WHERE n_follow <> (SELECT count(*) \
        FROM queue_follow f WHERE f.shard = s.shard)",
    ),
    (
        "a flag of controls",
        "SELECT s.shard FROM queue_shards s WHERE controlled <> (SELECT count(*) \
        FROM queue_controls c WHERE c.shard = s.shard)",
    ),
    (
        "when a schedule is first due",
        "SELECT s.shard FROM queue_shards s WHERE ticks_at IS NOT (SELECT min(due) FROM queue_schedules t \
        WHERE t.shard = s.shard)",
    ),
    (
        "a schedule",
        "SELECT t.shard FROM queue_schedules t LEFT JOIN queue_shards s USING (shard) \
        WHERE s.scheduled IS NOT 1 OR t.version > s.fence",
    ),
    ("a parked job", "SELECT n FROM queue_jobs WHERE parked IS NOT NULL AND (state <> 2 OR more IS NULL)"),
    ("a worker", "SELECT n FROM queue_jobs WHERE state < 5 AND (state = 3) <> (worker IS NOT NULL)"),
    ("a hold", "SELECT n FROM queue_jobs WHERE held <> EXISTS (SELECT 1 FROM queue_edges WHERE parent = n)"),
    (
        "an edge",
        "SELECT child FROM queue_edges e LEFT JOIN queue_jobs p ON p.n = parent LEFT JOIN queue_jobs c ON c.n = child \
        WHERE p.n IS NULL OR c.n IS NULL OR p.shard <> c.shard OR c.waits_for IS NULL OR instr(c.waits_for, p.id) = 0 \
        OR (SELECT count(*) FROM queue_edges o WHERE o.child = e.child AND o.parent = e.parent) > 1",
    ),
    (
        "an edge that is not struck",
        "SELECT child FROM queue_edges JOIN queue_jobs c ON c.n = child JOIN queue_jobs p ON p.n = parent \
        WHERE struck = 0 AND (c.state <> 0 OR p.state >= 5 AND parent NOT IN (SELECT parent FROM queue_follow))",
    ),
    (
        "an edge that is needed",
        "SELECT child FROM queue_edges JOIN queue_jobs c ON c.n = child WHERE struck = 1 \
        AND NOT (c.state < 5 OR c.state = 5 AND c.more IS NOT NULL)",
    ),
    (
        "an edge that is kept",
        "SELECT child FROM queue_edges JOIN queue_jobs c ON c.n = child WHERE struck = 2 \
        AND NOT (c.state IN (7, 8) OR c.state = 6 AND c.reason <> 'not_needed')",
    ),
    (
        "a job that waits for nobody",
        "SELECT n FROM queue_jobs WHERE state = 0 AND waits_for IS NOT NULL \
        AND n NOT IN (SELECT child FROM queue_edges WHERE struck = 0)",
    ),
    (
        "a dead letter that is held",
        "SELECT n FROM queue_jobs WHERE state = 8 AND held = 1 AND n NOT IN (SELECT parent FROM queue_follow)",
    ),
    ("a run", "SELECT job FROM queue_runs WHERE job NOT IN (SELECT n FROM queue_jobs WHERE more IS NOT NULL)"),
    ("an envelope", "SELECT n FROM queue_envelopes WHERE n NOT IN (SELECT n FROM queue_jobs WHERE envelope IS NULL)"),
    (
        "a missing envelope",
        "SELECT n FROM queue_jobs WHERE envelope IS NULL AND n NOT IN (SELECT n FROM queue_envelopes)",
    ),
];

/// The kinds of what few jobs have: see `more.rs`.
const EXPIRES: u8 = 4;
const EXPIRES_AT: u8 = 5;
const DEADLINE: u8 = 6;
const DEADLINE_AT: u8 = 7;
const PARKED_AT: u8 = 8;
const RUNS: u8 = 12;
const CANCEL_KEEP: u8 = 13;

/// What the column `more` of a job says, each by its kind.
fn fields(column: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let (mut fields, mut rest) = (BTreeMap::new(), column.get(1..).unwrap_or_default());
    while let [kind, behind @ ..] = rest {
        let digits = behind.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let length = behind[..digits].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let (value, tail) = behind[digits..].split_at(length);
        assert!(fields.insert(*kind, value.to_vec()).is_none());
        rest = tail;
    }
    fields
}

/// What the column says, compared with what is kept beside the jobs for it.
fn check_more(conn: &Connection, place: &str) {
    let read = |sql| {
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]));
        rows.unwrap().map(Result::unwrap).collect::<BTreeSet<[i64; 4]>>()
    };
    let (mut watched, mut counts) = (BTreeSet::new(), BTreeMap::<i64, [i64; 2]>::new());
    let sql = "SELECT n, shard, state, started_at, parked, more, coalesce((SELECT max(run) FROM queue_runs WHERE job = n), 0) \
        FROM queue_jobs";
    let mut statement = conn.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (n, shard, state) = (row.get(0).unwrap(), row.get(1).unwrap(), row.get::<_, i64>(2).unwrap());
        let (started, parked): (Option<i64>, Option<String>) = (row.get(3).unwrap(), row.get(4).unwrap());
        let has = fields(&row.get::<_, Option<Vec<u8>>>(5).unwrap().unwrap_or_default());
        let number = |kind| has.get(&kind).map(|value| i64::from_be_bytes(value.as_slice().try_into().unwrap()));
        assert_eq!(parked.is_some(), has.contains_key(&PARKED_AT), "the moment {n} was parked at in {place}");
        assert!(row.get::<_, i64>(6).unwrap() <= number(RUNS).unwrap_or(0), "the runs of {n} in {place}");
        let [limited, stopping] = counts.entry(shard).or_default();
        *limited += i64::from(state < 5 && (has.contains_key(&EXPIRES) || has.contains_key(&DEADLINE)));
        *stopping += i64::from(state == 3 && has.contains_key(&CANCEL_KEEP));
        let expires = number(EXPIRES_AT).filter(|_| started.is_none());
        let overdue = expires.into_iter().chain(number(DEADLINE_AT)).min();
        watched.extend(overdue.filter(|_| state < 5 && state != 3).map(|at| [shard, 0, at, n]));
        let unknown = number(PARKED_AT).filter(|_| parked.as_deref() == Some("unknown_task"));
        watched.extend(unknown.map(|at| [shard, 1, at, n]));
    }
    assert_eq!(watched, read("SELECT shard, kind, at, n FROM queue_watch"), "what is watched in {place}");
    for [shard, limited, stopping, _] in read("SELECT shard, n_limited, n_stopping, 0 FROM queue_shards") {
        let counted = counts.remove(&shard).unwrap_or_default();
        assert_eq!([limited, stopping], counted, "the limited and the stopping of shard {shard} in {place}");
    }
}

/// Checks a file that nobody writes to.
pub(crate) fn check(path: &Path) {
    let conn = Connection::open(path).unwrap();
    for (what, sql) in WRONG {
        let mut statement = conn.prepare(sql).unwrap();
        let found: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, [0_i64; 0], "{what} is wrong in {}", path.display());
    }
    check_more(&conn, &path.display().to_string());
}
