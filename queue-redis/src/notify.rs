//! Hints.

use queue_storage::storage::{Listener, Notify, Topic};

use crate::RedisStorage;

impl Notify for RedisStorage {
    fn listen(&self, topic: Topic) -> Listener {
        self.ears.listen(topic)
    }
}
