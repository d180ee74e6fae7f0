//! Real processes on one SQLite file, judged by a log of effects that no storage knows of: killed, stopped, many at once.
#![cfg(unix)]

mod crowd;
mod enqueuers;
mod frozen;
mod kills;
mod poison;
mod stage;
mod stopping;
#[path = "../../child/tasks.rs"]
mod tasks;
