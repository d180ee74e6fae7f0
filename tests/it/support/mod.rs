//! A client on each storage, and storages that misbehave.

pub mod saboteur;

use std::sync::Arc;
use std::time::Duration;

use queue::{Client, Storage};
use queue_redis::RedisOptions;
use queue_sqlite::SqliteOptions;
use queue_storage::clock::{Clock, ManualClock};
use queue_storage::memory::MemoryStorage;
use queue_storage::model::{CallerId, Namespace};
use tempfile::TempDir;

/// Long enough for anything that is going to happen; never waited out by a test that passes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A storage of one kind, with what it needs to live.
pub struct Place {
    pub storage: Arc<dyn Storage>,
    pub client: Client,
    kind: Kind,
    _dir: Option<TempDir>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Memory,
    Sqlite,
    #[cfg(unix)]
    Redis,
}

pub fn memory() -> Place {
    Place::of(Kind::Memory, Arc::new(MemoryStorage::new()), None)
}

pub async fn sqlite() -> Place {
    sqlite_by(|options| options).await
}

async fn sqlite_by(with: impl FnOnce(SqliteOptions) -> SqliteOptions) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let storage = with(SqliteOptions::new(dir.path().join("jobs.db"))).open().await.unwrap();
    Place::of(Kind::Sqlite, Arc::new(storage), Some(dir))
}

/// A storage whose clock, and that of its client, is moved by the test.
pub struct Timed {
    pub place: Place,
    pub clock: ManualClock,
}

impl Timed {
    pub async fn of(place: Place) -> Self {
        let clock = ManualClock::new();
        let mut place = place.on(&clock).await;
        place.client = Client::builder(Arc::clone(&place.storage)).clock(Arc::new(clock.clone())).build();
        Self { place, clock }
    }
}

/// A namespace of its own on the tests' server.
#[cfg(unix)]
pub async fn redis() -> Place {
    redis_by(|options| options).await
}

#[cfg(unix)]
async fn redis_by(with: impl FnOnce(RedisOptions) -> RedisOptions) -> Place {
    let options = with(RedisOptions::from_url(&queue_servers::shared().url()).unwrap());
    Place::of(Kind::Redis, Arc::new(options.namespace(namespace()).connect().await.unwrap()), None)
}

/// One that nobody else has.
#[cfg(unix)]
pub fn namespace() -> Namespace {
    CallerId::generate().to_string().parse().unwrap()
}

impl Place {
    fn of(kind: Kind, storage: Arc<dyn Storage>, dir: Option<TempDir>) -> Self {
        Self { client: Client::new(Arc::clone(&storage)), storage, kind, _dir: dir }
    }

    /// Another of the same kind, on a clock that is moved by hand.
    pub async fn on(&self, clock: &ManualClock) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        match self.kind {
            Kind::Memory => Self::of(self.kind, Arc::new(MemoryStorage::with_clock(clock)), None),
            Kind::Sqlite => sqlite_by(|options| options.clock(clock)).await,
            #[cfg(unix)]
            Kind::Redis => redis_by(|options| options.clock(clock)).await,
        }
    }
}

/// Runs each case on every storage: `on_every_storage!(case_a, case_b)` makes the tests `memory::case_a`,
/// `sqlite::case_a`, `redis::case_a`, …
macro_rules! on_every_storage {
    ($($case:ident),* $(,)?) => {
        crate::support::on_each!(memory sqlite redis, |place| place; $($case)*);
    };
}
pub(crate) use on_every_storage;

/// The same for cases that move the clock: they are given a [`Timed`].
macro_rules! on_every_clock {
    ($($case:ident),* $(,)?) => {
        crate::support::on_each!(memory_timed sqlite_timed redis_timed, |place| crate::support::Timed::of(place).await; $($case)*);
    };
}
pub(crate) use on_every_clock;

macro_rules! on_each {
    ($memory:ident $sqlite:ident $redis:ident, |$place:ident| $given:expr; $($case:ident)*) => {
        mod $memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let $place = crate::support::memory();
                super::$case($given).await;
            })*
        }
        mod $sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let $place = crate::support::sqlite().await;
                super::$case($given).await;
            })*
        }
        #[cfg(unix)]
        mod $redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let $place = crate::support::redis().await;
                super::$case($given).await;
            })*
        }
    };
}
pub(crate) use on_each;

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
