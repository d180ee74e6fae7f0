//! A function without `#[task]`, and a type that is none.

#![allow(unused)]

use queue::tasks;

async fn plain(to: String) {}

struct Mailer;

fn main() {
    let _ = tasks![plain];
    let _ = tasks![Mailer];
}
