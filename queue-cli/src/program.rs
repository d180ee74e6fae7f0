//! The program: from the words of the command line to an exit code.

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use queue_core::{BoxError, Client, Readiness, Worker, WorkerBuilder};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::building::{IntoBuilder, NoClient};
use crate::exit::Exit;
use crate::health::{Health, Source, Text};
use crate::logging::{self, Log};
use crate::notify::Manager;
use crate::options::{LogFormat, Options};
use crate::signals::Signals;
use crate::{check, http1, say};

type Connect = Box<dyn FnOnce(Option<String>) -> LocalBoxFuture<'static, Result<Client, NoClient>>>;
type Metrics = Box<dyn FnOnce(&Client) -> Source>;
type Build = Box<dyn FnOnce(Client) -> LocalBoxFuture<'static, Result<WorkerBuilder, BoxError>>>;

/// A worker as a program: reads the command line, connects, builds the worker, and runs it until it is asked to stop.
///
/// ```
/// # use queue_cli::{Exit, NoClient, Program};
/// # use queue_core::{Client, Context, Task, TaskError, TaskList, Worker};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Add;
/// # impl Task for Add { type Output = (); const NAME: &'static str = "add";
/// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let tasks = TaskList::new().with::<Add>();
/// let connect = async |_url: Option<String>| Ok::<_, NoClient>(Client::memory());
/// let program = Program::new(connect, |client| Worker::builder(client).tasks(tasks)).args(["--workers", "4", "--check"]);
/// assert_eq!(program.run().await, Exit::Well);
/// # }
/// ```
#[must_use = "a program does nothing until `.run().await`"]
pub struct Program {
    connect: Connect,
    build: Build,
    name: Option<String>,
    version: Option<String>,
    args: Option<Vec<OsString>>,
    metrics: Option<Metrics>,
    until: LocalBoxFuture<'static, ()>,
    /// Whether it may end the process.
    is_main: bool,
}

impl Program {
    /// A program that connects with `connect`, which is given what `--url` says, and runs the worker that `build` returns:
    /// a [`WorkerBuilder`], or a `Result` of one. What the command line says overrides what `build` has set.
    pub fn new<B: IntoBuilder>(
        connect: impl AsyncFnOnce(Option<String>) -> Result<Client, NoClient> + 'static,
        build: impl FnOnce(&Client) -> B + 'static,
    ) -> Self {
        Self::building(connect, async move |client: &Client| build(client))
    }

    /// The same for a worker that takes awaiting to build: `async |client: &Client| …`.
    pub fn building<B: IntoBuilder>(
        connect: impl AsyncFnOnce(Option<String>) -> Result<Client, NoClient> + 'static,
        build: impl AsyncFnOnce(&Client) -> B + 'static,
    ) -> Self {
        Self {
            connect: Box::new(|url| connect(url).boxed_local()),
            build: Box::new(|client| async move { build(&client).await.into_builder() }.boxed_local()),
            name: None,
            version: None,
            args: None,
            metrics: None,
            until: std::future::pending().boxed_local(),
            is_main: false,
        }
    }

    /// What it is called in its help. Default the name of its file.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What `--version` prints: `env!("CARGO_PKG_VERSION")` say. The worker's own version is told with
    /// [`WorkerBuilder::version`]. Default that of this framework.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The words behind the program's name, in place of those of this process.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// Answers `/metrics` on the health port (`--health-addr`) with the text of what `source` makes for the client: in
    /// `queue-jobs`, `.metrics(|client| Metrics::new(client).source())`. Default none: `/metrics` is answered with 404.
    pub fn metrics<S: Fn() -> Text + Send + Sync + 'static>(
        mut self,
        source: impl FnOnce(&Client) -> S + 'static,
    ) -> Self {
        self.metrics = Some(Box::new(|client| Box::new(source(client))));
        self
    }

    /// A further reason to stop well, beside the signals.
    pub fn until(mut self, shutdown: impl Future<Output = ()> + 'static) -> Self {
        self.until = shutdown.boxed_local();
        self
    }

    /// Runs it to its end, and leaves the process alone. What goes wrong is written to the standard error or to the log.
    ///
    /// From its begin on, TERM and INT do not end the process by themselves any more, for tokio keeps them once anyone has
    /// listened.
    ///
    /// # Cancel safety
    /// As [`Worker::run_until`].
    pub async fn run(self) -> Exit {
        let options = match self.options() {
            Ok(options) => options,
            Err(exit) => return exit,
        };
        let log = match logging::install(&options, |name| std::env::var_os(name)) {
            Ok(log) => log,
            Err(problem) => return refused(&[problem]),
        };
        if options.check {
            let connected = (self.connect)(options.url.clone()).await;
            let build = async |client| Ok(overridden((self.build)(client).await?, &options));
            return check::check(connected, options.health_addr, build).await;
        }
        if let Log::File(file) = &log {
            say::err(format_args!("logging to {}", shown(file.path())));
        }
        match Box::pin(serve(self, &options, &log)).await {
            Ok(exit) => exit,
            Err(failure) => failure.told(&log),
        }
    }

    /// The same as all of `main`: what [`run`](Self::run) comes to is the exit code. It ends the process itself, for a job
    /// that keeps its thread would keep the process otherwise, deaf to every further signal; asked a third time, even if
    /// the runtime hangs.
    ///
    /// # Cancel safety
    /// As [`Worker::run_until`].
    pub async fn main(mut self) -> ExitCode {
        self.is_main = true;
        std::process::exit(self.run().await.code().into())
    }

    fn options(&self) -> Result<Options, Exit> {
        let mut words = std::env::args_os();
        let own = words.next();
        let own =
            own.as_ref().and_then(|path| Path::new(path).file_stem()).map(|name| name.to_string_lossy().into_owned());
        let name = self.name.clone().or(own).unwrap_or_else(|| "worker".to_owned());
        let version = self.version.clone().unwrap_or_else(|| format!("(queue {})", env!("CARGO_PKG_VERSION")));
        let args = self.args.clone().unwrap_or_else(|| words.collect());
        let options = Options::parse_from(&name, version, args).map_err(|error| {
            // To whom, if not even this can be written?
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Well }
        })?;
        options.or_env(|name| std::env::var_os(name)).map_err(|problems| refused(&problems))
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).field("args", &self.args).finish_non_exhaustive()
    }
}

/// Why it does not run.
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn of(exit: Exit, error: impl fmt::Display) -> Self {
        Self { exit, message: error.to_string() }
    }

    /// Tells whoever started the program, in the words of every error before it, and the log where that is another place.
    fn told(self, log: &Log) -> Exit {
        let (shown, logged) = match log {
            Log::Stderr(LogFormat::Text) => (true, false),
            // Programs read it, by the line.
            Log::Stderr(LogFormat::Json) | Log::Own => (false, true),
            Log::File(_) => (true, true),
        };
        if logged {
            tracing::error!("{}", self.message);
        }
        if shown {
            say::err(format_args!("error: {}", self.message));
        }
        self.exit
    }
}

async fn serve(program: Program, options: &Options, log: &Log) -> Result<Exit, Failure> {
    let failed = |what: &str, error: &dyn fmt::Display| Failure::of(Exit::Failed, format!("{what}: {error}"));
    let signals = Signals::listen(program.is_main).map_err(|error| failed("the system gives no signals", &error))?;
    let _reopening = reopening(log).map_err(|error| failed("the system gives no signals", &error))?;
    let listener = match options.health_addr {
        Some(address) => Some(listening(address).await?),
        None => None,
    };
    let shutdown = async {
        tokio::select! {
            () = signals.stop.cancelled() => {}
            () = program.until => {}
        }
    }
    .shared();
    let made = made(program.connect, program.build, program.metrics, options);
    let (client, worker, metrics) = tokio::select! {
        biased;
        () = shutdown.clone() => return Ok(Exit::Well),
        made = made => made?,
    };
    let readiness = worker.readiness();
    let _health = listener.map(|listener| {
        let health = Health::new(&client, readiness.clone(), metrics);
        let answer = move |request| {
            let health = health.clone();
            async move { health.answer(request).await }
        };
        AbortOnDropHandle::new(tokio::spawn(http1::serve(listener, answer)))
    });
    run(worker, &client, &readiness, shutdown, &signals).await
}

/// The client, the worker on it, and what tells the metrics of both: made first, so that they count from the beginning.
async fn made(
    connect: Connect,
    build: Build,
    metrics: Option<Metrics>,
    options: &Options,
) -> Result<(Client, Worker, Option<Source>), Failure> {
    let refused = |error: NoClient| Failure::of(if error.is_usage() { Exit::Usage } else { Exit::Failed }, error);
    let client = connect(options.url.clone()).await.map_err(refused)?;
    let metrics = metrics.map(|metrics| metrics(&client));
    let builder = build(client.clone()).await.map_err(|error| Failure::of(Exit::Usage, error))?;
    let worker = overridden(builder, options).build().map_err(|error| Failure::of(Exit::Usage, error))?;
    Ok((client, worker, metrics))
}

async fn run(
    worker: Worker,
    client: &Client,
    readiness: &Readiness,
    shutdown: impl Future<Output = ()>,
    signals: &Signals,
) -> Result<Exit, Failure> {
    let manager = Manager::from_env(|name| std::env::var_os(name)).unwrap_or_else(|problem| {
        tracing::warn!("{problem}");
        Manager::none()
    });
    let location = client.location();
    let running = worker.run_until_or(shutdown, signals.at_once.cancelled());
    let ended = tokio::select! {
        (ended, ()) = async { tokio::join!(running, manager.follow(readiness, &location)) } => ended,
        () = signals.gone.cancelled() => {
            tracing::warn!("asked a third time: ending without a word to the storage");
            return Ok(Exit::AtOnce);
        }
    };
    ended.map_err(|error| Failure::of(Exit::Failed, error))?;
    Ok(if signals.at_once.is_cancelled() { Exit::AtOnce } else { Exit::Well })
}

/// The builder with what the command line says, where it says anything.
fn overridden(mut builder: WorkerBuilder, options: &Options) -> WorkerBuilder {
    if let Some(kind) = options.worker_type {
        tracing::info!(
            "`--worker-type {}` changes nothing: jobs are tokio tasks in this process, as many at once as `--workers` \
             says, and those that block have threads of their own",
            format!("{kind:?}").to_lowercase()
        );
    }
    if let Some(workers) = options.workers {
        builder = builder.concurrency(workers);
    }
    if let Some(periodic) = options.periodic() {
        builder = builder.periodic(periodic);
    }
    if let Some(grace) = options.shutdown_timeout {
        builder = builder.grace(grace);
    }
    if !options.queues.is_empty() {
        builder = builder.no_queues();
    }
    options.queues.iter().fold(builder, |builder, served| match served.weight {
        Some(weight) => builder.queue_weighted(served.name.as_str(), weight),
        None => builder.queue(served.name.as_str()),
    })
}

async fn listening(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    let listener = http1::listen(address).await.map_err(|problem| Failure::of(Exit::Failed, problem))?;
    // Of port 0 the system chooses one.
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "health is answered");
    Ok(listener)
}

#[cfg(unix)]
fn reopening(log: &Log) -> std::io::Result<Option<AbortOnDropHandle<()>>> {
    let Log::File(file) = log else { return Ok(None) };
    Ok(Some(AbortOnDropHandle::new(tokio::spawn(file.reopen_on_hangup()?))))
}

#[cfg(not(unix))]
fn reopening(_: &Log) -> std::io::Result<()> {
    Ok(())
}

/// Tells what is wrong with what it was told.
fn refused(problems: &[String]) -> Exit {
    for problem in problems {
        say::err(format_args!("error: {problem}"));
    }
    Exit::Usage
}

fn shown(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
