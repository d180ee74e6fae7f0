//! Expressions and zones that are wrong.

use queue::task;

#[task(cron = "0 24 * * *")]
async fn wrong_field() {}

#[task(cron = "0 0 31 2 *")]
async fn no_such_date() {}

#[task(cron = "0 3 * *")]
async fn field_missing() {}

#[task(cron = "CRON_TZ=Berlin 0 3 * * *")]
async fn wrong_zone_within() {}

#[task(cron = "@every 5m")]
async fn an_interval() {}

#[task(cron = "0 3 * * *", tz = "Paris")]
async fn city() {}

#[task(cron = "0 3 * * *", tz = "+02:00")]
async fn offset() {}

// What is wrong with the expression is not said once more of the options beside it.
#[task(cron = "0 3 * * MOON", tz = "Europe/Paris", overlap = skip)]
async fn said_once() {}

const NIGHTLY: &str = "0 3 * * *";

#[task(cron = NIGHTLY)]
async fn by_a_constant() {}

fn main() {
    // The tasks themselves are there.
    let _ = (wrong_field::new(), city::new(), NIGHTLY);
}
