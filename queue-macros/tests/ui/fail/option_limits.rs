//! Each limit says what it takes, and names arguments that are there.

use queue::task;

#[task(concurrency = 0)]
fn no_slots() {}

#[task(concurrency(5, by = "tenant"))]
fn another_word(tenant: String) {}

#[task(concurrency(5, key = "tenat"))]
fn misspelt(tenant: String, order: u64) {}

#[task(rate = "100")]
fn no_period() {}

#[task(rate("100/s", cost = 2))]
fn too_dear() {}

#[task(unique(until = done))]
fn no_such_window() {}

#[task(unique(key = "a", shared = "b"))]
fn two_keys(a: u8) {}

#[task(unique(conflict = run_after, until = finished))]
fn two_windows() {}

#[task(unique(within = "10 minutes"))]
fn no_duration() {}

#[task(lock)]
fn no_name() {}

fn main() {}
