//! Real processes on one SQLite file or one Redis, judged by a log of effects that no storage knows of: killed, stopped,
//! many at once, and left without their storage.
#![cfg(unix)]

mod cancels;
mod crowd;
mod drain;
mod enqueuers;
mod events;
mod flows;
mod frozen;
mod huey;
mod kills;
mod limits;
mod measure;
mod order;
mod outages;
mod pick_up;
mod poison;
mod program;
mod refusals;
mod schedules;
mod stage;
mod stopping;
mod storm;
#[path = "../../child/tasks.rs"]
mod tasks;
