//! Options that contradict each other.

#![allow(unused)]

use queue::task;

#[task(at_most_once, retries = 3)]
async fn once_or_four_times() {}

#[task(queue = "mail", queue = "post")]
async fn two_queues() {}

#[task(aliases = ["old", "aliased"])]
async fn aliased() {}

fn main() {}
