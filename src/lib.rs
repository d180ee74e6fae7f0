#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;

pub use connect::{ConnectError, connect};
pub use queue_core::*;
#[cfg(feature = "macros")]
pub use queue_macros::task;
#[cfg(feature = "redis")]
pub use queue_redis as redis;
#[cfg(feature = "sqlite")]
pub use queue_sqlite as sqlite;
/// The contract between the engine and its storages, for whoever writes one.
pub use queue_storage as storage;

#[doc(hidden)]
pub use queue_core::__private;

#[cfg(doctest)]
#[doc = include_str!("../docs/flows.md")]
struct FlowsGuide;

#[cfg(doctest)]
#[doc = include_str!("../docs/periodic.md")]
struct PeriodicGuide;
