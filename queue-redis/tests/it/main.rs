//! The suite that every storage runs, and what only Redis has.

mod connect;
mod consistent;
mod kit;
mod work;
mod world;

mod single {
    use crate::world::RedisWorld;

    queue_storage::conformance!(RedisWorld::single);
}

mod cluster {
    use crate::world::RedisWorld;

    queue_storage::conformance!(RedisWorld::cluster);
}
