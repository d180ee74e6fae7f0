//! Hints: from this process's commits by the hub, from other processes' by a number that the writer looks at.

use queue_storage::storage::{Listener, Notify, Topic};

use crate::SqliteStorage;
use crate::writer::Message;

impl Notify for SqliteStorage {
    fn listen(&self, topic: Topic) -> Listener {
        let listener = self.hub.listen(topic);
        // The writer sleeps without looking while nobody listens; from now on someone does.
        self.writer.tell(Message::Look);
        listener
    }
}
