//! Functions that a worker can't call.

#![allow(unused)]

use queue::task;

#[task]
async unsafe fn promise(n: u32) {}

#[task]
extern "C" fn foreign(n: u32) {}

trait Jobs {
    #[task]
    async fn bodiless(n: u32);
}

fn main() {}
