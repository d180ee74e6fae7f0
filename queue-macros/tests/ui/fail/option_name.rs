//! Names that the storage would refuse.

#![allow(unused)]

use queue::task;

#[task(name = "send email")]
async fn space() {}

#[task(queue = "")]
async fn empty() {}

#[task(aliases = ["old#1"])]
async fn alias() {}

fn main() {}
