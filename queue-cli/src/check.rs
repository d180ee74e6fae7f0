//! `--check`: what the worker would run, and everything that is wrong, without running it.

use std::net::SocketAddr;

use queue_core::{BoxError, BuildError, Client, WorkerBuilder};

use crate::building::NoClient;
use crate::exit::Exit;
use crate::{http1, say};

/// What is wrong, whether any of it is more than a storage that is away or a port that is taken, and what may be wrong.
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<String>,
    usage: bool,
    warnings: Vec<String>,
}

/// Says on the standard output what would run, and on the standard error what is wrong.
pub(crate) async fn check(
    connected: Result<Client, NoClient>,
    health: Option<SocketAddr>,
    build: impl AsyncFnOnce(Client) -> Result<WorkerBuilder, BoxError>,
) -> Exit {
    let mut findings = Findings::default();
    // Without a storage the rest can be looked at all the same.
    let client = match connected {
        Ok(client) => {
            if let Err(error) = client.ping().await {
                findings.problems.push(error.to_string());
            }
            client
        }
        Err(error) => {
            findings.usage |= error.is_usage();
            findings.problems.push(error.to_string());
            Client::memory()
        }
    };
    let away = !findings.problems.is_empty();
    if let Some(address) = health {
        findings.problems.extend(http1::listen(address).await.err());
    }
    match build(client).await.map(WorkerBuilder::build) {
        Ok(Ok(worker)) => {
            let description = worker.description();
            findings.warnings = description.left_to_others();
            // Without the storage that it would have, it has another.
            let lines = description.to_string();
            lines.lines().filter(|line| !away || !line.starts_with("storage ")).for_each(say::out);
        }
        Ok(Err(error)) => findings.builder(&error),
        Err(error) => {
            findings.usage = true;
            findings.problems.push(error.to_string());
        }
    }
    findings.report()
}

impl Findings {
    fn builder(&mut self, error: &BuildError) {
        self.usage = true;
        self.problems.extend_from_slice(error.problems());
    }

    fn report(&self) -> Exit {
        self.warnings.iter().for_each(|warning| say::err(format_args!("warning: {warning}")));
        match (&self.problems[..], self.warnings.len()) {
            ([], 0) => say::out("ok: nothing is wrong"),
            ([], 1) => say::out("ok, with 1 warning"),
            ([], several) => say::out(format_args!("ok, with {several} warnings")),
            ([only], _) => say::err(format_args!("error: {only}")),
            (several, _) => {
                say::err(format_args!("error: {} things are wrong:", several.len()));
                several.iter().for_each(|problem| say::err(format_args!("  - {problem}")));
            }
        }
        match (self.problems.is_empty(), self.usage) {
            (true, _) => Exit::Well,
            (false, false) => Exit::Failed,
            (false, true) => Exit::Usage,
        }
    }
}
