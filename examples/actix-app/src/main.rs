//! Users, payments and reports: a web application whose slow work runs in the background.
//!
//! ```text
//! actix-app            the web server and a worker, in one process
//! actix-app web        the web server alone
//! actix-app worker     a worker alone; `actix-app worker --help` tells its options
//! ```

mod answers;
mod routes;
mod tasks;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use actix_web::{App, HttpServer};
use queue::web::Web;
use queue::{BoxError, Client, Worker};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long an enqueue may take before the request is answered with 503.
const ENQUEUE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long requests may go on once the process is asked to stop, as long as jobs may.
const GRACE: Duration = Duration::from_secs(25);

#[tokio::main]
async fn main() -> ExitCode {
    let role = std::env::args().nth(1);
    let served = match role.as_deref() {
        None => serve(true).await,
        Some("web") => serve(false).await,
        Some("worker") => return work().await,
        Some(_) => {
            say(io::stderr(), format_args!("usage: actix-app [web | worker [OPTIONS]]"));
            return ExitCode::from(2);
        }
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(io::stderr(), format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A worker alone: command line, signals, log, systemd and health as `queue::cli` has them.
async fn work() -> ExitCode {
    let program = queue::cli::program(tasks::worker).name("actix-app worker").version(env!("CARGO_PKG_VERSION"));
    program.args(std::env::args_os().skip(2)).main().await
}

/// The web server, with or without a worker beside it, until the process is asked to stop.
async fn serve(with_worker: bool) -> Result<(), BoxError> {
    // The same log as the worker's, by the same variables.
    queue::cli::log_from_env()?;
    let client = queue::connect_from_env().await?;
    let client = client.to_builder().enqueue_timeout(ENQUEUE_TIMEOUT).build();
    let worker = with_worker.then(|| tasks::worker(&client).grace(GRACE).build()).transpose()?;

    let stop = asked_to_stop()?;
    let web = web(&client, &stop, worker.as_ref());
    let server = HttpServer::new(move || App::new().configure(routes::app(client.clone(), web.clone())));
    // The signals are ours, and a client that does not end its request does not keep the process.
    let server = server.disable_signals().shutdown_timeout(GRACE.as_secs());
    let (host, port) = address()?;
    let server = server.bind((&*host, port)).map_err(|error| no_port(&host, port, &error))?;
    say(io::stdout(), format_args!("listening on http://{}", server.addrs()[0]));
    let server = server.run();
    let handle = server.handle();
    let stopping = async {
        stop.cancelled().await;
        handle.stop(true).await;
        Ok::<_, BoxError>(())
    };
    let serving = async { Ok(server.await?) };
    let working = async {
        if let Some(worker) = worker {
            worker.run_until(stop.cancelled()).await?;
        }
        Ok(())
    };
    // Where one fails the others are dropped, and whoever started the process starts it again.
    tokio::try_join!(serving, stopping, working)?;
    Ok(())
}

/// The queue's API, read only, and what must be so for `/readyz` to answer 200 beside a storage that answers.
fn web(client: &Client, stop: &CancellationToken, worker: Option<&Worker>) -> Web {
    let stop = stop.clone();
    let web = Web::new(client).ready_when(move || if stop.is_cancelled() { Err("stopping".into()) } else { Ok(()) });
    let Some(readiness) = worker.map(Worker::readiness) else { return web };
    web.ready_when(move || if readiness.is_ready() { Ok(()) } else { Err("the worker does not run".into()) })
}

/// Where to listen: `HOST` and `PORT`; at port 0 wherever there is room.
fn address() -> Result<(String, u16), BoxError> {
    let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port = std::env::var("PORT").unwrap_or_else(|_| "8000".to_owned());
    let port = port.parse().map_err(|_| format!("PORT is `{port}`: it is a number from 0 to 65535"))?;
    Ok((host, port))
}

fn no_port(host: &str, port: u16, error: &io::Error) -> String {
    format!("can't listen at {host}:{port}, which HOST and PORT say: {error}")
}

/// Writes a line. That nobody reads any more is no reason to stop, as `println!` would.
fn say(mut to: impl io::Write, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(to, "{line}");
}

/// Cancelled by SIGTERM and by ctrl-c: the one word for all that runs here. Asked again, the process ends at once; its jobs
/// run elsewhere when their leases have run out.
fn asked_to_stop() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stops = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stops.is_cancelled() {
                std::process::exit(3);
            }
            tracing::info!("asked to stop");
            stops.cancel();
        }
    });
    Ok(stop)
}
