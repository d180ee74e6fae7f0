//! What else stands on a function, and where functions stand.

#![deny(unfulfilled_lint_expectations)]

use queue::{Call, Client, Task, task, tasks};

#[task(args = Greet)]
async fn greet(name: String) -> Result<String, String> {
    Ok(format!("hello {name}"))
}

/// One file for one task: the module has the function's name, so the struct has another.
mod greet_all {
    use queue::task;

    #[task(args = GreetAll)]
    pub(crate) async fn greet_all(names: Vec<String>) -> Result<usize, String> {
        Ok(names.len())
    }
}

use greet_all::{GreetAll, greet_all};

#[tokio::test]
async fn the_struct_may_have_another_name() {
    assert_eq!((Greet::NAME, GreetAll::NAME), ("greet", "greet_all"));
    let client = Client::immediate(tasks![Greet, GreetAll]).build().unwrap();
    let job = Greet::new("you").enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap().unwrap(), "hello you");
    assert_eq!(greet_all(vec![]).await.unwrap(), 0);
}

#[task]
#[cfg(not(test))]
async fn gated(to: NoSuchType, #[inject] data: NorThis) -> Result<NotEven, This> {}

#[task]
#[cfg(test)]
async fn gated(to: String) {
    drop(to);
}

/// rustc does so before it calls the macro, wherever the attribute stands.
#[test]
fn cfg_gates_every_item() {
    let _: Call<gated> = gated::new("a");
}

#[task]
#[deprecated = "use `greet`"]
async fn old(#[serde(default)] name: String) -> Result<String, String> {
    Ok(name)
}

#[test]
#[expect(deprecated, reason = "this is the test")]
fn a_deprecated_struct_says_so_to_who_calls_it() {
    let _ = old::new("a");
}

#[test]
#[expect(deprecated, reason = "this is the test")]
fn a_deprecated_function_does_too() {
    drop(old("a".into()));
}

mod framework {
    pub(crate) use queue as reexported;
}

#[task(crate = crate::items::framework::reexported)]
async fn through_a_path(text: String) -> Result<String, String> {
    Ok(text)
}

#[test]
fn the_library_may_have_another_path() {
    let _: Call<through_a_path> = through_a_path::new("a");
}

/// A user's macro may write tasks; its types come in invisible delimiters.
macro_rules! tasks_of {
    ($($name:ident($argument:ident: $type:ty) -> $output:ty;)*) => {$(
        #[task(queue = "macro")]
        async fn $name($argument: $type, path: $crate::items::Local) -> Result<$output, String> {
            let _ = path;
            $argument.try_into().map_err(|_| String::from("no"))
        }
    )*};
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Local;

tasks_of! {
    narrow(number: u32) -> u8;
    words(text: String) -> String;
}

#[tokio::test]
async fn macros_may_write_tasks() {
    let client = Client::immediate(tasks![narrow, words]).build().unwrap();
    let job = narrow::new(7, Local).enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap(), Some(7));
    let job = words::new("a", Local).enqueue(&client).await.unwrap();
    assert_eq!(job.result().await.unwrap().unwrap(), "a");
}
