//! A namespace of its own on the tests' server or cluster, with a clock that stands still.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use queue_redis::{RedisOptions, RedisStorage};
use queue_storage::clock::{Clock, ManualClock};
use queue_storage::conformance::World;
use queue_storage::model::CallerId;
use queue_storage::storage::Storage;

pub(crate) struct RedisWorld {
    clock: ManualClock,
    options: RedisOptions,
    storage: Arc<RedisStorage>,
}

impl RedisWorld {
    pub(crate) async fn single() -> Self {
        Self::at(&queue_servers::shared().url()).await
    }

    pub(crate) async fn cluster() -> Self {
        Self::at(&queue_servers::shared_cluster().url()).await
    }

    async fn at(url: &str) -> Self {
        let clock = ManualClock::new();
        let namespace = CallerId::generate().to_string().parse().unwrap();
        let options = RedisOptions::from_url(url).unwrap().namespace(namespace).clock(Arc::new(clock.clone()));
        let storage = Arc::new(options.clone().connect().await.unwrap());
        Self { clock, options, storage }
    }
}

#[async_trait]
impl World for RedisWorld {
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
        Some(Arc::new(self.options.clone().connect().await.unwrap()))
    }

    async fn reopen(&self) -> Option<Arc<dyn Storage>> {
        self.storage.close().await;
        self.second().await
    }

    async fn neighbour(&self) -> Option<Arc<dyn Storage>> {
        let namespace = CallerId::generate().to_string().parse().unwrap();
        Some(Arc::new(self.options.clone().namespace(namespace).connect().await.unwrap()))
    }
}
