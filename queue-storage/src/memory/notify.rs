//! Hints and news.

use async_trait::async_trait;
use bytes::Bytes;

use super::MemoryStorage;
use crate::model::Shard;
use crate::storage::{Heard, Listener, Notify, StorageError, Topic, Watch, check_news};

#[async_trait]
impl Notify for MemoryStorage {
    fn listen(&self, topic: Topic) -> Listener {
        self.hub.listen(topic)
    }

    async fn watch(&self) -> Result<Watch, StorageError> {
        self.hub.watch()
    }

    fn is_watched(&self, _: &Shard) -> bool {
        self.hub.is_watched()
    }

    async fn announce(&self, news: Bytes) -> Result<(), StorageError> {
        check_news(&news)?;
        drop(self.lock()?);
        self.hub.announce(Heard::News(news));
        Ok(())
    }
}
