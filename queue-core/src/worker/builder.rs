//! Builds a worker, and says everything that is wrong with it at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use queue_storage::model::{QueueName, Shard, WorkerId};
use queue_storage::storage::LeaseTerms;

use super::{Line, Worker};
use crate::client::Client;
use crate::data::{Data, DataMap};
use crate::engine::{Engine, Immediate, Registry, WorkerConfig};
use crate::handler::Registered;
use crate::list::TaskList;

/// Builds a [`Worker`].
#[must_use = "a builder does nothing until `.build()`"]
pub struct WorkerBuilder {
    client: Client,
    config: WorkerConfig,
    tasks: Vec<Registered>,
    data: DataMap,
    /// Types of data that were given more than once.
    twice: Vec<&'static str>,
    queues: Vec<(String, Option<u32>)>,
}

impl WorkerBuilder {
    pub(super) fn new(client: Client) -> Self {
        let (config, tasks, data) = (WorkerConfig::default(), Vec::new(), DataMap::default());
        Self { client, config, tasks, data, twice: Vec::new(), queues: Vec::new() }
    }

    /// Adds tasks it can run: `tasks![send_email, reports::build]`. Lists add up.
    pub fn tasks(mut self, list: TaskList) -> Self {
        self.tasks.extend(list.tasks);
        self
    }

    /// Hands a value to every task that takes a `Data<T>`.
    pub fn data<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.data_arc(Arc::new(value))
    }

    /// Hands a shared value to every task that takes a `Data<T>`; the way to a `Data<dyn Trait>`.
    pub fn data_arc<T: ?Sized + Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        if self.data.insert(Data::from_arc(value)) {
            self.twice.push(std::any::type_name::<T>());
        }
        self
    }

    /// Serves this queue. Queues are served in strict order of these calls: a later one only while the earlier are
    /// empty. Without any, the worker serves `default`.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queues.push((name.into(), None));
        self
    }

    /// Serves this queue beside the weighted ones named next to it: of slots that free up while all of them hold jobs,
    /// each gets its weight's share. At least 1.
    pub fn queue_weighted(mut self, name: impl Into<String>, weight: u32) -> Self {
        self.queues.push((name.into(), Some(weight)));
        self
    }

    /// How many jobs it runs at once. Default ten for each core.
    pub fn concurrency(mut self, jobs: u32) -> Self {
        self.config.concurrency = jobs;
        self
    }

    /// How long a claim lasts without being renewed: after a crash, its jobs run elsewhere this long after the last
    /// renewal. Renewed three times within it, from a thread of its own. Default 10 s.
    pub fn lease(mut self, length: Duration) -> Self {
        let terms = LeaseTerms::of(length);
        (self.config.lease.length, self.config.lease.renew_every) = (terms.length, terms.renew_every);
        self
    }

    /// How often a job may lose its worker before it is dead as crashed; `None` for any number. Default 3.
    ///
    /// With a limit, a process runs at most one job at a time whose last worker vanished.
    pub fn crash_limit(mut self, crashes: Option<u32>) -> Self {
        self.config.lease.crash_limit = crashes;
        self
    }

    /// How long running jobs may go on once the worker is asked to stop. What is left then is given back, and others
    /// run it. Default 25 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self
    }

    /// The longest an idle worker goes without looking for jobs; hints wake it earlier. Default 10 s.
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.config.poll_every = interval;
        self
    }

    /// Results above this many bytes are not stored, and their jobs die as unstorable. Default 1 MiB.
    pub fn result_limit(mut self, bytes: usize) -> Self {
        self.config.result_limit = bytes;
        self
    }

    /// How long completed jobs that returned something are kept, where neither task nor call says. Default 1 h.
    pub fn keep_results(mut self, keep: Duration) -> Self {
        self.config.keep_result = keep;
        self
    }

    /// How long completed jobs that returned nothing are kept, where neither task nor call says. Default 60 s.
    pub fn keep_traces(mut self, keep: Duration) -> Self {
        self.config.keep_trace = keep;
        self
    }

    /// How long dead letters are kept. Default 90 days.
    pub fn keep_dead(mut self, keep: Duration) -> Self {
        self.config.lease.keep_dead = keep;
        self
    }

    /// The worker.
    ///
    /// On an immediate client it becomes the one whose tasks run inside `enqueue`.
    ///
    /// # Errors
    /// [`BuildError`] lists *all* problems: tasks of one name, `Data` that tasks take and the worker was not given,
    /// settings and names that can't be.
    pub fn build(self) -> Result<Worker, BuildError> {
        let mut problems = self.config.problems();
        let lines = lines(&self.queues, &mut problems);
        let registry = Registry::new(self.tasks, &self.data, &mut problems);
        for name in &self.twice {
            problems
                .push(format!("`.data(..)` was called twice with a `{name}`: wrap one of them in a type of its own"));
        }
        if registry.tasks().is_empty() {
            problems.push("it has no tasks: call `.tasks(tasks![…])`".to_owned());
        }
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        let (client, data) = (self.client, Arc::new(self.data));
        let engine = Arc::new(Engine::new(WorkerId::generate(), client, self.config, Arc::new(registry), data));
        engine.client.attach(Arc::new(Immediate::of(&engine)));
        Ok(Worker { engine, lines })
    }
}

/// The shards to serve: each strict queue is a tier of its own, weighted ones named in a row share one.
fn lines(queues: &[(String, Option<u32>)], problems: &mut Vec<String>) -> Vec<Line> {
    let default = [("default".to_owned(), None)];
    let queues = if queues.is_empty() { &default[..] } else { queues };
    let mut lines: Vec<Line> = Vec::new();
    let (mut tier, mut weighted) = (0, false);
    for (name, weight) in queues {
        let queue = match QueueName::new(name) {
            Ok(queue) => queue,
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        if lines.iter().any(|line| line.shard.queue == queue) {
            problems.push(format!("queue `{queue}` is named twice"));
        }
        if *weight == Some(0) {
            problems.push(format!("queue `{queue}` has weight 0: it would never be served; give it at least 1"));
        }
        if !(lines.is_empty() || weighted && weight.is_some()) {
            tier += 1;
        }
        weighted = weight.is_some();
        lines.push(Line { shard: Shard::of(queue), tier, weight: weight.unwrap_or(1).max(1) });
    }
    lines
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("config", &self.config)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

/// Everything that keeps a worker from being built.
#[derive(Clone, Debug)]
pub struct BuildError {
    problems: Vec<String>,
}

impl BuildError {
    /// The problems, each a sentence.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problems[..] {
            [only] => write!(f, "the worker can't be built: {only}"),
            several => {
                write!(f, "the worker can't be built, for {} reasons:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for BuildError {}
