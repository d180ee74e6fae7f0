use queue::{Failed, TaskError, group, join, task};

#[task]
async fn number(n: u64) -> Result<u64, TaskError> {
    Ok(n)
}

#[task]
async fn text(n: u64) -> Result<String, TaskError> {
    Ok(n.to_string())
}

#[task]
async fn sum(all: Vec<u64>) -> Result<u64, TaskError> {
    Ok(all.iter().sum())
}

#[task]
async fn pair(both: (u64, String)) -> Result<String, TaskError> {
    Ok(both.1)
}

#[task]
async fn alert(failed: Failed, channel: String) -> Result<(), TaskError> {
    let _ = (failed, channel);
    Ok(())
}

fn plain(n: u64) -> u64 {
    n
}

fn main() {
    // Unlike outputs where like ones are needed.
    let _ = group([number::new(1u64), text::new(2u64)]);
    // The callback of a group takes a list of what its members return.
    let _ = group([text::new(1u64)]).then(sum::after());
    // Two outputs where three were joined, and in another order.
    let _ = join((number::new(1u64), text::new(2u64), number::new(3u64))).then(pair::after());
    let _ = join((text::new(2u64), number::new(1u64))).then(pair::after());
    // Something that is no task.
    let _ = group([plain(1)]);
    let _ = number::new(1u64).then(plain);
    // The step after one that tells how it ended takes a result.
    let _ = number::new(1u64).settled().then(text::after());
    // A handler takes what failed.
    let _ = number::new(1u64).on_failure(text::after());
    let _ = number::new(1u64).on_complete(alert::after("ops"));
}
