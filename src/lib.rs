#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "cli")]
pub mod cli;
mod connect;

pub use connect::{ConnectError, connect, connect_from_env};
pub use queue_core::*;
#[cfg(feature = "macros")]
pub use queue_macros::task;
#[cfg(feature = "metrics")]
pub use queue_metrics as metrics;
#[cfg(feature = "otel")]
pub use queue_otel as otel;
#[cfg(feature = "redis")]
pub use queue_redis as redis;
#[cfg(feature = "sqlite")]
pub use queue_sqlite as sqlite;
/// The contract between the engine and its storages, for whoever writes one.
pub use queue_storage as storage;
#[cfg(feature = "web")]
pub use queue_web as web;

#[doc(hidden)]
pub use queue_core::__private;

#[cfg(doctest)]
#[doc = include_str!("../docs/flows.md")]
struct FlowsGuide;

#[cfg(doctest)]
#[doc = include_str!("../docs/events.md")]
struct EventsGuide;

#[cfg(doctest)]
#[doc = include_str!("../docs/periodic.md")]
struct PeriodicGuide;

#[cfg(all(doctest, feature = "metrics"))]
#[doc = include_str!("../docs/metrics.md")]
struct MetricsGuide;

#[cfg(doctest)]
#[doc = include_str!("../docs/deployment.md")]
struct DeploymentGuide;

// Its rows need a server of Redis, the web API and the program.
#[cfg(all(doctest, unix, feature = "redis", feature = "axum", feature = "cli"))]
#[doc = include_str!("../docs/huey.md")]
struct ComingFromHuey;
