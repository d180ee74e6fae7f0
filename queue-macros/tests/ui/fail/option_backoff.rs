//! Backoffs that are none.

#![allow(unused)]

use queue::task;

#[task(backoff = "5s")]
async fn no_kind() {}

#[task(backoff = cubic("5s"))]
async fn unknown_kind() {}

#[task(backoff = fixed)]
async fn no_delay() {}

#[task(backoff = fixed("5s", factor = 2))]
async fn fixed_with_factor() {}

#[task(backoff = exponential("5s", max = "1h"))]
async fn unknown_part() {}

#[task(backoff = exponential("5s", factor = 0.5))]
async fn shrinking() {}

#[task(backoff = exponential("5s", cap = "1s"))]
async fn low_cap() {}

#[task(backoff = exponential("5s", cap = "1h", cap = "2h"))]
async fn twice() {}

#[task(backoff = linear("5s", factor = 2))]
async fn linear_with_factor() {}

#[task(backoff = exponential("5s", step = "2s"))]
async fn exponential_with_step() {}

#[task(backoff = [])]
async fn empty_list() {}

#[task(backoff = list(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17))]
async fn long_list() {}

#[task(backoff = ["1s" "2s"])]
async fn no_comma() {}

fn main() {}
