//! Options that don't exist.

#![allow(unused)]

use queue::task;

#[task(retrys = 3, priority = 1, daily = "3:00")]
async fn misspelt() {}

#[task(crontab = "0 3 * * *")]
async fn another_word() {}

#[task("send_email")]
async fn a_text() {}

#[task(retries = 3 priority = 1)]
async fn no_comma() {}

fn main() {
    // The task itself is there: what is wrong with an option is said once.
    let _ = misspelt::new();
}
