//! An error that is none.

#![allow(unused)]

use queue::task;

struct Refused;

#[task]
async fn pay(cents: u64) -> Result<u64, Refused> {
    Err(Refused)
}

fn main() {}
