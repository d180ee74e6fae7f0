//! An output that is not a `Result`.

#![allow(unused)]

use queue::task;

#[task]
async fn count(day: u32) -> u32 {
    day
}

fn main() {}
