//! An output that borrows.

#![allow(unused)]

use queue::task;

#[task]
async fn name() -> Result<&'static str, std::io::Error> {
    Ok("name")
}

fn main() {}
