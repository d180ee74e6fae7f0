//! Durations that are none.

#![allow(unused)]

use queue::task;

#[task(timeout = "90sec")]
async fn unknown_unit() {}

#[task(timeout = "90")]
async fn no_unit() {}

#[task(timeout = 90s)]
async fn no_quotes() {}

#[task(timeout = "5m1h")]
async fn wrong_order() {}

#[task(keep = "-1s")]
async fn negative() {}

#[task(keep = 1.5)]
async fn fraction() {}

#[task(keep = "")]
async fn empty() {}

#[task(keep = "1 h")]
async fn space() {}

#[task(keep = "9999999999999d")]
async fn too_long() {}

#[task(timeout = 0)]
async fn zero() {}

fn main() {}
