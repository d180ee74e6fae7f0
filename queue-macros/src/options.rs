//! The options of `#[task(..)]`.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, LitInt, LitStr, Path, Token, bracketed};

use crate::backoff::Backoff;
use crate::duration;
use crate::serde_attrs::skip_to_comma;

/// Every option, with what it takes and an example.
const VALID: [(&str, &str, &str); 12] = [
    ("name", "a text", r#"name = "send_email""#),
    ("aliases", "a list of texts", r#"aliases = ["mail", "send_mail"]"#),
    ("queue", "a text", r#"queue = "mail""#),
    ("priority", "a whole number, which may be negative", "priority = 10"),
    ("retries", "a whole number from 0", "retries = 3"),
    ("backoff", "`fixed(..)` or `exponential(..)`", r#"backoff = exponential("2s", factor = 3, cap = "1h")"#),
    ("jitter", "`none`, `full` or `equal`", "jitter = full"),
    ("timeout", "a duration", r#"timeout = "90s""#),
    ("keep", "a duration", r#"keep = "1d""#),
    ("at_most_once", "no value", "at_most_once"),
    ("args", "the name of the struct to write", "args = SendEmail"),
    ("crate", "the path under which `queue` is found", "crate = my_framework::queue"),
];
