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
    retry_for = "10m",
    timeout = "1m30s",
    expires = "1h",
    deadline = "2h",
    tags = ["mail", "weekly"],
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
        .retry_for(Duration::from_secs(600))
        .timeout(Duration::from_secs(90))
        .expires(Duration::from_secs(3_600))
        .deadline(Duration::from_secs(7_200))
        .tags(&["mail", "weekly"])
        .keep(Duration::from_secs(86_400));
    assert_eq!(full::OPTIONS, options);
}

#[test]
fn what_backoff_leaves_out_is_the_engines_default() {
    #[task(retries = 1, backoff = fixed(5))]
    async fn fixed() {}
    #[task(retries = 1, backoff = exponential("250ms"), jitter = none)]
    async fn growing() {}
    #[task(retries = 1, backoff = exponential("1d", factor = 1.5, cap = "2d"), jitter = equal)]
    async fn slow() {}

    assert_eq!(fixed::OPTIONS.policy.backoff, Backoff::fixed(Duration::from_secs(5)));
    assert_eq!(growing::OPTIONS.policy.backoff, Backoff::exponential(Duration::from_millis(250)));
    assert_eq!(growing::OPTIONS.policy.jitter, Jitter::None);
    let day = Duration::from_secs(86_400);
    assert_eq!(slow::OPTIONS.policy.backoff, Backoff::Exponential { base: day, factor: 1.5, cap: day * 2 });
    assert_eq!(slow::OPTIONS.policy.jitter, Jitter::Equal);
}

#[test]
fn every_backoff_has_its_form() {
    #[task(retries = 1, backoff = linear("2s", step = "3s", cap = "1m"))]
    async fn linear() {}
    #[task(retries = 1, backoff = linear("2s"))]
    async fn linear_by_itself() {}
    #[task(retries = 1, backoff = list("2s", "10s", "1m"))]
    async fn listed() {}
    #[task(retries = 1, backoff = ["2s", "10s"],)]
    async fn bare_list() {}
    #[task(retries = 1, backoff = delays::squared)]
    async fn by_function() {}

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }
    mod delays {
        pub(super) fn squared(attempt: u32) -> std::time::Duration {
            std::time::Duration::from_secs(u64::from(attempt * attempt))
        }
    }
    let backoff = |options: TaskOptions| options.policy.backoff;
    assert_eq!(backoff(linear::OPTIONS), Backoff::Linear { base: secs(2), step: secs(3), cap: secs(60) });
    assert_eq!(backoff(linear_by_itself::OPTIONS), Backoff::linear(secs(2), secs(2)));
    assert_eq!(backoff(listed::OPTIONS), Backoff::list(&[secs(2), secs(10), secs(60)]));
    assert_eq!(backoff(bare_list::OPTIONS), Backoff::list(&[secs(2), secs(10)]));
    assert_eq!(by_function::OPTIONS.backoff_fn.unwrap().0(3), secs(9));
    assert_eq!(by_function::OPTIONS.backoff(Backoff::DEFAULT), TaskOptions::DEFAULT.retries(1));
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
