//! Threads of the blocking pool that runs are on: they can't be stopped, only waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

tokio::task_local! {
    /// The threads of the current run.
    static OF_THIS_RUN: Threads;
}

/// How many threads of a run have not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Threads(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    busy: AtomicUsize,
    /// Told when the last has ended.
    none: Notify,
}

impl Threads {
    /// Runs a future whose threads these are.
    pub(super) async fn scope<T>(self, run: impl Future<Output = T>) -> T {
        OF_THIS_RUN.scope(self, run).await
    }

    /// Whether one of them runs, or may begin to.
    pub(super) fn busy(&self) -> bool {
        self.0.busy.load(Ordering::Acquire) > 0
    }

    /// Waits until all have ended.
    pub(super) async fn ended(&self) {
        loop {
            let none = self.0.none.notified();
            tokio::pin!(none);
            // Before the look: whatever ends after it is heard.
            none.as_mut().enable();
            if !self.busy() {
                return;
            }
            none.await;
        }
    }
}

/// Goes with a thread, from before it begins until it ends.
#[derive(Debug)]
pub(crate) struct OnThread(Option<Threads>);

impl OnThread {
    /// A thread of the current run. Outside a run (a unit test of the function) nobody counts.
    pub(crate) fn begin() -> Self {
        let threads = OF_THIS_RUN.try_with(Clone::clone).ok();
        if let Some(threads) = &threads {
            threads.0.busy.fetch_add(1, Ordering::AcqRel);
        }
        Self(threads)
    }
}

impl Drop for OnThread {
    fn drop(&mut self) {
        if let Some(Threads(count)) = &self.0
            && count.busy.fetch_sub(1, Ordering::AcqRel) == 1
        {
            count.none.notify_waiters();
        }
    }
}

/// How many threads go on although their attempt is over: it took too long, or its lease was lost, and a thread can't be
/// stopped. Each keeps its slot until it ends. What [`Worker::lingering`](crate::Worker::lingering) returns.
#[derive(Clone, Debug, Default)]
pub struct Lingering(Arc<AtomicUsize>);

impl Lingering {
    /// How many there are now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Counts one until what is returned is dropped.
    pub(super) fn one(&self) -> OneLingers {
        self.0.fetch_add(1, Ordering::AcqRel);
        OneLingers(self.clone())
    }
}

#[derive(Debug)]
pub(super) struct OneLingers(Lingering);

impl Drop for OneLingers {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}
