//! Tasks under the strictest lints that people use: as a crate of its own, and as a part of `tests/it`, where clippy
//! sees it.

#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    missing_copy_implementations,
    unreachable_pub,
    unused_qualifications,
    rust_2018_idioms,
    clippy::all,
    clippy::pedantic
)]

use queue::{Context, Data, task};

/// A type of the crate's own.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Receipt {
    /// Its number.
    pub number: u64,
}

/// Sends one email, by [`Receipt`].
///
/// # Errors
/// Never.
///
/// ```
/// assert_eq!(1, 1);
/// ```
#[task(retries = 3, timeout = "1m")]
pub async fn send_email(
    to: String,
    /// Whether it is urgent.
    urgent: bool,
    ctx: Context,
    mailer: Data<Receipt>,
) -> Result<Receipt, std::io::Error> {
    let _ = (to, urgent, ctx);
    Ok(*mailer)
}

/// Takes what it does not consume, and awaits nothing.
#[task]
pub fn cleanup(#[serde(default)] path: std::path::PathBuf, _ctx: Context) {
    let _ = path.exists();
}

/// Is enqueued by itself.
#[task(cron = "0 3 * * *", tz = "Europe/Paris", missed = skip("10m"), overlap = cancel_running, revision = 1)]
pub async fn nightly(#[serde(default)] keep_days: u32, since: Option<Receipt>, ctx: Context) {
    let _ = (keep_days, since, ctx);
}

/// Has no arguments.
#[task]
pub async fn tick() {}

/// Has more arguments than clippy likes, which it says at the function alone.
///
/// # Errors
/// Never.
#[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
#[task]
pub async fn many(
    many_a: bool,
    many_b: bool,
    many_c: bool,
    many_d: bool,
    many_e: u8,
    many_f: u8,
    many_g: u8,
    many_h: Vec<Receipt>,
    _many_i: Option<String>,
) -> Result<bool, queue::TaskError> {
    Ok(many_a || many_b || many_c || many_d || many_e + many_f + many_g > 0 || many_h.is_empty())
}

/// Is called no more.
#[deprecated]
#[task(aliases = ["older"])]
pub async fn old(name: String) {
    drop(name);
}

#[task]
async fn private(r#type: Receipt) -> Result<u64, std::fmt::Error> {
    Ok(r#type.number)
}

/// Says itself that what it takes is private.
#[allow(private_interfaces)]
#[task]
pub async fn leaky(hidden: Hidden) {
    let _ = hidden;
}

/// Not reachable, and not public either.
pub(crate) mod inner {
    use queue::task;

    #[task(args = Visible)]
    pub(super) async fn visible(first: u8, second: super::Hidden) {
        let _ = (first, second);
    }

    #[task]
    pub(super) async fn to_its_parent(first: u8) {
        let _ = first;
    }
}

/// A private type in the arguments of a private task.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Hidden {
    numbers: Vec<u8>,
}

/// Runs nothing; it is there to compile.
pub fn main() {
    let _ = send_email::new("a", true).then(private::after());
    let _ = cleanup::new("a");
    let _ = queue::tasks![tick, private, nightly];
    let _ = inner::Visible::new(1, Hidden { numbers: vec![] });
    let _ = inner::to_its_parent::new(1);
}
