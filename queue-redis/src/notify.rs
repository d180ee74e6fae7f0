//! Hints and news.

use async_trait::async_trait;
use bytes::Bytes;
use queue_storage::model::Shard;
use queue_storage::storage::{Listener, Notify, StorageError, Topic, Watch, check_news};

use crate::RedisStorage;

#[async_trait]
impl Notify for RedisStorage {
    fn listen(&self, topic: Topic) -> Listener {
        self.ears.listen(topic)
    }

    async fn watch(&self) -> Result<Watch, StorageError> {
        self.news.watch().await
    }

    fn is_watched(&self, shard: &Shard) -> bool {
        self.link.is_watched(shard)
    }

    async fn announce(&self, news: Bytes) -> Result<(), StorageError> {
        check_news(&news)?;
        self.news.announce(news).await
    }
}
