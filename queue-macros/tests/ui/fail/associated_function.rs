//! A function in an `impl`, which a macro can't see.

#![allow(unused)]

use queue::task;

struct Mailer;

impl Mailer {
    #[task]
    async fn send(to: String) {}
}

fn main() {}
