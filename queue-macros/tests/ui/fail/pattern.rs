//! Arguments without a name of their own.

#![allow(unused)]

use queue::task;

#[task]
async fn pair((x, y): (u32, u32)) {}

#[task]
async fn unnamed(_: u32) {}

fn main() {}
