//! The queue's storage in one SQLite file: WAL, one writer with group commit, readers beside it.
//!
//! Several processes may use one file, and several [`SqliteStorage`]s in one process too. An answered call survives the
//! death of any process at any instant; with [`Synchronous::Full`] a power cut as well.
//!
//! * `options` says where the file is; `connect` and `schema` open, create and migrate it; `identity` tells whether it still
//!   stands there.
//! * `lane` leads from any runtime to the two threads: `writer`, which groups what is queued into one transaction, and
//!   `reader`.
//! * `roles` and `notify` are the roles of the contract: each call is sent down a lane, to `enqueue`, `claim`, `renew`,
//!   `operate`, `list`, `control`, `schedules` or into `job`. Below `claim` stand `settle`, `leases`, `take` with `lines`, `last`, and
//!   `room`, the limits of a whole shard.
//! * `job` is all about a job's row, in floors of its own: at the bottom what stands in columns (`cells`, `keys`, `more`,
//!   `node`, `watch`), a call under way (`tx`), then the row as a whole (`row`, `write`), what is handed on to it (`inputs`),
//!   what holds it back (`parking`, `rates`, `slots`, `unique`, joined in `limits`), who waits for it (`edges`) and what
//!   comes of that (`fate`), the outbox (`parcels`), `shift`, the rare moves, and on top what moves it: `follow`, `ends`,
//!   `edit`, `maintain`, `rearm`, `act`, `deliver`.
//! * `ear` hears what other processes commit; `news` is what they announce, and who watches.
//! * Below all of them is `ledger`, a shard's row.

#[cfg(test)]
mod bounds;
mod claim;
mod connect;
mod control;
#[cfg(test)]
mod crowds;
mod ear;
mod enqueue;
mod error;
#[cfg(test)]
mod flows;
mod identity;
mod job;
mod lane;
mod last;
mod leases;
mod ledger;
mod lines;
mod list;
mod news;
mod notify;
mod operate;
mod options;
mod reader;
mod renew;
mod roles;
mod room;
mod schedules;
mod schema;
mod settle;
mod take;
#[cfg(test)]
mod ticks;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use queue_storage::clock::Clock;
use queue_storage::model::{Namespace, NewJob, Shard};
use queue_storage::storage::{Admission, Hub, StorageError, check_jobs};
use rusqlite::Transaction;

use error::{Place, Result};
use identity::Identity;
use job::tx::Tx;
use job::workers::Workers;
use lane::Lane;

pub use options::{SqliteOptions, Synchronous};
pub use rusqlite;

/// A storage in one SQLite file.
///
/// ```
/// use queue_sqlite::SqliteStorage;
/// use queue_storage::storage::Storage;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("jobs.db");
/// let storage = SqliteStorage::open(&path).await?;
/// assert_eq!(storage.location(), format!("sqlite://{}", path.display()));
/// storage.close().await;
/// # Ok(()) }
/// ```
pub struct SqliteStorage {
    place: Place,
    identity: Arc<Identity>,
    namespace: Namespace,
    clock: Arc<dyn Clock>,
    hub: Hub,
    interests: ear::Interests,
    teller: news::Teller,
    writer: Lane<writer::Message>,
    reader: Lane<reader::Message>,
}

impl SqliteStorage {
    /// Opens the file at `path` with the usual [options](SqliteOptions), creating it if need be.
    ///
    /// # Errors
    /// See [`SqliteOptions::open`].
    ///
    /// # Cancel safety
    /// Dropping the future lets go of the file again.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StorageError> {
        SqliteOptions::new(path).open().await
    }

    pub(crate) async fn start(options: SqliteOptions) -> Result<Self, StorageError> {
        let place = Place::new(options.path.clone());
        let (options, identity) = (Arc::new(options), Arc::new(Identity::new(&place)));
        let (hub, interests) = (Hub::default(), ear::Interests::default());
        let teller = news::Teller::new(hub.clone());
        let writer = {
            let (opened, at, served) = (Arc::clone(&options), place.clone(), Arc::clone(&options));
            let (place, ear) = (place.clone(), ear::Ear::new(hub.clone(), interests.clone()));
            let (watches, known) = (news::Watches::new(teller.clone()), Arc::clone(&identity));
            Lane::start(
                "queue-sqlite-writer",
                &place.clone(),
                move || {
                    let conn = connect::writer(&opened, &at).map_err(|error| error.at(&at))?;
                    known.remember();
                    Ok(conn)
                },
                move |conn, track| {
                    let (namespace, clock) = (served.namespace.clone(), Arc::clone(&served.clock));
                    let (workers, busy_timeout) = (Workers::default(), served.busy_timeout);
                    let newcomers = Vec::new();
                    let writer = writer::Writer {
                        conn,
                        namespace,
                        clock,
                        ear,
                        watches,
                        newcomers,
                        place,
                        busy_timeout,
                        workers,
                    };
                    writer.run(&track);
                },
            )
            .await?
        };
        let reader = {
            let (opened, at, served) = (Arc::clone(&options), place.clone(), Arc::clone(&options));
            let place = place.clone();
            Lane::start(
                "queue-sqlite-reader",
                &place.clone(),
                move || connect::reader(&opened, &at).map_err(|error| error.at(&at)),
                move |conn, track| {
                    let (namespace, clock) = (served.namespace.clone(), Arc::clone(&served.clock));
                    reader::Reader { conn, namespace, clock, place, busy_timeout: served.busy_timeout }.run(&track);
                },
            )
            .await?
        };
        let (namespace, clock) = (options.namespace.clone(), Arc::clone(&options.clock));
        Ok(Self { place, identity, namespace, clock, hub, interests, teller, writer, reader })
    }

    /// Takes jobs in within a transaction of the caller's own, on a connection to the same file: they are stored when
    /// it commits, together with whatever else it wrote, and never if it rolls back.
    ///
    /// Begin the transaction as `IMMEDIATE`: SQLite refuses a deferred one that has read before it writes when another
    /// process wrote in between. It is not numbered; a repeat is told from a new job by the job's id. Workers notice the
    /// commit within some 15 ms.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use queue_sqlite::SqliteStorage;
    /// use queue_sqlite::rusqlite::{Connection, TransactionBehavior};
    /// use queue_storage::model::{JobId, NewJob, Shard};
    /// use queue_storage::storage::Operate;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("shop.db");
    /// let storage = SqliteStorage::open(&path).await?;
    /// let mut shop = Connection::open(&path)?;
    /// shop.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY)", [])?;
    ///
    /// let mail = Shard::of("mail".parse()?);
    /// let receipt = NewJob::new(JobId::new(&mail), "send_receipt".parse()?, Bytes::new());
    /// let tx = shop.transaction_with_behavior(TransactionBehavior::Immediate)?;
    /// tx.execute("INSERT INTO orders (number) VALUES (7)", [])?;
    /// storage.enqueue_in(&tx, &mail, vec![receipt])?;
    /// tx.commit()?;
    ///
    /// assert_eq!(storage.counts(&mail).await?.pending(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// *Invalid*: as [`Enqueue::enqueue`](queue_storage::storage::Enqueue::enqueue) says, or the connection is one to
    /// another file. *Unavailable*: SQLite refused, a locked file among the reasons. In each case the transaction is as it
    /// was before.
    pub fn enqueue_in(
        &self,
        transaction: &Transaction<'_>,
        shard: &Shard,
        jobs: Vec<NewJob>,
    ) -> Result<Vec<Admission>, StorageError> {
        check_jobs(&jobs, shard)?;
        self.same_file(transaction)?;
        let done = self.enqueue_under(transaction, shard, jobs);
        done.map_err(|error| error.at(&self.place))
    }

    fn enqueue_under(&self, conn: &Transaction<'_>, shard: &Shard, jobs: Vec<NewJob>) -> Result<Vec<Admission>> {
        conn.execute_batch("SAVEPOINT queue_enqueue")?;
        let done = (|| {
            // Writes nothing, but takes the lock under which the time is read.
            conn.execute("UPDATE queue_layout SET version = version WHERE version < 0", [])?;
            let mut tx = Tx::new(conn, self.namespace.as_str(), self.clock.now());
            let mut shard = ledger::Ledger::open(conn, self.namespace.as_str(), shard)?;
            enqueue::take_in(&mut tx, &mut shard, jobs)
        })();
        if done.is_err() {
            conn.execute_batch("ROLLBACK TO queue_enqueue")?;
        }
        conn.execute_batch("RELEASE queue_enqueue")?;
        done
    }

    fn same_file(&self, conn: &Transaction<'_>) -> Result<(), StorageError> {
        let theirs = conn.path().and_then(|path| std::fs::canonicalize(path).ok());
        let same = theirs.is_some() && theirs == std::fs::canonicalize(self.place.path()).ok();
        if same && schema::is_current(conn, &self.place).map_err(|error| error.at(&self.place))? {
            return Ok(());
        }
        Err(StorageError::invalid(format!(
            "the transaction is on `{}`, the jobs are in {}: open a connection to that file",
            conn.path().unwrap_or_default(),
            self.place.location()
        )))
    }
}

impl fmt::Debug for SqliteStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStorage")
            .field("path", &self.place.path())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
