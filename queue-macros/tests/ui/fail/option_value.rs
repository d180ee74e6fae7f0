//! Options with values they don't take.

#![allow(unused)]

use queue::task;

#[task(retries = "3")]
async fn text_for_number() {}

#[task(retries = -1)]
async fn negative() {}

#[task(priority = 5_000_000_000)]
async fn too_large() {}

#[task(retries)]
async fn nothing() {}

#[task(name = send)]
async fn word_for_text() {}

#[task(aliases = "old")]
async fn text_for_list() {}

#[task(aliases = ["old", new])]
async fn word_in_list() {}

#[task(jitter = some)]
async fn unknown_jitter() {}

#[task(retry_for = true)]
async fn no_time() {}

#[task(tags = "mail")]
async fn text_for_tags() {}

#[task(tags = ["two words"])]
async fn no_tag() {}

#[task(tags = ["1", "2", "3", "4", "5", "6", "7", "8", "9"])]
async fn many_tags() {}

#[task(at_most_once = true)]
async fn flag_with_value() {}

#[task(args = "SendEmail")]
async fn text_for_ident() {}

#[task(crate = "queue")]
async fn text_for_path() {}

fn main() {}
