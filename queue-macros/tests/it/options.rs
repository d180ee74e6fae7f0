//! The options of the attribute.

use std::time::Duration;

use queue::{Backoff, Jitter, Task, TaskOptions, task};

#[task]
async fn plain() {}

#[task(
    name = "mail.send",
    aliases = ["send_mail", "mail"],
    queue = "mail",
    priority = -5,
    retries = 3,
    backoff = exponential("2s", factor = 3, cap = "1h"),
    jitter = full,
    timeout = "1m30s",
    keep = 86_400,
)]
async fn full() {}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!((plain::NAME, plain::ALIASES, plain::OPTIONS), ("plain", &[][..], TaskOptions::DEFAULT));
}

#[test]
fn every_option_arrives() {
    assert_eq!(full::NAME, "mail.send");
    assert_eq!(full::ALIASES, ["send_mail", "mail"]);
    let cap = Duration::from_secs(3_600);
    let options = TaskOptions::DEFAULT
        .queue("mail")
        .priority(-5)
        .retries(3)
        .backoff(Backoff::Exponential { base: Duration::from_secs(2), factor: 3.0, cap })
        .jitter(Jitter::Full)
        .timeout(Duration::from_secs(90))
        .keep(Duration::from_secs(86_400));
    assert_eq!(full::OPTIONS, options);
}

#[test]
fn what_backoff_leaves_out_is_the_engines_default() {
    #[task(backoff = fixed(5))]
    async fn fixed() {}
    #[task(backoff = exponential("250ms"), jitter = none)]
    async fn growing() {}
    #[task(backoff = exponential("1d", factor = 1.5, cap = "2d"), jitter = equal)]
    async fn slow() {}

    assert_eq!(fixed::OPTIONS.policy.backoff, Backoff::fixed(Duration::from_secs(5)));
    assert_eq!(growing::OPTIONS.policy.backoff, Backoff::exponential(Duration::from_millis(250)));
    assert_eq!(growing::OPTIONS.policy.jitter, Jitter::None);
    let day = Duration::from_secs(86_400);
    assert_eq!(slow::OPTIONS.policy.backoff, Backoff::Exponential { base: day, factor: 1.5, cap: day * 2 });
    assert_eq!(slow::OPTIONS.policy.jitter, Jitter::Equal);
}

#[test]
fn at_most_once_stands_alone() {
    #[task(at_most_once, retries = 0)]
    async fn charge() {}
    assert_eq!(charge::OPTIONS, TaskOptions::DEFAULT.at_most_once());
}

#[test]
fn a_task_knows_its_place() {
    let (file, line) = full::PLACE.rsplit_once(':').unwrap();
    assert!(file.ends_with("options.rs"), "{file}");
    assert_eq!(line, "10");
}
