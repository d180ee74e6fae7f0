//! Arguments of a call are checked at the call.

#![allow(unused)]

use queue::task;

#[task]
async fn send_email(to: String, copies: u32) {}

fn main() {
    let _ = send_email::new("a@b.c", "x");
    let _ = send_email::new("a@b.c");
}
