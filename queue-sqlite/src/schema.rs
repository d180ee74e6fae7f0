//! The layout of the file: created, migrated, or refused.

use queue_storage::storage::StorageError;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, Place, Result};

/// Every step from an empty file to today's layout. A released step is never edited: changes are a step of their own.
pub(crate) const MIGRATIONS: &[&str] = &[include_str!("migrations/001_start.sql")];

/// Tables that stand beside the layout, see there.
const BESIDE: &str = include_str!("migrations/beside.sql");

/// "Qjob": what `file` and other tools can tell the file by. Set only where the file holds nothing else.
const APPLICATION_ID: i32 = 0x516a_6f62;

/// Brings the file to the layout of `steps`, in one transaction.
///
/// A file of a newer layout is refused and left untouched; one of today's is only read.
pub(crate) fn migrate(conn: &mut Connection, steps: &[&str], place: &Place) -> Result<()> {
    if check(version(conn)?, steps, place)? {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have migrated it while this one waited for the lock.
    let from = version(&tx)?;
    if check(from, steps, place)? {
        return Ok(());
    }
    if from == 0 {
        let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        tx.execute_batch("CREATE TABLE queue_layout (version INTEGER PRIMARY KEY) STRICT")?;
    }
    for (version, step) in (1_u32..).zip(steps).skip(from as usize) {
        tx.execute_batch(step)?;
        tx.execute("INSERT INTO queue_layout (version) VALUES (?1)", [version])?;
    }
    tx.commit()?;
    Ok(())
}

/// Adds what stands beside the layout, where it is not there yet.
pub(crate) fn complete(conn: &mut Connection) -> Result<()> {
    if !has(conn, "queue_news")? {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(BESIDE)?;
        tx.commit()?;
    }
    Ok(())
}

fn has(conn: &Connection, table: &str) -> Result<bool> {
    Ok(conn.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?.exists([table])?)
}

/// Whether the file has the layout this program writes.
pub(crate) fn is_current(conn: &Connection, place: &Place) -> Result<bool> {
    check(version(conn)?, MIGRATIONS, place)
}

/// Whether nothing is to be done.
fn check(found: u32, steps: &[&str], place: &Place) -> Result<bool> {
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    if found <= known {
        return Ok(found == known);
    }
    Err(Error::Refused(StorageError::incompatible(format!(
        "{} has layout {found}, written by a newer version of this library; this program knows layouts up to {known}: \
         upgrade it (the file was not changed)",
        place.location()
    ))))
}

/// The layout of the file; 0 for one without any.
fn version(conn: &Connection) -> Result<u32> {
    if !has(conn, "queue_layout")? {
        return Ok(0);
    }
    Ok(conn.query_row("SELECT coalesce(max(version), 0) FROM queue_layout", [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{edges, inputs, maintain, paid, parcels, parking, rates, slots, tx, unique, watch};
    use crate::{leases, lines, list, news, schedules};

    fn place() -> Place {
        Place::new("test.db".into())
    }

    fn migrated(steps: &[&str]) -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, steps, &place()).unwrap();
        conn
    }

    #[test]
    fn an_older_file_is_migrated_in_one_transaction() {
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (y); INSERT INTO a VALUES (1)", "CREATE TABLE c (z)"];
        let mut conn = migrated(&steps[..1]);
        let broken = ["", "CREATE TABLE b (y)", "no SQL"];
        assert!(migrate(&mut conn, &broken, &place()).is_err());
        assert_eq!(version(&conn).unwrap(), 1);
        assert!(conn.prepare("SELECT * FROM b").is_err(), "half a migration was kept");
        for _ in 0..2 {
            migrate(&mut conn, &steps, &place()).unwrap();
            assert_eq!(version(&conn).unwrap(), 3);
            assert_eq!(conn.query_row("SELECT count(*) FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        }
        let error = migrate(&mut conn, &steps[..2], &place()).unwrap_err().at(&place());
        assert!(error.is_incompatible() && error.to_string().contains("layout 3"), "{error}");
    }

    #[test]
    fn a_file_of_our_own_is_marked() {
        let conn = migrated(MIGRATIONS);
        assert_eq!(
            conn.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0)).unwrap(),
            APPLICATION_ID
        );
    }

    /// What every exchange runs finds its rows by one range of one index: nothing grows with the backlog, nothing sorts.
    #[test]
    fn hot_statements_stay_on_their_index() {
        let conn = migrated(MIGRATIONS);
        let plans = [
            (lines::READY, "queue_ready (shard=? AND (rank,seq)>(?,?))"),
            (lines::SUSPECTS, "queue_suspects (shard=? AND (rank,seq)>(?,?))"),
            (lines::PARKED, "queue_parked (shard=? AND suspect=? AND task=? AND needs=? AND (rank,seq)>(?,?))"),
            (lines::PARKED_LEVELS, "queue_parked (shard=? AND suspect=? AND task=? AND needs>? AND needs<?)"),
            (maintain::DUE, "queue_due (shard=? AND due_at<?)"),
            (leases::ENDED, "queue_leases (shard=? AND lease_until<?)"),
            (leases::OVER, "queue_leases (shard=? AND lease_until<?)"),
            (leases::NEXT_END, "queue_leases (shard=? AND lease_until>?)"),
            (tx::NEXT_DUE, "queue_due (shard=?)"),
            (maintain::KEPT, "queue_kept (shard=? AND keep_until<?)"),
            (maintain::TRACES, "queue_traces (shard=?)"),
            (maintain::LETTERS, "queue_letters (shard=?)"),
            (list::DEAD, "queue_letters (shard=? AND ended_at<?)"),
            (list::WALK, "INTEGER PRIMARY KEY (rowid>?)"),
            (inputs::INPUT, "queue_jobs_by_id (shard=? AND id=?)"),
            (crate::settle::HELD, "queue_jobs_by_id (shard=? AND id=?)"),
        ];
        for (sql, index) in plans {
            let plan = plan(&conn, sql);
            assert!(plan[0].starts_with("SEARCH queue_jobs USING ") && plan[0].ends_with(index), "{sql}: {plan:?}");
            // Beside it only what a found row brings along: its worker's id, its large envelope.
            let beside = [
                "CORRELATED SCALAR SUBQUERY",
                "SEARCH w USING INTEGER PRIMARY KEY",
                "SEARCH e USING INTEGER PRIMARY KEY",
            ];
            assert!(plan[1..].iter().all(|line| beside.iter().any(|known| line.starts_with(known))), "{sql}: {plan:?}");
        }
    }

    /// The same of what is asked about moments and keys, in tables of their own.
    #[test]
    fn statements_about_moments_and_keys_stay_on_their_index() {
        let conn = migrated(MIGRATIONS);
        let parked = "SEARCH queue_jobs USING INDEX queue_blocked (shard=? AND parked_for=? AND parked=?)";
        let counted = "SEARCH queue_jobs USING COVERING INDEX queue_blocked (shard=? AND parked_for=? AND parked=?)";
        let plans = [
            (watch::REACHED, vec!["SEARCH queue_watch USING PRIMARY KEY (shard=? AND kind=? AND at<?)"]),
            (watch::NEXT, vec!["SEARCH queue_watch USING PRIMARY KEY (shard=? AND kind=?)"]),
            (slots::NEXT, vec![parked]),
            (rates::NEXT, vec![parked]),
            (parking::BLOCKED, vec![counted]),
            (parking::THROTTLED, vec![counted]),
            (slots::HOLDERS, vec!["SEARCH queue_slots USING PRIMARY KEY (shard=? AND key=?)"]),
            (paid::PAID, vec!["SEARCH queue_rates USING PRIMARY KEY (shard=? AND key=?)"]),
            (tx::NEXT_WINDOW, vec!["SEARCH queue_windows USING COVERING INDEX queue_windows_by_opening (shard=?)"]),
            (parcels::FIRST, vec!["SEARCH queue_outbox USING PRIMARY KEY (shard=?)"]),
            (edges::NEEDED, vec!["SEARCH queue_edges USING PRIMARY KEY (parent=? AND struck<?)"]),
            (edges::OPEN, vec!["SEARCH queue_edges USING PRIMARY KEY (parent=? AND struck=?)"]),
            (edges::WAITS, vec!["SEARCH queue_edges USING COVERING INDEX queue_edges_by_child (child=? AND struck=?)"]),
            (unique::OWNER, vec!["SEARCH queue_unique USING PRIMARY KEY (shard=? AND key=?)"]),
            (
                paid::FORGET,
                vec![
                    "SEARCH queue_rates USING PRIMARY KEY (shard=? AND key=?)",
                    "LIST SUBQUERY 1",
                    "SEARCH queue_rates USING COVERING INDEX queue_rates_by_payment (shard=? AND paid_at<?)",
                ],
            ),
            (
                unique::FORGET,
                vec![
                    "SEARCH queue_unique USING PRIMARY KEY (shard=? AND key=?)",
                    "LIST SUBQUERY 1",
                    "SEARCH queue_unique USING COVERING INDEX queue_unique_by_end (shard=? AND until<?)",
                ],
            ),
        ];
        for (sql, expected) in plans {
            assert_eq!(plan(&conn, sql), expected, "{sql}");
        }
    }

    /// And of what is asked about news.
    #[test]
    fn statements_about_news_go_by_their_number() {
        let mut conn = migrated(MIGRATIONS);
        complete(&mut conn).unwrap();
        for (sql, expected) in [
            (news::UNHEARD, "SEARCH queue_news USING INTEGER PRIMARY KEY (rowid>?)"),
            (news::EXCESS, "SEARCH queue_news USING INTEGER PRIMARY KEY (rowid<?)"),
            (news::FIRST, "SCAN queue_news"),
        ] {
            assert_eq!(plan(&conn, sql), [expected], "{sql}");
        }
    }

    /// And of what is asked about schedules.
    #[test]
    fn statements_about_schedules_stay_on_their_index() {
        let conn = migrated(MIGRATIONS);
        let covered = "SEARCH queue_schedules USING COVERING INDEX queue_ticks";
        let named = "SEARCH queue_schedules USING INDEX sqlite_autoindex_queue_schedules_1";
        let plans = [
            (schedules::FIRST, format!("{covered} (shard=? AND due>?)")),
            (schedules::NEXT, format!("{covered} (shard=? AND due>?)")),
            (schedules::DUE, "SEARCH queue_schedules USING INDEX queue_ticks (shard=? AND due<?)".to_owned()),
            (schedules::VERSION, format!("{named} (shard=? AND name=?)")),
            (schedules::NAMED, format!("{named} (shard=? AND name=?)")),
            (schedules::WALK, format!("{named} (shard=? AND name>?)")),
        ];
        for (sql, expected) in plans {
            assert_eq!(plan(&conn, sql), [expected], "{sql}");
        }
    }

    fn plan(conn: &Connection, sql: &str) -> Vec<String> {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nulls = vec![rusqlite::types::Null; statement.parameter_count()];
        statement.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3)).unwrap().map(Result::unwrap).collect()
    }
}
