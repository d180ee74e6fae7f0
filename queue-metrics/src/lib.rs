//! Metrics of the `queue` framework for Prometheus, by the facade of the crate `metrics`. Users add the package
//! `queue-jobs` with the feature `metrics`, which re-exports this as `queue::metrics`.
//!
//! [`Metrics`] counts what a client does, its clones, and the workers on it, where it happens, and tells on demand how it
//! stands with queues, workers and schedules. [`Observed`] times a storage. The guide, docs/metrics.md, lists every metric;
//! deploy/ holds rules for alerts, and a dashboard.

mod counting;
mod labels;
mod names;
mod observed;
mod render;
mod series;
mod sink;
mod stored;
mod text;

pub use observed::Observed;
pub use render::{InstallError, Metrics, MetricsBuilder};
