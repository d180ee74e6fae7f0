//! `cron`, `every` and what goes with them say what `Periodic` says.

use std::time::Duration;

use queue::{Client, Missed, Overlap, Periodic, Task, TaskOptions, Worker, task, tasks};

const MINUTE: Duration = Duration::from_secs(60);

fn options(periodic: Periodic) -> TaskOptions {
    TaskOptions::DEFAULT.periodic(periodic)
}

#[task(
    cron = "0 */2 * * *",
    tz = "Europe/Paris",
    missed = skip("10m"),
    overlap = cancel_running,
    tick_jitter = "30s",
    revision = 2
)]
async fn full() {}

#[task(every = "5m", missed = all(1_000), overlap = skip)]
async fn interval() {}

#[test]
fn every_option_arrives() {
    let said = Periodic::cron("0 */2 * * *")
        .tz("Europe/Paris")
        .missed(Missed::Skip { tolerance: 10 * MINUTE })
        .overlap(Overlap::CancelRunning)
        .jitter(MINUTE / 2)
        .revision(2);
    assert_eq!(full::OPTIONS, options(said));
    let said = Periodic::every(5 * MINUTE).missed(Missed::All(1_000)).overlap(Overlap::Skip);
    assert_eq!(interval::OPTIONS, options(said));
}

#[test]
fn what_is_left_out_is_the_engines_default() {
    #[task(cron = "@daily", missed = skip, overlap = allow)]
    async fn said() {}
    #[task(cron = "@daily")]
    async fn unsaid() {}

    let default = options(Periodic::cron("@daily"));
    assert_eq!((said::OPTIONS, unsaid::OPTIONS), (default, default));
}

#[test]
fn an_expression_may_have_seconds_and_a_zone_of_its_own() {
    #[task(cron = "CRON_TZ=Asia/Tokyo */10 30 9 * * MON-FRI", missed = last)]
    async fn trading() {}
    #[task(every = "1ms", tick_jitter = 0)]
    async fn often() {}

    let expression = "CRON_TZ=Asia/Tokyo */10 30 9 * * MON-FRI";
    assert_eq!(trading::OPTIONS, options(Periodic::cron(expression).missed(Missed::Last)));
    assert_eq!(often::OPTIONS, options(Periodic::every(Duration::from_millis(1))));
}

/// What the macro takes for left out is left out in what a worker decodes: it builds, or says of which argument it can't.
#[test]
fn arguments_that_may_be_left_out_are() {
    const fn a_month() -> u32 {
        30
    }

    #[task(cron = "0 3 * * *")]
    async fn defaults(
        #[serde(default)] dry: bool,
        #[serde(default = "a_month", rename = "days")] keep_days: u32,
        since: Option<String>,
        #[serde(serialize_with = "serde::Serialize::serialize")] until: Option<u64>,
        #[serde(default, with = "as_is")] limit: Option<u64>,
        #[serde(default, flatten)] rest: Option<Rest>,
        _ctx: queue::Context,
    ) {
        let _ = (dry, keep_days, since, until, limit, rest);
    }

    let client = Client::memory();
    let worker = Worker::builder(&client).tasks(tasks![defaults, full, interval]).build();
    assert!(worker.is_ok(), "{}", worker.unwrap_err());
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Rest {
    more: u8,
}

mod as_is {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        Option::deserialize(from)
    }
}
