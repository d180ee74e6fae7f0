//! The reference storage: the contract in this process's memory, one lock, no durability.
//!
//! It is the plainest reading of the contract, and what the other storages are compared with. A program that may lose
//! its jobs with its process can use it as it is.

mod act;
mod claim;
mod edges;
mod ends;
mod enqueue;
mod jobs;
mod limits;
mod line;
mod maintain;
mod notify;
mod operate;
mod pick;
mod schedules;
mod steps;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::clock::{Clock, SystemClock};
use crate::model::{JobId, Shard, State, Timestamp, WorkerId};
use crate::storage::{Hub, Storage, StorageError, WorkerRecord};
use line::Line;

/// A storage in this process's memory.
///
/// ```
/// use queue_storage::memory::MemoryStorage;
/// use queue_storage::storage::Storage;
/// assert_eq!(MemoryStorage::new().location(), "memory:");
/// ```
pub struct MemoryStorage {
    clock: Arc<dyn Clock>,
    hub: Hub,
    /// One lock makes every call atomic; held for one call's work and never across an await.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lines: BTreeMap<Shard, Line>,
    workers: BTreeMap<WorkerId, WorkerRecord>,
    /// When the youngest job pruned so far was made.
    pruned: Option<Timestamp>,
    closed: bool,
}

/// What to tell listeners once the lock is free.
#[derive(Debug, Default)]
struct Hints {
    shard: bool,
    jobs: Vec<JobId>,
    /// Jobs whose runs told how far they got.
    progress: Vec<JobId>,
    /// Workers to ask to stop a run.
    stops: Vec<WorkerId>,
    /// Jobs that were taken back, or ended without a run of theirs being settled; and what became of them.
    upkept: Vec<(JobId, State)>,
}

impl MemoryStorage {
    /// An empty storage on the machine's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty storage on this clock.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { clock, hub: Hub::default(), inner: Mutex::default() }
    }

    /// The lock, and the time read under it.
    fn lock(&self) -> Result<(MutexGuard<'_, Inner>, Timestamp), StorageError> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.closed {
            return Err(StorageError::unavailable("memory: is closed"));
        }
        let now = self.clock.now();
        Ok((inner, now))
    }

    fn tell(&self, shard: &Shard, hints: &Hints) {
        hints.jobs.iter().for_each(|id| self.hub.signal_job(*id));
        hints.progress.iter().for_each(|id| self.hub.signal_progress(*id));
        hints.stops.iter().for_each(|worker| self.hub.signal_stop(*worker));
        if hints.shard {
            self.hub.signal_shard(shard);
        }
    }
}

fn line_of<'a>(lines: &'a mut BTreeMap<Shard, Line>, shard: &Shard) -> &'a mut Line {
    lines.entry(shard.clone()).or_insert_with(|| Line::new(shard.clone()))
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStorage")
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn location(&self) -> String {
        "memory:".to_owned()
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.lock().map(drop)
    }

    async fn close(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.hub.signal_all();
        self.hub.close_watches();
    }
}
