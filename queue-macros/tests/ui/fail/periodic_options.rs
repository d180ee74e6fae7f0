//! Options of periodic tasks with values they don't take, and where they mean nothing.

use queue::task;

#[task(cron = "0 3 * * *", every = "1d")]
async fn two_timings() {}

#[task(tz = "Europe/Paris")]
async fn zone_alone() {}

#[task(overlap = skip, missed = last)]
async fn details_alone() {}

#[task(every = "5m", tz = "Europe/Paris")]
async fn interval_in_a_zone() {}

#[task(cron = "CRON_TZ=Europe/Berlin 0 3 * * *", tz = "Europe/Paris")]
async fn two_zones() {}

#[task(every = "0s")]
async fn no_interval() {}

#[task(every = "300us")]
async fn too_short() {}

#[task(every = "5m", missed = some_word)]
async fn unknown_policy() {}

#[task(every = "5m", missed = all)]
async fn all_of_how_many() {}

#[task(every = "5m", missed = all(0))]
async fn none() {}

#[task(every = "5m", missed = all(1001))]
async fn too_many() {}

#[task(every = "5m", missed = skip("0s"))]
async fn always_too_late() {}

#[task(every = "5m", missed = last("10m"))]
async fn last_of_when() {}

#[task(every = "5m", overlap = queue)]
async fn unknown_overlap() {}

#[task(every = "5m", revision = "2")]
async fn text_for_number() {}

fn main() {}
