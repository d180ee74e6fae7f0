//! An argument that can't go to a worker's thread.

#![allow(unused)]

use std::rc::Rc;

use queue::task;

#[task]
async fn report(day: Rc<str>) {}

fn main() {}
