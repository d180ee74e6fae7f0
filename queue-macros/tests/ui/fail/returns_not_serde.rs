//! An output that can't be stored.

#![allow(unused)]

use queue::task;

struct Receipt;

#[task]
async fn pay(cents: u64) -> Result<Receipt, std::io::Error> {
    Ok(Receipt)
}

fn main() {}
