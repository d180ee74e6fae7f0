//! A client on each storage, and storages that misbehave.

pub mod saboteur;

use std::sync::Arc;
use std::time::Duration;

use queue::{Client, Storage};
use queue_redis::RedisOptions;
use queue_sqlite::SqliteOptions;
use queue_storage::memory::MemoryStorage;
use queue_storage::model::{CallerId, Namespace};
use tempfile::TempDir;

/// Long enough for anything that is going to happen; never waited out by a test that passes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A storage of one kind, with what it needs to live.
pub struct Place {
    pub storage: Arc<dyn Storage>,
    pub client: Client,
    _dir: Option<TempDir>,
}

pub fn memory() -> Place {
    Place::of(Arc::new(MemoryStorage::new()), None)
}

pub async fn sqlite() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let storage = SqliteOptions::new(dir.path().join("jobs.db")).open().await.unwrap();
    Place::of(Arc::new(storage), Some(dir))
}

/// A namespace of its own on the tests' server.
#[cfg(unix)]
pub async fn redis() -> Place {
    let options = RedisOptions::from_url(&queue_servers::shared().url()).unwrap();
    Place::of(Arc::new(options.namespace(namespace()).connect().await.unwrap()), None)
}

/// One that nobody else has.
#[cfg(unix)]
pub fn namespace() -> Namespace {
    CallerId::generate().to_string().parse().unwrap()
}

impl Place {
    fn of(storage: Arc<dyn Storage>, dir: Option<TempDir>) -> Self {
        Self { client: Client::new(Arc::clone(&storage)), storage, _dir: dir }
    }
}

/// Runs each case on every storage: `on_every_storage!(case_a, case_b)` makes the tests `memory::case_a`,
/// `sqlite::case_a`, `redis::case_a`, …
macro_rules! on_every_storage {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::support::memory()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::support::sqlite().await).await;
            })*
        }
        #[cfg(unix)]
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::support::redis().await).await;
            })*
        }
    };
}
pub(crate) use on_every_storage;

/// Waits until `seen` returns something: looks again and again, since what it waits for may have no event.
pub async fn eventually<T>(what: &str, mut seen: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(value) = seen().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}
