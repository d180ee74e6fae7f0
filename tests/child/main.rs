//! A process to kill: `queue-test-child worker|enqueue --key value …`, or `program` with the options of a worker's program.
//! It is driven by `it/processes`.

mod enqueue;
mod flags;
mod program;
mod serve;
mod tasks;

use std::process::ExitCode;

use flags::Flags;
use queue::BoxError;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode, BoxError> {
    let mut args = std::env::args().skip(1);
    let mode = args.next().ok_or("which mode? worker, enqueue or program")?;
    if mode == "program" {
        return Ok(program::run(args).await);
    }
    // Whatever a user would see as trouble comes on stderr, where a test can look for it.
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let flags = Flags::parse(args)?;
    match mode.as_str() {
        "worker" => serve::serve(&flags).await?,
        "enqueue" => enqueue::enqueue(&flags).await?,
        other => return Err(format!("`{other}` is no mode: worker, enqueue or program").into()),
    }
    Ok(ExitCode::SUCCESS)
}
