//! What is told to Prometheus of a known run, and of little beside it.

#![allow(clippy::disallowed_methods, reason = "what is slow is measured on tokio's clock, which is paused")]

mod beside;
mod far;
mod many;
mod run;
mod slow;
mod support;
