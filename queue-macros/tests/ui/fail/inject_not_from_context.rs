//! A parameter that no worker can hand in.

#![allow(unused)]

use queue::task;

struct Tenant;

#[task]
async fn report(#[inject] tenant: Tenant) {}

fn main() {}
