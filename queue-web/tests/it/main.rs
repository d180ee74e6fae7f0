//! Health checks and the JSON API, as probes and programs see them.

#![allow(unreachable_pub, missing_docs, reason = "a test binary has no public items")]
#![allow(clippy::disallowed_methods, reason = "these tests measure on tokio's clock, which they pause")]

mod access;
#[cfg(feature = "actix")]
mod actix;
#[cfg(feature = "axum")]
mod axum;
mod described;
mod health;
mod jobs;
mod looks;
mod odd;
mod support;
