//! Functions that are not one function.

#![allow(unused)]

use queue::task;

#[task]
async fn of_types<T: serde::Serialize>(value: T) {}

#[task]
async fn of_numbers<const N: usize>(values: [u8; N]) {}

#[task]
async fn of_lifetimes<'a>(text: &'a str) {}

#[task]
async fn with_a_clause(text: String)
where
    String: Clone,
{
}

#[task]
async fn of_any_argument(value: impl Into<String>) {}

#[task]
async fn of_any_output() -> Result<impl serde::Serialize, std::io::Error> {
    Ok(1)
}

fn main() {}
