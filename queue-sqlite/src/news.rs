//! News: who watches, in rows that end by themselves, and what is told them across processes, in rows that soon go.
//!
//! Watches end by the machine's clock, whatever clock the storage was given: all who use a file share the machine, and a
//! clock that is moved ends nobody's watch. While nobody watches, nothing is written and nothing looked for; a group of
//! operations asks for `PRAGMA data_version`, and who watches is read only when another connection has committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use queue_storage::clock::{Clock, SystemClock};
use queue_storage::model::{CallerId, Timestamp};
use queue_storage::storage::{Heard, Hub, Watch};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::ear::data_version;
use crate::error::{Error, Result};
use crate::job::tx::Tx;

/// How long a watch lasts that nobody renews: what is left of a process that was killed.
const LASTS: Duration = Duration::from_secs(20);
/// A watch is renewed when it is this old.
const RENEW_AFTER: Duration = Duration::from_secs(5);
/// News that are older are removed; whoever watches looks for them many times a second.
const KEEP: Duration = Duration::from_secs(60);
/// The most rows of news that are kept.
const KEEP_MOST: i64 = 1_024;
/// How many old rows are removed at a time.
const REMOVE: u32 = 100;

const LAST_END: &str = "SELECT max(until) FROM queue_watchers WHERE namespace = ?1 AND teller <> ?2 AND until <= ?3";
pub(crate) const UNHEARD: &str =
    "SELECT n, CASE WHEN namespace = ?2 AND teller <> ?3 THEN news END FROM queue_news WHERE n > ?1 ORDER BY n";
pub(crate) const FIRST: &str = "SELECT at FROM queue_news ORDER BY n LIMIT 1";
pub(crate) const EXCESS: &str = "DELETE FROM queue_news WHERE n <= ?1";

/// Whoever announces in this process.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    hub: Hub,
    id: [u8; 16],
    /// Whether others watch: asked under the write lock at the start of each group of operations.
    elsewhere: Arc<AtomicBool>,
}

impl Teller {
    pub(crate) fn new(hub: Hub) -> Self {
        let id = CallerId::generate().as_u128().to_be_bytes();
        Self { hub, id, elsewhere: Arc::default() }
    }

    /// Whether anyone watched, here now or elsewhere when this process last wrote.
    pub(crate) fn is_watched(&self) -> bool {
        self.hub.is_watched() || self.elsewhere.load(Ordering::Relaxed)
    }

    /// Writes news down for those who watch elsewhere, and notes them for those here.
    pub(crate) fn announce(&self, tx: &mut Tx<'_>, news: Bytes) -> Result<()> {
        if self.elsewhere.load(Ordering::Relaxed) {
            tx.conn
                .prepare_cached("INSERT INTO queue_news (namespace, at, teller, news) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![tx.namespace, SystemClock.now().as_micros(), self.id, &news[..]])?;
            tx.conn.prepare_cached(EXCESS)?.execute([tx.conn.last_insert_rowid() - KEEP_MOST])?;
            forget(tx.conn)?;
        }
        if self.hub.is_watched() {
            tx.hints.announced.push(news);
        }
        Ok(())
    }
}

/// Removes some of the news that are old, if any are.
pub(crate) fn forget(conn: &Connection) -> Result<()> {
    let before = (SystemClock.now() - KEEP).as_micros();
    let first = conn.prepare_cached(FIRST)?.query_row([], |row| row.get::<_, i64>(0)).optional()?;
    if first.is_some_and(|at| at <= before) {
        conn.prepare_cached(
            "DELETE FROM queue_news WHERE n IN \
             (SELECT n FROM (SELECT n, at FROM queue_news ORDER BY n LIMIT ?2) WHERE at <= ?1)",
        )?
        .execute(params![before, REMOVE])?;
    }
    Ok(())
}

/// What the writer knows of watches.
#[derive(Debug)]
pub(crate) struct Watches {
    teller: Teller,
    /// What `data_version` was when it was read who else watches.
    asked: Option<i64>,
    /// The last end of a watch elsewhere.
    others: Option<Timestamp>,
    /// The end of the watch of this process as others read it, if anyone here watches.
    own: Option<Timestamp>,
    /// What `data_version` was when news were last read.
    looked: Option<i64>,
    /// The last news that were read.
    heard: i64,
}

impl Watches {
    pub(crate) fn new(teller: Teller) -> Self {
        Self { teller, asked: None, others: None, own: None, looked: None, heard: 0 }
    }

    /// Whether nobody in this process watches, and nobody elsewhere believes so.
    pub(crate) fn is_idle(&self) -> bool {
        self.own.is_none()
    }

    /// Asks whether others watch; under the write lock, so that no watch comes between this and what is committed.
    pub(crate) fn ask(&mut self, conn: &Connection, namespace: &str) -> Result<()> {
        let version = Some(data_version(conn)?);
        if version == self.asked && self.others.is_none() {
            return Ok(());
        }
        let now = SystemClock.now();
        if version != self.asked {
            let values = params![namespace, self.teller.id, (now + LASTS).as_micros()];
            let until: Option<i64> = conn.prepare_cached(LAST_END)?.query_row(values, |row| row.get(0))?;
            (self.others, self.asked) = (until.map(Timestamp::from_micros), version);
        }
        self.others = self.others.filter(|until| lasts(*until, now));
        self.teller.elsewhere.store(self.others.is_some(), Ordering::Relaxed);
        Ok(())
    }

    /// Makes known that someone here watches. The watch itself is begun once that is committed.
    pub(crate) fn enter(&mut self, conn: &Connection, namespace: &str) -> Result<()> {
        let now = SystemClock.now();
        let until = now + LASTS;
        let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
        // Those that have ended, or have their end too far ahead since the clock was set back.
        tx.prepare_cached("DELETE FROM queue_watchers WHERE until <= ?1 OR until > ?2")?
            .execute([now.as_micros(), until.as_micros()])?;
        tx.prepare_cached(
            "INSERT INTO queue_watchers (teller, namespace, until) VALUES (?1, ?2, ?3) \
             ON CONFLICT (teller) DO UPDATE SET until = ?3",
        )?
        .execute(params![self.teller.id, namespace, until.as_micros()])?;
        let last = last(&tx)?;
        tx.commit()?;
        if !self.teller.hub.is_watched() {
            self.heard = last;
        }
        self.own = Some(until);
        Ok(())
    }

    /// A watch on what is announced from now on.
    pub(crate) fn watch(&mut self, conn: &Connection, namespace: &str) -> Result<Watch> {
        // What came before is for those who watch already.
        self.look(conn, namespace)?;
        Ok(self.teller.hub.watch()?)
    }

    /// Renews the watch of this process, or ends it when nobody here watches any more.
    pub(crate) fn tend(&mut self, conn: &Connection, namespace: &str) -> Result<()> {
        let Some(until) = self.own else { return Ok(()) };
        if !self.teller.hub.is_watched() {
            return self.leave(conn);
        }
        let now = SystemClock.now();
        let lasted = lasts(until, now);
        if lasted && until - now > LASTS - RENEW_AFTER {
            return Ok(());
        }
        self.enter(conn, namespace)?;
        if !lasted {
            // This process stood still, or the clock was set: others took nobody to watch here.
            self.teller.hub.announce(Heard::Missed);
        }
        Ok(())
    }

    /// Ends the watch of this process.
    pub(crate) fn leave(&mut self, conn: &Connection) -> Result<()> {
        if self.own.is_some() {
            conn.prepare_cached("DELETE FROM queue_watchers WHERE teller = ?1")?.execute([self.teller.id])?;
            self.own = None;
        }
        Ok(())
    }

    /// Tells those who watch here what others announced since the last look.
    pub(crate) fn look(&mut self, conn: &Connection, namespace: &str) -> Result<()> {
        if self.own.is_none() || !self.teller.hub.is_watched() {
            return Ok(());
        }
        let version = Some(data_version(conn)?);
        if version != self.looked {
            self.hear(conn, namespace)?;
            self.looked = version;
        }
        Ok(())
    }

    fn hear(&mut self, conn: &Connection, namespace: &str) -> Result<()> {
        let last = last(conn)?;
        if last == self.heard {
            return Ok(());
        }
        let hub = &self.teller.hub;
        let mut statement = conn.prepare_cached(UNHEARD)?;
        let mut rows = statement.query(params![self.heard, namespace, self.teller.id])?;
        while let Some(row) = rows.next()? {
            let (n, news) = (row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?);
            if n > self.heard + 1 {
                hub.announce(Heard::Missed);
            }
            if let Some(news) = news {
                hub.announce(Heard::News(news.into()));
            }
            self.heard = n;
        }
        if self.heard < last {
            hub.announce(Heard::Missed);
            self.heard = last;
        }
        Ok(())
    }
}

/// Whether a watch with this end goes on. One that ends later than any may was begun before the clock was set back.
fn lasts(until: Timestamp, now: Timestamp) -> bool {
    now < until && until <= now + LASTS
}

/// The number of the last news, kept or not.
fn last(conn: &Connection) -> Result<i64> {
    let mut statement = conn.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'queue_news'")?;
    statement.query_row([], |row| row.get(0)).optional().map(Option::unwrap_or_default).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::Desk;

    const NAMESPACE: &str = "queue";

    fn watches() -> (Hub, Watches) {
        let hub = Hub::default();
        (hub.clone(), Watches::new(Teller::new(hub)))
    }

    /// Writes news down as another process does.
    fn told(conn: &Connection, namespace: &str, news: &str) {
        let sql = "INSERT INTO queue_news (namespace, at, teller, news) VALUES (?1, 0, x'00', CAST (?2 AS BLOB))";
        conn.execute(sql, [namespace, news]).unwrap();
    }

    async fn next(watch: &mut Watch) -> Heard {
        tokio::time::timeout(KEEP, watch.next()).await.expect("nothing came").unwrap()
    }

    fn news(text: &'static str) -> Heard {
        Heard::News(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn who_looks_too_late_is_told_so() {
        let (desk, (_hub, mut watches)) = (Desk::new(), watches());
        let conn = &desk.conn;
        told(conn, NAMESPACE, "before");
        watches.enter(conn, NAMESPACE).unwrap();
        let mut watch = watches.watch(conn, NAMESPACE).unwrap();
        told(conn, NAMESPACE, "one");
        told(conn, "neighbour", "next door");
        told(conn, NAMESPACE, "two");
        watches.hear(conn, NAMESPACE).unwrap();
        assert_eq!([next(&mut watch).await, next(&mut watch).await], [news("one"), news("two")]);
        for text in ["three", "four"] {
            told(conn, NAMESPACE, text);
        }
        conn.execute_batch("DELETE FROM queue_news WHERE n < 6").unwrap();
        watches.hear(conn, NAMESPACE).unwrap();
        assert_eq!([next(&mut watch).await, next(&mut watch).await], [Heard::Missed, news("four")]);
        told(conn, NAMESPACE, "five");
        conn.execute_batch("DELETE FROM queue_news").unwrap();
        watches.hear(conn, NAMESPACE).unwrap();
        told(conn, NAMESPACE, "six");
        watches.hear(conn, NAMESPACE).unwrap();
        assert_eq!([next(&mut watch).await, next(&mut watch).await], [Heard::Missed, news("six")]);
    }

    #[tokio::test]
    async fn a_watch_is_renewed_in_time_or_told_that_it_was_not() {
        let (desk, (hub, mut watches)) = (Desk::new(), watches());
        let conn = &desk.conn;
        let until = || -> Option<i64> {
            conn.query_row("SELECT until FROM queue_watchers", [], |row| row.get(0)).optional().unwrap()
        };
        watches.enter(conn, NAMESPACE).unwrap();
        let mut watch = watches.watch(conn, NAMESPACE).unwrap();
        let first = until();
        watches.tend(conn, NAMESPACE).unwrap();
        assert_eq!(until(), first, "renewed at once");
        // It is older than it was; then it has ended; then its end is too far ahead.
        let ends = [LASTS - RENEW_AFTER, Duration::ZERO, LASTS * 2];
        for (end, missed) in ends.into_iter().zip([false, true, true]) {
            conn.execute_batch("DELETE FROM queue_watchers").unwrap();
            watches.own = Some(SystemClock.now() + end);
            watches.tend(conn, NAMESPACE).unwrap();
            assert!(until() >= first && watches.own.map(Timestamp::as_micros) == until(), "not renewed");
            hub.announce(news("after"));
            if missed {
                assert_eq!(next(&mut watch).await, Heard::Missed);
            }
            assert_eq!(next(&mut watch).await, news("after"));
        }
        drop(watch);
        watches.tend(conn, NAMESPACE).unwrap();
        assert_eq!((until(), watches.is_idle()), (None, true));
    }

    /// What a group of operations pays while nobody watches, however many have announced and watched before.
    #[test]
    fn nobody_costs_next_to_nothing() {
        let (mut desk, (_hub, mut watches)) = (Desk::new(), watches());
        for _ in 0..1_000 {
            told(&desk.conn, NAMESPACE, "old");
        }
        watches.ask(&desk.conn, NAMESPACE).unwrap();
        let ((), steps) = desk.steps(|desk| watches.ask(&desk.conn, NAMESPACE).unwrap());
        assert!(steps <= 8, "{steps} steps to ask");
        watches.asked = None;
        let ((), steps) = desk.steps(|desk| watches.ask(&desk.conn, NAMESPACE).unwrap());
        assert!(steps <= 32, "{steps} steps to ask after another's commit");
    }
}
