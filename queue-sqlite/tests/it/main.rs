//! The suite that every storage runs, and what only SQLite has.

mod across;
mod books;
mod disk;
mod files;
mod kill;
mod kit;
mod power;
mod processes;
mod shared;
mod told;
mod twins;
mod wakes;
mod world;

queue_storage::conformance!(world::SqliteWorld::new);
