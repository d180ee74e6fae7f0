//! Hints and news: from this storage's own commits by the hub, from everyone else's by the writer.

use async_trait::async_trait;
use bytes::Bytes;
use queue_storage::model::Shard;
use queue_storage::storage::{Listener, Notify, StorageError, Topic, Watch, check_news};

use crate::SqliteStorage;
use crate::writer::Message;

#[async_trait]
impl Notify for SqliteStorage {
    fn listen(&self, topic: Topic) -> Listener {
        let held = match &topic {
            Topic::Job(id) | Topic::Progress(id) => Some(self.interests.in_job(*id)),
            Topic::Stop(worker, shard) => Some(self.interests.in_stops(*worker, shard.clone())),
            _ => None,
        };
        let mut listener = self.hub.listen(topic);
        if let Some(held) = held {
            listener = listener.holding(held);
        }
        // The writer sleeps without looking while nobody listens; from now on someone does.
        self.writer.tell(Message::Look);
        listener
    }

    async fn watch(&self) -> Result<Watch, StorageError> {
        self.writer.call(Message::Watch).await
    }

    fn is_watched(&self, _: &Shard) -> bool {
        self.teller.is_watched()
    }

    async fn announce(&self, news: Bytes) -> Result<(), StorageError> {
        check_news(&news)?;
        let teller = self.teller.clone();
        self.writer.call(|reply| Message::work(reply, move |tx, _| teller.announce(tx, news))).await
    }
}
