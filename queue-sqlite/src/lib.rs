//! The queue's storage in one SQLite file: WAL, one writer with group commit, readers beside it.
//!
//! Several processes may use one file, and several [`SqliteStorage`]s in one process too. An answered call survives the
//! death of any process at any instant; with [`Synchronous::Full`] a power cut as well.
//!
//! * `options` says where the file is; `connect` and `schema` open, create and migrate it.
//! * `lane` leads from any runtime to the two threads: `writer`, which groups what is queued into one transaction, and
//!   `reader`.
//! * `enqueue`, `claim`, `maintain`, `operate`, `notify` are the five roles of the contract. Below `claim` stand `settle`,
//!   `leases`, `take` with `lines`, `renew` and `last`, beside `operate` stand `list`, `act` and `control`.
//! * `limits` is asked wherever a job with keys moves; below it stand `slots`, `rates`, `unique` and `parking`, beside it
//!   `room`, the same of a whole shard.
//! * Below all of them are `ends` (what ends without a run), `edges`, `shift` (the rare moves), `history`, `workers`, and
//!   `ledger` (a shard's row), `row` and `write` (a job's).

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
mod job;
mod lane;
mod last;
mod leases;
mod ledger;
mod lines;
mod list;
mod notify;
mod operate;
mod options;
mod reader;
mod renew;
mod room;
mod schema;
mod settle;
mod take;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use queue_storage::clock::Clock;
use queue_storage::model::{JobId, Key, Namespace, NewJob, Shard, WorkerId};
use queue_storage::storage::{
    Act, Acted, Admission, Claim, Control, Controls, Counts, Enqueue, EnqueueCall, Exchange, Exchanged, Hub, JobPage,
    JobQuery, Lookup, Maintain, Operate, Renewal, Renewed, Retention, Step, Storage, StorageError, Usage, WorkerRecord,
    check_jobs,
};
use rusqlite::Transaction;

use error::{Place, Result};
use job::tx::Tx;
use job::{act, limits, maintain, workers};
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
    namespace: Namespace,
    clock: Arc<dyn Clock>,
    hub: Hub,
    interests: ear::Interests,
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
        let options = Arc::new(options);
        let (hub, interests) = (Hub::default(), ear::Interests::default());
        let writer = {
            let (opened, at, served) = (Arc::clone(&options), place.clone(), Arc::clone(&options));
            let (place, ear) = (place.clone(), ear::Ear::new(hub.clone(), interests.clone()));
            Lane::start(
                "queue-sqlite-writer",
                &place.clone(),
                move || connect::writer(&opened, &at).map_err(|error| error.at(&at)),
                move |conn, track| {
                    let (namespace, clock) = (served.namespace.clone(), Arc::clone(&served.clock));
                    let (workers, busy_timeout) = (workers::Workers::default(), served.busy_timeout);
                    writer::Writer { conn, namespace, clock, ear, place, busy_timeout, workers }.run(&track);
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
        Ok(Self { place, namespace, clock, hub, interests, writer, reader })
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
    /// *Invalid*: as [`Enqueue::enqueue`] says, or the connection is one to another file. *Unavailable*: SQLite refused, a
    /// locked file among the reasons. In each case the transaction is as it was before.
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

#[async_trait]
impl Storage for SqliteStorage {
    fn location(&self) -> String {
        self.place.location()
    }

    async fn ping(&self) -> Result<(), StorageError> {
        // Both threads answer, and the file can be read.
        self.writer.call(|reply| writer::Message::work(reply, |_, _| Ok(()))).await?;
        self.reader.call(|reply| reader::Message::look(reply, |look| operate::shards(look).map(drop))).await
    }

    async fn close(&self) {
        self.writer.close(writer::Message::Close).await;
        self.reader.close(reader::Message::Close).await;
        self.hub.signal_all();
    }
}

#[async_trait]
impl Enqueue for SqliteStorage {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        call.check()?;
        self.writer.call(|reply| writer::Message::work(reply, |tx, _| enqueue::enqueue(tx, call))).await
    }
}

#[async_trait]
impl Claim for SqliteStorage {
    async fn register(&self, worker: WorkerRecord) -> Result<(), StorageError> {
        self.writer.call(|reply| writer::Message::work(reply, move |tx, _| workers::register(tx, &worker))).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StorageError> {
        self.writer.call(|reply| writer::Message::work(reply, move |tx, _| workers::deregister(tx, worker))).await
    }

    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError> {
        call.check()?;
        self.writer
            .call(|reply| writer::Message::work(reply, move |tx, workers| claim::exchange(tx, workers, &call)))
            .await
    }

    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError> {
        call.check()?;
        self.writer
            .call(|reply| writer::Message::work(reply, move |tx, workers| renew::renew(tx, workers, &call)))
            .await
    }
}

#[async_trait]
impl Maintain for SqliteStorage {
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError> {
        let shard = shard.clone();
        self.writer
            .call(|reply| writer::Message::work(reply, move |tx, _| maintain::prune(tx, &shard, retention)))
            .await
    }
}

#[async_trait]
impl Operate for SqliteStorage {
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError> {
        self.reader.call(|reply| reader::Message::look(reply, move |look| operate::get(look, id))).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        let query = query.clone();
        self.reader.call(|reply| reader::Message::look(reply, move |look| list::list(look, &query))).await
    }

    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError> {
        let shard = shard.clone();
        self.reader.call(|reply| reader::Message::look(reply, move |look| operate::counts(look, &shard))).await
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        self.reader.call(|reply| reader::Message::look(reply, operate::shards)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        self.reader.call(|reply| reader::Message::look(reply, operate::workers)).await
    }

    async fn act(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError> {
        act.check(ids)?;
        let (shard, ids, act) = (shard.clone(), ids.to_vec(), act.clone());
        self.writer.call(|reply| writer::Message::work(reply, move |tx, _| act::act(tx, &shard, &ids, &act))).await
    }

    async fn control(&self, shard: &Shard, change: &Control) -> Result<bool, StorageError> {
        let (shard, change) = (shard.clone(), change.clone());
        self.writer.call(|reply| writer::Message::work(reply, move |tx, _| control::control(tx, &shard, &change))).await
    }

    async fn controls(&self, shard: &Shard) -> Result<Controls, StorageError> {
        let shard = shard.clone();
        self.reader.call(|reply| reader::Message::look(reply, move |look| control::controls(look, &shard))).await
    }
    async fn usage(&self, shard: &Shard, key: &Key) -> Result<Usage, StorageError> {
        let (shard, key) = (shard.clone(), key.clone());
        self.reader.call(|reply| reader::Message::look(reply, move |look| limits::usage(look, &shard, &key))).await
    }
}
