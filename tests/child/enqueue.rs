//! An enqueuer.

use std::io::{self, Write};

use queue::{BoxError, Call};

use crate::flags::Flags;
use crate::tasks::{mixed_priority, work};

/// Enqueues the jobs `--from` to `--to`, `--batch` at a time, and prints the number and id of each once the storage has
/// acknowledged it.
pub(crate) async fn enqueue(flags: &Flags) -> Result<(), BoxError> {
    let client = queue::connect(&flags.url()?).await?;
    let (from, to, batch) = (flags.number("from", 0)?, flags.number("to", 0)?, flags.number("batch", 1)?);
    let mixed = flags.has("mixed-priorities");
    let mut jobs = (from..to).peekable();
    while jobs.peek().is_some() {
        let numbers: Vec<u64> = jobs.by_ref().take(batch).collect();
        let calls: Vec<_> = numbers.iter().map(|job| call(*job, mixed)).collect();
        let handles = match <[Call<work>; 1]>::try_from(calls) {
            Ok([only]) => vec![only.enqueue(&client).await?],
            Err(several) => client.enqueue_all(several).await?,
        };
        let mut out = io::stdout().lock();
        for (job, handle) in numbers.iter().zip(handles) {
            writeln!(out, "{job} {}", handle.id())?;
        }
    }
    Ok(())
}

fn call(job: u64, mixed: bool) -> Call<work> {
    let call = work::new(job, [0; 3]);
    if mixed { call.priority(mixed_priority(job)) } else { call }
}
