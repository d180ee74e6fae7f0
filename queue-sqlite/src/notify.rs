//! Hints: from this storage's own commits by the hub, from everyone else's by the writer's ear.

use queue_storage::storage::{Listener, Notify, Topic};

use crate::SqliteStorage;
use crate::writer::Message;

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
}
