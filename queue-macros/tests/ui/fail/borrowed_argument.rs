//! Borrowed arguments, and where they hide.

#![allow(unused)]

use std::borrow::Cow;
use std::path::Path;

use queue::task;

struct Pool;

#[task]
async fn text(to: &str) {}

#[task]
async fn bytes(body: &[u8], path: &Path) {}

#[task]
async fn state(pool: &Pool) {}

#[task]
async fn inside(names: Vec<Option<&str>>, pair: (u32, &mut String), cow: Cow<'_, str>) {}

#[task]
async fn handed_in(ctx: &queue::Context, pool: &queue::Data<Pool>, #[inject] other: &Pool) {}

fn main() {}
