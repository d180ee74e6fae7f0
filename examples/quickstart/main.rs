//! Real work through a real queue: counts the lines and words of files and digests them, a job for each file.
//!
//! ```text
//! cargo run --release --example quickstart -- [--storage URL] [--slow] [PATH…]
//! ```
//!
//! Without paths it takes the project's own documents. Jobs and results live in `jobs.db`: run it again, or kill it
//! half-way and run it again, and it goes on from there.

#![expect(unreachable_pub, reason = "an example reads better without `pub(crate)`")]

mod files;
mod options;
mod screen;
mod tasks;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use queue::{BoxError, Client, State, Worker, tasks};

use files::Work;
use options::Options;
use screen::Screen;
use tasks::{Pause, measure, moody};

/// A worker that is killed loses its leases this soon, so that the next run goes on quickly.
const LEASE: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new();
    match options::parse(std::env::args().skip(1)) {
        Ok(None) => screen.print(options::HELP).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Ok(Some(options)) => match quickstart(&options, &screen).await {
            Ok(()) => ExitCode::SUCCESS,
            // Whoever read our output has read enough.
            Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
            Err(error) => screen.fail(&error.to_string(), ExitCode::FAILURE),
        },
        Err(error) => screen.fail(&error, ExitCode::from(2)),
    }
}

async fn quickstart(options: &Options, screen: &Screen) -> Result<(), BoxError> {
    screen.log_to_it();
    let found = files::find(&options.paths)?;
    let client = queue::connect(&options.storage).await?;
    if found.is_empty() {
        screen.print("no files there: nothing to do")?;
        return Ok(());
    }
    let pause = Pause(if options.slow { Duration::from_millis(500) } else { Duration::ZERO });
    let worker = Worker::builder(&client).tasks(tasks![measure, moody]).data(pause).lease(LEASE).build()?;
    let work = Work::take_up(&client, found).await?;
    screen.print(&work.introduction(&client.location()))?;
    let moody = moody::new().enqueue(&client).await?;

    let (told, shutdown) = tokio::sync::oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run_until(async {
        tokio::select! {
            _ = shutdown => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }));
    let results = tokio::select! {
        results = work.results(screen) => results?,
        _ = tokio::signal::ctrl_c() => {
            worker.await??;
            screen.print("stopped: what is not done stays in the storage, run it again to go on")?;
            return Ok(());
        }
    };
    let greeting = moody.wait(Duration::from_secs(30)).await?;
    // The worker stops well: it settles what has ended before it says goodbye.
    let _ = told.send(());
    worker.await??;

    screen.print(&results.table())?;
    screen.print(&format!("\nThe moody job failed twice on purpose and then said: {greeting}"))?;
    screen.print(&tally(&client).await?)?;
    screen.print(&next_steps(&options.storage))?;
    Ok(())
}

/// The storage's own account: every job ever taken in has ended or is live.
async fn tally(client: &Client) -> Result<String, BoxError> {
    let counts = client.counts("default").await?;
    let ended = counts.ended;
    let (enqueued, live) = (counts.enqueued, counts.live());
    if enqueued != ended.total() + live {
        return Err(format!("the counts do not add up: {counts:?}").into());
    }
    Ok(format!(
        "In the storage: {enqueued} jobs ever enqueued = {} completed + {} dead + {live} live; {} running.",
        ended.completed,
        ended.dead,
        counts.of(State::Running)
    ))
}

fn next_steps(storage: &str) -> String {
    format!(
        "\nNext: run it again (results are kept for an hour, so only the moody job runs anew), or give it more to do, kill \
         it half-way and run it again:\n  cargo run --release --example quickstart -- --slow queue-core queue-storage\nThe \
         jobs are in {storage}. The tasks are 40 lines: examples/quickstart/tasks.rs. How it works: ARCHITECTURE.md."
    )
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
