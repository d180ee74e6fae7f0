//! The suite on the memory storage.

use queue_storage::{conformance::ManualWorld, memory::MemoryStorage};

queue_storage::conformance!(async || ManualWorld::new(MemoryStorage::with_clock));
