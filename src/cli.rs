//! The worker as a program, on the storages that this program has (feature `cli`): command line, signals, logs, systemd,
//! health.
//!
//! ```no_run
//! # #[cfg(feature = "macros")] mod program {
//! use queue::{TaskError, Worker, task, tasks};
//!
//! #[task(retries = 3)]
//! async fn send_email(to: String) -> Result<(), TaskError> {
//!     println!("to {to}");
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     queue::cli::run(|client| Worker::builder(client).tasks(tasks![send_email])).await
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! `worker --help` tells the rest: how many jobs at once, which queues, where the log goes. Where the jobs are is said by
//! `--url` or by the environment, as [`connect_from_env`] reads it.

use std::process::ExitCode;

pub use queue_cli::{Exit, IntoBuilder, LogError, NoClient, Program, log_from_env};

use crate::{Client, ConnectError, connect, connect_from_env};

/// The whole of a worker's `main`: reads the command line, connects, builds the worker with `build`, and runs it until it
/// is asked to stop. `build` returns a [`WorkerBuilder`](crate::WorkerBuilder) or a `Result` of one.
///
/// Asked a second time to stop, it ends the process itself, with code 3: a job that keeps its thread would keep the process
/// otherwise.
///
/// ```no_run
/// # use queue::{BoxError, TaskList, Worker};
/// # async fn example() -> std::process::ExitCode {
/// queue::cli::run(|client| {
///     let key = std::env::var("MAIL_KEY")?;
///     Ok(Worker::builder(client).tasks(TaskList::new()).data(key))
/// })
/// .await
/// # }
/// ```
pub async fn run<B: IntoBuilder>(build: impl FnOnce(&Client) -> B + 'static) -> ExitCode {
    program(build).main().await
}

/// The same for a worker that takes awaiting to build, a pool of connections say: `async |client: &Client| …`.
///
/// ```no_run
/// # use queue::{BoxError, Client, TaskList, Worker};
/// # async fn pool() -> Result<u8, BoxError> { Ok(1) }
/// # async fn example() -> std::process::ExitCode {
/// queue::cli::run_async(async |client: &Client| {
///     let pool = pool().await?;
///     Ok(Worker::builder(client).tasks(TaskList::new()).data(pool))
/// })
/// .await
/// # }
/// ```
pub async fn run_async<B: IntoBuilder>(build: impl AsyncFnOnce(&Client) -> B + 'static) -> ExitCode {
    Program::building(connected, build).main().await
}

/// What [`run`] runs, to be given a name, words or another reason to stop, and never ending the process itself.
///
/// ```
/// # #[cfg(feature = "macros")] mod example {
/// use queue::cli::Exit;
/// use queue::{TaskError, Worker, task, tasks};
///
/// #[task]
/// async fn ping() -> Result<(), TaskError> {
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] pub async fn main() {
/// let program = queue::cli::program(|client| Worker::builder(client).tasks(tasks![ping])).name("pinger");
/// let exit = program.args(["--url", "memory:", "--workers", "2", "--quiet"]).until(async {}).run().await;
/// assert_eq!(exit, Exit::Well);
/// # } }
/// # #[cfg(feature = "macros")] example::main();
/// ```
pub fn program<B: IntoBuilder>(build: impl FnOnce(&Client) -> B + 'static) -> Program {
    Program::new(connected, build)
}

/// Connects to what `--url` names, else to what the environment does.
async fn connected(url: Option<String>) -> Result<Client, NoClient> {
    let connected = match url {
        Some(url) => connect(&url).await,
        None => connect_from_env().await,
    };
    connected.map_err(|error: ConnectError| match error.storage() {
        Some(storage) if !storage.is_invalid() => NoClient::storage(error),
        _ => NoClient::usage(error),
    })
}
