//! An SQLite storage in a folder of its own, with a clock that stands still.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use queue_sqlite::{SqliteOptions, SqliteStorage};
use queue_storage::clock::{Clock, ManualClock};
use queue_storage::conformance::World;
use queue_storage::storage::Storage;
use tempfile::TempDir;

pub(crate) struct SqliteWorld {
    clock: ManualClock,
    storage: Arc<SqliteStorage>,
    folder: TempDir,
}

impl SqliteWorld {
    pub(crate) async fn new() -> Self {
        let (clock, folder) = (ManualClock::new(), TempDir::new().unwrap());
        let options = SqliteOptions::new(folder.path().join("jobs.db")).clock(Arc::new(clock.clone()));
        Self { storage: Arc::new(options.open().await.unwrap()), clock, folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("jobs.db")
    }

    fn options(&self) -> SqliteOptions {
        SqliteOptions::new(self.path()).clock(Arc::new(self.clock.clone()))
    }
}

impl Drop for SqliteWorld {
    fn drop(&mut self) {
        // At the end of every case, unless it has failed already.
        if !std::thread::panicking() {
            crate::books::check(&self.path());
        }
    }
}

#[async_trait]
impl World for SqliteWorld {
    fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage) as _
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn rewind(&self, by: Duration) {
        self.clock.set(self.clock.now() - by);
    }

    async fn second(&self) -> Option<Arc<dyn Storage>> {
        Some(Arc::new(self.options().open().await.unwrap()))
    }

    async fn reopen(&self) -> Option<Arc<dyn Storage>> {
        self.storage.close().await;
        self.second().await
    }

    async fn neighbour(&self) -> Option<Arc<dyn Storage>> {
        let options = self.options().namespace("neighbour".parse().unwrap());
        Some(Arc::new(options.open().await.unwrap()))
    }
}
