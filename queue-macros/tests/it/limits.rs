//! `unique`, `concurrency`, `rate` and `lock` say what the builders say.

use std::time::Duration;

use queue::storage::model::{Conflict, Limit as Stored, NewJob, WhenFull, Window};
use queue::{Client, Limit, Rate, Task, Unique, task};

const SECOND: Duration = Duration::from_secs(1);

#[task(unique)]
async fn by_all(a: String, b: u32) -> Result<(), String> {
    drop(a);
    Err(b.to_string())
}

#[task(unique(key = ["a"], until = started, conflict = reject), concurrency(5, key = "a", full = cancel))]
async fn by_one(a: String, b: u32) -> Result<(), String> {
    drop(a);
    Err(b.to_string())
}

#[task(unique(shared = "x", within = "10m", conflict = debounce), rate("100/s", burst = 5, cost = 2), lock = "ledger")]
async fn by_name() -> Result<(), String> {
    Ok(())
}

#[task(concurrency = 3, rate("1/10s", shared = "api"))]
async fn plain() -> Result<(), String> {
    Ok(())
}

#[test]
fn the_options_are_those_of_the_builders() {
    assert_eq!(by_all::OPTIONS.unique, Some(&Unique::args()));
    assert_eq!(by_one::OPTIONS.unique, Some(&Unique::by(&["a"]).until_started().or_reject()));
    assert_eq!(by_one::OPTIONS.limits, [Limit::concurrency_by(5, "a").or_cancel()]);
    let ten_minutes = Duration::from_secs(600);
    assert_eq!(by_name::OPTIONS.unique, Some(&Unique::key("x").within(ten_minutes).or_debounce()));
    let hundred = Limit::rate(Rate::per(SECOND, 100).burst(5)).cost(2);
    assert_eq!(by_name::OPTIONS.limits, [hundred, Limit::lock("ledger")]);
    let shared = Limit::rate(Rate::per(SECOND * 10, 1)).shared("api");
    assert_eq!(plain::OPTIONS.limits, [Limit::concurrency(3), shared]);
}

fn job<T: Task>(call: queue::Call<T>) -> NewJob {
    call.into_job(&Client::memory()).unwrap().1
}

#[test]
fn they_go_with_the_job() {
    let one = job(by_one::new("acme", 1));
    let unique = one.unique.unwrap();
    assert_eq!((unique.window, unique.conflict), (Window::Started, Conflict::Reject));
    assert_eq!(unique.key, job(by_one::new("acme", 2)).unique.unwrap().key);
    let slots = |key: &str, most, full| Stored::Slots { key: key.parse().unwrap(), most, full };
    assert_eq!(one.limits, [slots("arg:by_one:a:acme", 5, WhenFull::Cancel)]);
    let locked = job(plain::new().lock("ledger"));
    assert_eq!(locked.limits[2], slots("lock:ledger", 1, WhenFull::Wait));
    let again = job(by_all::new("x", 1).unique(Unique::args().or_run_after()));
    assert_eq!(again.limits, [slots(again.unique.unwrap().key.as_str(), 1, WhenFull::Wait)]);
}

#[tokio::test]
async fn another_gets_the_handle_of_the_first() {
    let client = Client::memory();
    let first = by_all::new("x", 1).enqueue(&client).await.unwrap();
    let second = by_all::new("x", 1).enqueue(&client).await.unwrap();
    assert_eq!((first.id(), first.is_existing()), (second.id(), false));
    assert!(second.is_existing());
    assert!(!by_all::new("x", 2).enqueue(&client).await.unwrap().is_existing());
    let many = client.enqueue_all([by_all::new("x", 1), by_all::new("y", 1), by_all::new("y", 1)]).await.unwrap();
    assert_eq!(many.iter().map(queue::JobHandle::is_existing).collect::<Vec<_>>(), [true, false, true]);
}

#[tokio::test]
async fn who_asks_for_it_is_refused() {
    let client = Client::memory();
    let first = by_one::new("x", 1).enqueue(&client).await.unwrap();
    let refused = by_one::new("x", 2).enqueue(&client).await.unwrap_err();
    assert!(refused.is_rejected() && !refused.is_unavailable());
    assert_eq!((refused.existing(), refused.code()), (Some(first.id()), "enqueue.rejected"));
    let message = format!("`by_one` was not enqueued: job {} holds its unique key; ", first.id());
    assert!(refused.to_string().starts_with(&message), "{refused}");
    let pipeline = by_one::new("x", 3).then(plain::new()).enqueue(&client).await.unwrap_err();
    assert!(pipeline.is_rejected());
    assert_eq!(client.counts("default").await.unwrap().enqueued, 1);
    let step = plain::new().then(by_all::new("x", 1)).enqueue(&client).await.unwrap_err();
    assert_eq!(step.code(), "enqueue.unique_step");
}
