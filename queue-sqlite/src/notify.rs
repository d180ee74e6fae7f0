//! Hints: from this storage's own commits by the hub, from everyone else's by the writer's ear.

use queue_storage::storage::{Listener, Notify, Topic};

use crate::SqliteStorage;
use crate::writer::Message;

impl Notify for SqliteStorage {
    fn listen(&self, topic: Topic) -> Listener {
        let job = match &topic {
            Topic::Job(id) => Some(*id),
            _ => None,
        };
        let mut listener = self.hub.listen(topic);
        if let Some(id) = job {
            listener = listener.holding(self.interests.add(id));
        }
        // The writer sleeps without looking while nobody listens; from now on someone does.
        self.writer.tell(Message::Look);
        listener
    }
}
