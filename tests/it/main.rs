//! What needs every crate, in one binary.

#![allow(unreachable_pub, missing_docs, reason = "a test binary has no public items")]
#![allow(clippy::large_futures, reason = "a test's future may be as large as it likes")]
#![allow(clippy::disallowed_methods, reason = "these tests run on the machine's clock and compare with it")]

mod engine;
mod house;
mod processes;
mod support;
#[cfg(unix)]
mod wire;
