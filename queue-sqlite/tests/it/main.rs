//! The suite that every storage runs, and what only SQLite has.

mod disk;
mod files;
mod kill;
mod kit;
mod power;
mod processes;
mod shared;
mod world;

queue_storage::conformance!(world::SqliteWorld::new);
