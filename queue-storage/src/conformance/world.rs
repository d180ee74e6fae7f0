//! What a storage brings along to be tested: itself, empty, and its clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::{Clock, ManualClock};
use crate::storage::Storage;

/// A fresh, empty storage with a clock that the suite moves. One is made for each case.
///
/// Only [`storage`](World::storage), [`advance`](World::advance) and [`rewind`](World::rewind) must be given; what a
/// storage can't offer is left out, and the cases that need it have nothing to prove.
#[async_trait]
pub trait World: Send + Sync + 'static {
    /// The storage; the same at each call.
    fn storage(&self) -> Arc<dyn Storage>;

    /// Moves the storage's clock on.
    async fn advance(&self, by: Duration);

    /// Moves the storage's clock back.
    async fn rewind(&self, by: Duration);

    /// The finest time that can be told apart: 1 µs for a clock that stands still until it is moved, a second or two for
    /// one that runs on by itself while a case does its work.
    fn tick(&self) -> Duration {
        Duration::from_micros(1)
    }

    /// A second storage on the same data, as another process would open it.
    async fn second(&self) -> Option<Arc<dyn Storage>> {
        None
    }

    /// Closes the storage and opens its data anew; `None` for one that keeps nothing.
    async fn reopen(&self) -> Option<Arc<dyn Storage>> {
        None
    }

    /// A storage in another namespace of the same place.
    async fn neighbour(&self) -> Option<Arc<dyn Storage>> {
        None
    }
}

/// The world of a storage that takes its clock by hand.
pub struct ManualWorld {
    clock: ManualClock,
    storage: Arc<dyn Storage>,
}

impl ManualWorld {
    /// The storage that `open` makes with a clock that stands still.
    pub fn new<S: Storage>(open: impl FnOnce(Arc<dyn Clock>) -> S) -> Self {
        let clock = ManualClock::new();
        Self { storage: Arc::new(open(Arc::new(clock.clone()))), clock }
    }
}

impl fmt::Debug for ManualWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualWorld").field("clock", &self.clock).finish_non_exhaustive()
    }
}

#[async_trait]
impl World for ManualWorld {
    fn storage(&self) -> Arc<dyn Storage> {
        self.storage.clone()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn rewind(&self, by: Duration) {
        self.clock.set(self.clock.now() - by);
    }
}
