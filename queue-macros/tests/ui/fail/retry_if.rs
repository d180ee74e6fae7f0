//! What can't be `retry_if`.

#![allow(unused)]

use std::io;

use queue::{TaskError, task};

fn is_transient(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

fn takes_it_all(error: io::Error) -> bool {
    true
}

fn says_how_often(error: &io::Error) -> u32 {
    3
}

const ALWAYS: bool = true;

#[task(retries = 3, retry_if = is_transient)]
async fn another_error() -> Result<(), String> {
    Ok(())
}

#[task(retries = 3, retry_if = is_transient)]
fn another_error_on_a_thread() -> Result<(), TaskError> {
    Ok(())
}

#[task(retries = 3, retry_if = takes_it_all)]
async fn by_value() -> Result<(), io::Error> {
    Ok(())
}

#[task(retries = 3, retry_if = says_how_often)]
async fn no_bool() -> Result<(), io::Error> {
    Ok(())
}

#[task(retries = 3, retry_if = ALWAYS)]
async fn no_function() -> Result<(), io::Error> {
    Ok(())
}

#[task(retries = 3, retry_if = is_transient)]
async fn never_fails() {}

#[task(retries = 3, retry_if = "is_transient")]
async fn text_for_path() -> Result<(), io::Error> {
    Ok(())
}

fn main() {}
