//! Functions that say no delay.

#![allow(unused)]

use std::time::Duration;

use queue::task;

fn takes_nothing() -> Duration {
    Duration::ZERO
}

fn says_seconds(attempt: u32) -> u64 {
    attempt.into()
}

#[task(backoff = takes_nothing, retries = 1)]
async fn without_attempt() {}

#[task(backoff = says_seconds, retries = 1)]
async fn not_a_duration() {}

#[task(backoff = nobody_knows, retries = 1)]
async fn unknown() {}

fn main() {}
