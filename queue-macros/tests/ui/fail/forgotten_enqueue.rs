//! A call that nobody enqueues.

#![allow(unused)]
#![deny(unused_must_use)]

use queue::task;

#[task]
async fn send_email(to: String) {}

#[task]
async fn file(receipt: String) {}

fn main() {
    send_email::new("a@b.c");
    send_email { to: "a@b.c".into() };
    send_email { to: "a@b.c".into() }.call();
    send_email::new("a@b.c").then(file::new("x"));
    file::after();
}
