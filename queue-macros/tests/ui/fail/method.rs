//! A method.

#![allow(unused)]

use queue::task;

struct Mailer;

impl Mailer {
    #[task]
    async fn send(&self, to: String) {}
}

fn main() {}
