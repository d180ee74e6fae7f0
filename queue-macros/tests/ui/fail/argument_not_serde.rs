//! An argument that can't be stored.

#![allow(unused)]

use queue::task;

struct Pool;

#[task]
async fn report(day: u32, pool: Pool) -> Result<(), std::io::Error> {
    Ok(())
}

fn main() {}
