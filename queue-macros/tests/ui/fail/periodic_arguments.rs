//! Periodic tasks are enqueued without arguments.

#![allow(unused)]

use queue::{Context, Data, task};

#[task(cron = "0 3 * * *")]
async fn clean_up(
    keep_days: u32,
    #[serde(default)] dry: bool,
    since: Option<u64>,
    r#type: String,
    ctx: Context,
    store: Data<String>,
) {
}

#[task(every = "5m")]
async fn poll(
    #[serde(deserialize_with = "never_left_out")] since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")] until: Option<u64>,
) {
}

fn never_left_out<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    serde::Deserialize::deserialize(from)
}

fn main() {}
