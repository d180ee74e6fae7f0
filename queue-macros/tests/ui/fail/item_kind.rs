//! Items that are not functions.

#![allow(unused)]

use queue::task;

#[task]
struct SendEmail {
    to: String,
}

#[task(retries = 3)]
impl SendEmail {
    async fn send(&self) {}
}

#[task]
const RETRIES: u32 = 3;

fn main() {}
