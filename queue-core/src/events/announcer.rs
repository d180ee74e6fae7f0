//! Tells whoever watches the storage: batch after batch, on a task of its own, so that a storage that does not answer holds
//! up no handler of this process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use queue_storage::clock::Clock;
use queue_storage::storage::Storage;
use tokio::sync::Notify;

use super::{Event, EventKind, encode};

/// How many bytes wait at most to be announced.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// How often an announcement is tried that the storage does not take, and the pauses between.
const TRIES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(500), Duration::ZERO];

/// Tells whoever watches.
pub(super) struct Announcer {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    /// Locked for a look or a change at a time, never across an await.
    waiting: Mutex<Waiting>,
    /// Told when a batch is over with, and when nobody announces.
    step: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether some were lost since the last was announced.
    missed: bool,
    /// Whether a task announces.
    announced: bool,
    /// How many batches have come since the beginning, and how many of them are over with.
    came: u64,
    over: u64,
}

impl Announcer {
    pub(super) fn new(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>) -> Self {
        Self { storage, clock, waiting: Mutex::default(), step: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of these events behind all that came before, from a task of the current runtime; and of some that were
    /// `missed` before them.
    pub(super) fn tell(self: &Arc<Self>, batch: Vec<u8>, missed: bool) {
        let mut waiting = self.lock();
        waiting.missed |= missed;
        if batch.is_empty() {
            return;
        }
        if waiting.bytes + batch.len() > MAX_WAITING_BYTES {
            waiting.missed = true;
            return;
        }
        waiting.bytes += batch.len();
        waiting.came += 1;
        waiting.batches.push_back(batch);
        if !std::mem::replace(&mut waiting.announced, true) {
            drop(waiting);
            tokio::spawn(Announcing { announcer: Arc::clone(self), batch: false, ended: false }.run());
        }
    }

    /// Waits until what has come by now is over with: announced, or given up.
    pub(super) async fn told(&self) {
        let came = self.lock().came;
        loop {
            let step = self.step.notified();
            tokio::pin!(step);
            step.as_mut().enable();
            if self.is_over(came) {
                return;
            }
            step.await;
        }
    }

    fn is_over(&self, came: u64) -> bool {
        let waiting = self.lock();
        waiting.over >= came || !waiting.announced
    }

    /// The next batch, before it that some were missed; `None` when there is nothing, and nobody announces any more.
    fn next(&self) -> Option<Vec<u8>> {
        let mut waiting = self.lock();
        let Some(batch) = waiting.batches.pop_front() else {
            waiting.announced = false;
            return None;
        };
        waiting.bytes -= batch.len();
        if !std::mem::take(&mut waiting.missed) {
            return Some(batch);
        }
        let mut whole = Vec::new();
        encode(&Event::new(EventKind::Missed, self.clock.now().into()), &mut whole);
        whole.extend(batch);
        Some(whole)
    }

    /// Whether the storage took it, in a few tries.
    async fn announce(&self, batch: Vec<u8>) -> bool {
        let batch = Bytes::from(batch);
        for pause in TRIES {
            match self.storage.announce(batch.clone()).await {
                Ok(()) => return true,
                Err(error) if !error.is_unavailable() || pause.is_zero() => {
                    tracing::debug!(%error, "events are not told: the storage does not take them");
                    return false;
                }
                Err(_) => self.clock.sleep_until(self.clock.now() + pause).await,
            }
        }
        false
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer").finish_non_exhaustive()
    }
}

/// An announcer at work. Dropped with its runtime, it lets another task go on.
struct Announcing {
    announcer: Arc<Announcer>,
    /// Whether a batch is on its way.
    batch: bool,
    /// Whether it has said itself that nobody announces any more.
    ended: bool,
}

impl Announcing {
    async fn run(mut self) {
        let announcer = Arc::clone(&self.announcer);
        while let Some(batch) = announcer.next() {
            self.batch = true;
            let taken = announcer.announce(batch).await;
            let mut waiting = announcer.lock();
            waiting.missed |= !taken;
            waiting.over += 1;
            self.batch = false;
            drop(waiting);
            announcer.step.notify_waiters();
        }
        self.ended = true;
    }
}

impl Drop for Announcing {
    fn drop(&mut self) {
        if !self.ended {
            let mut waiting = self.announcer.lock();
            waiting.announced = false;
            waiting.over += u64::from(self.batch);
            waiting.missed |= self.batch;
        }
        self.announcer.step.notify_waiters();
    }
}
