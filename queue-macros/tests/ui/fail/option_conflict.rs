//! Options that contradict each other.

#![allow(unused)]

use queue::task;

#[task(at_most_once, retries = 3)]
async fn once_or_four_times() {}

#[task(queue = "mail", queue = "post")]
async fn two_queues() {}

#[task(aliases = ["old", "aliased"])]
async fn aliased() {}

#[task(retry_for = "10m", timeout = "1s")]
async fn retried_never() {}

#[task(retries = 0, backoff = fixed("1s"))]
async fn retried_when_a_call_says_so() {}

fn main() {}
