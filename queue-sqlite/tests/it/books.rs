//! What a file keeps beside its jobs agrees with them, whatever has happened.

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
        OR parked_for IS NOT NULL AND keys IS NULL",
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
        "a count of time limits",
        "SELECT s.shard FROM queue_shards s WHERE n_limited <> (SELECT count(*) FROM queue_jobs j \
        WHERE j.shard = s.shard AND state < 5 AND limits IS NOT NULL)",
    ),
    (
        "a count of runs to stop",
        "SELECT s.shard FROM queue_shards s WHERE n_stopping <> (SELECT count(*) \
        FROM queue_jobs j WHERE j.shard = s.shard AND state = 3 AND cancel_keep IS NOT NULL)",
    ),
    (
        "a count of traces",
        "SELECT s.shard FROM queue_shards s WHERE n_traces <> (SELECT count(*) FROM queue_jobs j \
        WHERE j.shard = s.shard AND state = 5 AND held = 0 AND result IS NULL)",
    ),
    (
        "a count of dead letters",
        "SELECT s.shard FROM queue_shards s WHERE n_letters <> (SELECT count(*) \
        FROM queue_jobs j WHERE j.shard = s.shard AND state = 8 AND held = 0)",
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
        "an overdue moment",
        "SELECT n FROM queue_jobs WHERE (state IN (0, 1, 2, 4)) <> (overdue_at IS NOT NULL) \
        AND (overdue_at IS NOT NULL OR deadline_at IS NOT NULL)",
    ),
    (
        "a parked job",
        "SELECT n FROM queue_jobs WHERE (parked IS NULL) <> (parked_at IS NULL) \
        OR parked IS NOT NULL AND state <> 2",
    ),
    ("a worker", "SELECT n FROM queue_jobs WHERE state < 5 AND (state = 3) <> (worker IS NOT NULL)"),
    ("a hold", "SELECT n FROM queue_jobs WHERE held <> EXISTS (SELECT 1 FROM queue_edges WHERE parent = n)"),
    (
        "an edge",
        "SELECT child FROM queue_edges WHERE parent NOT IN (SELECT n FROM queue_jobs) \
        OR child NOT IN (SELECT n FROM queue_jobs WHERE state < 5)",
    ),
    ("a run", "SELECT job FROM queue_runs r WHERE run > coalesce((SELECT runs FROM queue_jobs WHERE n = r.job), 0)"),
    ("an envelope", "SELECT n FROM queue_envelopes WHERE n NOT IN (SELECT n FROM queue_jobs WHERE envelope IS NULL)"),
    (
        "a missing envelope",
        "SELECT n FROM queue_jobs WHERE envelope IS NULL AND n NOT IN (SELECT n FROM queue_envelopes)",
    ),
];

/// Checks a file that nobody writes to.
pub(crate) fn check(path: &Path) {
    let conn = Connection::open(path).unwrap();
    for (what, sql) in WRONG {
        let mut statement = conn.prepare(sql).unwrap();
        let found: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, [0_i64; 0], "{what} is wrong in {}", path.display());
    }
}
