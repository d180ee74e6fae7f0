//! What needs every crate, in one binary.

#![allow(unreachable_pub, missing_docs, reason = "a test binary has no public items")]

mod engine;
mod house;
mod processes;
mod support;
