//! A step whose first argument is not what comes before it.

#![allow(unused)]

use queue::task;

#[task]
async fn fetch(url: String) -> Result<String, std::io::Error> {
    Ok(url)
}

#[task]
async fn double(n: u64) -> Result<u64, std::io::Error> {
    Ok(n * 2)
}

fn main() {
    let _ = fetch::new("x").then(double::after());
}
