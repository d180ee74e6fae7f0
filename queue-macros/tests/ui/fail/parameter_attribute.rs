//! Attributes that don't go together.

#![allow(unused)]

use queue::{Context, task};

#[task]
async fn both(#[inject] #[arg] n: u32) {}

#[task]
async fn with_value(#[inject(db)] n: u32) {}

#[task]
async fn stored(#[serde(default)] ctx: Context) {}

#[task]
async fn skipped(to: String, #[serde(skip)] cache: u32) {}

#[task]
async fn gated(#[cfg(unix)] to: String) {}

fn main() {}
