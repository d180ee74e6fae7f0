//! The output of a task is as visible as the task.

#![allow(unused)]

use queue::task;

#[derive(serde::Serialize, serde::Deserialize)]
struct Receipt;

#[task]
pub async fn pay(cents: u64) -> Result<Receipt, std::io::Error> {
    Ok(Receipt)
}

fn main() {}
