//! What jobs hand on to each other: gathered, told, carried between queues.

mod carrying;
mod counting;
mod taking;
mod world;
