//! Measures the queue through its public interface, and fails when what it measured did not happen as it should.

mod clock;
mod counting;
mod measure;
mod options;
mod progress;
mod report;
mod target;
mod tasks;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use queue::BoxError;

use options::{Command, Options, Run};
use target::Target;

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Run(run) = Options::parse().command;
    match measured(run).await {
        Ok(line) => {
            // Whoever reads our output may have read enough.
            let _ = writeln!(io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "queue-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measured(run: Run) -> Result<String, BoxError> {
    let target = Target::open(&run.storage).await?;
    // On the runtime's threads, where services enqueue, and not on the thread that started it.
    let (of, on) = (run.clone(), target.clone());
    let report = tokio::spawn(async move { measure::measure(&of, &on).await }).await?;
    target.close().await;
    let report = report?;
    if run.json { report.json() } else { Ok(report.to_string()) }
}
