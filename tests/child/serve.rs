//! A worker.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use queue::{BoxError, Client, Worker, tasks};

use crate::flags::Flags;
use crate::tasks::{Effects, cling, fold, folds, heed, hold, leaf, meet, poison, step, tick, ticking, work};

/// Prints the worker's id, and runs jobs until it is asked to stop, or, with `--until-idle`, until no job is live.
pub(crate) async fn serve(flags: &Flags) -> Result<(), BoxError> {
    let client = queue::connect(flags.url()?).await?;
    let millis = |key, default| flags.number(key, default).map(Duration::from_millis);
    let mut builder = Worker::builder(&client)
        .tasks(tasks![work, hold, heed, cling, poison, leaf, step, fold, folds, meet, tick])
        .data(effects(flags)?)
        .concurrency(flags.number("concurrency", 16)?)
        .lease(millis("lease-ms", 10_000)?)
        .grace(millis("grace-ms", 25_000)?)
        .poll_every(millis("poll-ms", 10_000)?);
    if flags.has("crash-limit") {
        builder = builder.crash_limit(match flags.text("crash-limit")? {
            "off" => None,
            _ => Some(flags.number("crash-limit", 0)?),
        });
    }
    for millis in flags.list("every-ms") {
        let millis = millis.parse()?;
        builder = builder.schedule(ticking(millis, Duration::from_millis(millis)));
    }
    for queue in flags.list("queues") {
        builder = builder.queue(queue);
    }
    let worker = builder.build()?;
    println!("{}", worker.id());
    if flags.has("until-idle") {
        worker.run_until(idle(&client)).await?;
    } else {
        worker.run().await?;
    }
    Ok(())
}

/// The log that the tests judge by.
pub(crate) fn effects(flags: &Flags) -> Result<Effects, BoxError> {
    effects_in(&flags.dir()?, flags.text("name")?.to_owned())
}

/// The same in this folder, under this name.
pub(crate) fn effects_in(dir: &Path, name: String) -> Result<Effects, BoxError> {
    let log = OpenOptions::new().create(true).append(true).open(dir.join("effects.log"))?;
    Ok(Effects { log, gates: dir.join("gates"), name })
}

/// Waits until every job has ended.
async fn idle(client: &Client) {
    while client.counts("default").await.map_or(true, |counts| counts.live() > 0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
