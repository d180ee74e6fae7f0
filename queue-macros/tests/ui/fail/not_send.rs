//! A value that can't go to another thread, held across an await.

#![allow(unused)]

use std::rc::Rc;

use queue::task;

async fn pause() {}

#[task]
async fn count(day: u32) -> Result<u32, std::io::Error> {
    let rc = Rc::new(day);
    pause().await;
    Ok(*rc)
}

fn main() {}
