//! Real Redis servers for tests and benchmarks, and a network between that breaks on demand.
//!
//! - [`Redis`]: one server, which can be killed, stopped, frozen and started again; [`shared`]: one per test process.
//! - [`Cluster`]: primaries which share the slots, and moves of slots between them; [`shared_cluster`].
//! - [`Sentinel`]: a primary, its replica, and sentinels which promote it.
//! - [`Proxy`]: what lies between a client and a server: cuts, losses, silence, delay.
//! - [`free_port`]: where to put something else.
//!
//! Nothing here needs an async runtime: every call blocks until what it says is so, and panics with the tail of the
//! server's log when that does not come about. No server outlives the process which started it, however that ends.
//!
//! The programs are `redis-server` and `redis-cli`; the environment variables `QUEUE_REDIS_SERVER` and
//! `QUEUE_REDIS_CLI` name others, such as `valkey-server` and `valkey-cli`.
#![cfg(unix)]

mod cluster;
mod patience;
mod ports;
mod process;
mod programs;
mod proxy;
mod redis;
mod sentinel;

pub use cluster::{Cluster, shared_cluster};
pub use ports::free_port;
pub use proxy::Proxy;
pub use redis::{Redis, shared};
pub use sentinel::Sentinel;
