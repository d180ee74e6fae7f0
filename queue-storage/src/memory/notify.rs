//! Hints.

use super::MemoryStorage;
use crate::storage::{Listener, Notify, Topic};

impl Notify for MemoryStorage {
    fn listen(&self, topic: Topic) -> Listener {
        self.hub.listen(topic)
    }
}
