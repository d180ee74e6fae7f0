//! What becomes of a worker when a part of itself panics: no task of a user's, but what is around it. It can't go on, as
//! nobody would do what that part did; so it ends as if its process had died, and what it held is taken over.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::sync::Notify;

/// The first panic of a worker's parts.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    told: Notify,
}

impl Broken {
    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        self.panic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a part of the worker, whose panic is the worker's.
    ///
    /// # Cancel safety
    /// Dropping the future drops the part.
    pub(crate) async fn part_of(&self, part: impl Future<Output = ()>) {
        if let Err(panic) = AssertUnwindSafe(part).catch_unwind().await {
            self.lock().get_or_insert(panic);
            self.told.notify_one();
        }
    }

    /// Waits until a part has panicked, and goes on with that panic.
    ///
    /// # Panics
    /// Nothing else ends it.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn panicked(&self) {
        loop {
            if let Some(panic) = self.lock().take() {
                std::panic::resume_unwind(panic);
            }
            self.told.notified().await;
        }
    }
}
