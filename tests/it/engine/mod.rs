//! The engine on every storage.

mod banner;
mod builds;
mod cancelling;
mod controlling;
mod ends;
mod events;
mod evolution;
mod flows;
mod flows_again;
mod flows_told;
mod handles;
mod idle;
mod immediate;
mod leases;
mod limits;
mod lost_replies;
mod middleware;
mod operating;
mod order;
mod pipelines;
mod rates;
mod retried;
mod retries;
mod rough;
mod schedules;
mod stopping;
mod telling;
mod threads;
mod verdicts;

use std::sync::atomic::{AtomicU32, Ordering};

use queue::{TaskList, Worker, WorkerBuilder};

use crate::support::Place;

/// A worker that looks often and stops quickly.
fn worker(place: &Place, tasks: TaskList) -> WorkerBuilder {
    Worker::builder(&place.client).tasks(tasks).concurrency(8)
}

/// Counts runs; handed to tasks as `Data<Runs>`.
#[derive(Debug, Default)]
struct Runs(AtomicU32);

impl Runs {
    fn count(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}
