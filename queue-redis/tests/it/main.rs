//! The suite that every storage runs, and what only Redis has.

mod adversary;
mod bounds;
mod calls;
mod connect;
mod consistent;
mod crowds;
mod dropped;
mod failover;
mod homes;
mod kit;
mod memory;
mod migrate;
mod news;
mod outage;
mod replies;
mod restart;
mod schedules;
mod stage;
mod twins;
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
