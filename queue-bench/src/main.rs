//! Measures the queue through its public interface, and fails when what it measured did not happen as it should.

mod clock;
mod counting;
mod measure;
mod meter;
mod options;
mod probe;
mod progress;
mod report;
mod resp;
mod target;
mod tasks;
mod times;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use queue::BoxError;

use options::{Command, Options, Run};
use target::Target;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Run(run) => measured(run).await.map(|line| {
            // Whoever reads our output may have read enough.
            let _ = writeln!(io::stdout(), "{line}");
        }),
        Command::Worker(worker) => measure::serve(&worker).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "queue-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measured(run: Run) -> Result<String, BoxError> {
    if let Some(contradiction) = run.contradiction() {
        return Err(contradiction.into());
    }
    let target = Target::open(&run.storage, run.slowlog).await?;
    // On the runtime's threads, where services enqueue, and not on the thread that started it.
    let (of, on) = (run.clone(), target.clone());
    let report = tokio::spawn(async move { measure::measure(&of, &on).await }).await?;
    let closed = target.close().await;
    let report = report?;
    closed?;
    if run.json { report.json() } else { Ok(report.to_string()) }
}
