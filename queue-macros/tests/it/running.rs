//! How a worker runs what the macro wrote.

use std::thread;
use std::time::Duration;

use queue::{Client, Context, Data, Task, TaskError, TaskResultExt, task, tasks};

#[task]
fn blocking(wait: u64, ctx: Context, name: Data<String>) -> Result<String, std::io::Error> {
    Ok(format!("{wait} {} {} {}", ctx.attempt(), *name, thread::current().name().unwrap_or_default()))
}

#[task]
async fn nothing() {}

#[task]
fn nothing_blocking() {}

#[task]
async fn fatal(text: String) -> Result<u32, TaskError> {
    text.parse::<u32>().fatal()
}

#[task]
async fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err("boxed")?
}

mod elsewhere {
    pub(crate) type Result<T> = std::result::Result<T, std::fmt::Error>;
}

#[task]
async fn aliased() -> elsewhere::Result<u8> {
    Ok(1)
}

fn client() -> Client {
    let all = tasks![blocking, nothing, nothing_blocking, fatal, boxed, aliased];
    Client::immediate(all).data(String::from("data")).build().unwrap()
}

#[tokio::test]
async fn a_sync_function_runs_on_a_thread_of_its_own() {
    let here = thread::current().name().unwrap_or_default().to_owned();
    let job = blocking::new(1).enqueue(&client()).await.unwrap();
    let result = job.result().await.unwrap().unwrap();
    let there = result.strip_prefix("1 1 data ").unwrap();
    assert_ne!(there, here);
    let direct = blocking(1, Context::test(), Data::new("d".into())).unwrap();
    assert_eq!(direct, format!("1 1 d {here}"));
}

#[tokio::test]
async fn a_task_may_return_nothing() {
    let client = client();
    let (one, two) = (nothing::new().enqueue(&client).await, nothing_blocking::new().enqueue(&client).await);
    for job in [one.unwrap(), two.unwrap()] {
        let () = job.wait(Duration::from_secs(1)).await.unwrap();
    }
}

#[tokio::test]
async fn errors_keep_their_verdict() {
    let error = fatal { text: "x".into() }.run(Context::test()).await.unwrap_err();
    assert!(error.is_fatal());
    let error = boxed {}.run(Context::test()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_fatal()), ("boxed", false));
    assert_eq!(aliased {}.run(Context::test()).await.unwrap(), 1);
}
