//! What does not follow a call, and members of two types.

use queue::{TaskError, group, task};

#[task]
async fn fetch(url: String) -> Result<String, TaskError> {
    Ok(url)
}

#[task]
async fn length(text: String) -> Result<u64, TaskError> {
    Ok(text.len() as u64)
}

#[task]
async fn double(n: u64) -> Result<u64, TaskError> {
    Ok(n * 2)
}

async fn plain(text: String) -> usize {
    text.len()
}

fn main() {
    let fetched = || fetch::new("a.org");
    // Neither a task's name, nor its `new`, nor a function that is no task.
    let _ = fetched().then(length);
    let _ = fetched().then(length::new);
    let _ = fetched().then(plain);
    // A group can't follow: each of its members begins with the call that it would.
    let _ = fetched().then(group([length::new("a")]));
    // A call and a pipeline that return the same, in one list: `.into_flow()`.
    let _ = group([double::new(1u64), double::new(1u64).then(double::after())]);
    // Tasks that return different things: `join((a, b))`.
    let _ = group([fetch::new("a"), length::new("b")]);
}
