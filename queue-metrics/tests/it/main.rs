//! What is told to Prometheus of a known run, and of little beside it.

mod beside;
mod many;
mod run;
mod support;
