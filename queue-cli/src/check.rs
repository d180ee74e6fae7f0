//! `--check`: what the worker would run, and everything that is wrong, without running it.

use queue_core::{BoxError, BuildError, Client, WorkerBuilder};

use crate::building::NoClient;
use crate::exit::Exit;
use crate::terminal::{complain, say};

/// What is wrong, and whether any of it is more than a storage that is away.
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<String>,
    usage: bool,
}

/// Says on the standard output what would run, and on the standard error what is wrong.
pub(crate) async fn check(
    connected: Result<Client, NoClient>,
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
    match build(client).await.map(WorkerBuilder::build) {
        Ok(Ok(worker)) => {
            let description = worker.description().to_string();
            // Without the storage that it would have, it has another.
            description.lines().filter(|line| !away || !line.starts_with("storage ")).for_each(say);
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
        match &self.problems[..] {
            [] => say("ok: nothing is wrong"),
            [only] => complain(&format!("error: {only}")),
            several => {
                complain(&format!("error: {} things are wrong:", several.len()));
                several.iter().for_each(|problem| complain(&format!("  - {problem}")));
            }
        }
        match (self.problems.is_empty(), self.usage) {
            (true, _) => Exit::Well,
            (false, false) => Exit::Failed,
            (false, true) => Exit::Usage,
        }
    }
}
