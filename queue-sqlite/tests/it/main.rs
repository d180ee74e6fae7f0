//! The suite that every storage runs, and what only SQLite has.

mod world;

queue_storage::conformance!(world::SqliteWorld::new);
