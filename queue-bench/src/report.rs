//! What a measure says.

use std::collections::BTreeMap;
use std::fmt;

use queue::BoxError;
use serde::Serialize;

use crate::meter::Spent;
use crate::options::{Run, Shape};
use crate::probe::{Slow, Snapshot};
use crate::times::Times;

/// One line. What does not apply to a measure is left out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    measure: &'static str,
    storage: String,
    jobs: u64,
    concurrency: u32,
    payload: usize,
    /// The options that change what is measured.
    #[serde(flatten)]
    variant: Variant,
    seconds: f64,
    #[serde(flatten)]
    figures: Figures,
    /// The start of the slowest command.
    #[serde(skip_serializing_if = "Option::is_none")]
    slowest: Option<String>,
    /// Calls to the storage, by method.
    calls: BTreeMap<String, u64>,
    /// Commands that the server ran, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    commands: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Serialize)]
struct Variant {
    #[serde(skip_serializing_if = "Option::is_none")]
    fails: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedules: Option<u64>,
}

/// Declares the figures with their units and digits.
macro_rules! figures {
    ($($name:ident: $unit:literal, $digits:literal;)*) => {
        /// What was measured.
        #[derive(Clone, Debug, Default, Serialize)]
        struct Figures {
            $(#[serde(skip_serializing_if = "Option::is_none")] $name: Option<f64>,)*
        }

        impl fmt::Display for Figures {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(if let Some(figure) = self.$name {
                    write!(f, " | {figure:.*} {}", $digits, $unit)?;
                })*
                Ok(())
            }
        }
    };
}

figures! {
    jobs_per_s: "jobs/s", 0;
    schedules_per_s: "schedules stored/s", 0;
    first_ms: "ms to the first", 3;
    p50_ms: "ms p50", 3;
    p99_ms: "ms p99", 3;
    requests_per_job: "requests/job", 3;
    commands_per_job: "commands/job", 2;
    redis_cpu_us_per_job: "us Redis CPU/job", 2;
    client_cpu_us_per_job: "us CPU/job", 2;
    bytes_per_job: "bytes/job", 1;
    requests_per_s: "requests/s", 2;
    commands_per_s: "commands/s", 2;
    redis_cpu_us_per_s: "us Redis CPU/s", 0;
    client_cpu_us_per_s: "us CPU/s", 0;
    slow_commands: "slow commands", 0;
    slowest_us: "us the slowest", 0;
}

impl Report {
    /// What was spent on the run's jobs; per second where there are none.
    pub(crate) fn of(run: &Run, storage: &str, seconds: f64, here: Spent, server: Option<Snapshot>) -> Self {
        let jobs = run.jobs();
        let per_job = |figure: f64| (jobs > 0).then(|| figure / jobs as f64);
        let per_second = |figure: f64| (jobs == 0).then(|| figure / seconds);
        // Where there is no server, a call is a request.
        let requests = server.as_ref().map_or_else(|| here.calls.values().sum(), Snapshot::requests) as f64;
        let (commands, redis) = server.as_ref().map(|it| (it.total() as f64, it.cpu_us())).unzip();
        let client = here.cpu_us();
        let figures = Figures {
            jobs_per_s: (jobs > 0).then(|| jobs as f64 / seconds),
            requests_per_job: per_job(requests),
            commands_per_job: commands.and_then(per_job),
            redis_cpu_us_per_job: redis.and_then(per_job),
            client_cpu_us_per_job: per_job(client),
            requests_per_s: per_second(requests),
            commands_per_s: commands.and_then(per_second),
            redis_cpu_us_per_s: redis.and_then(per_second),
            client_cpu_us_per_s: per_second(client),
            ..Figures::default()
        };
        Self {
            measure: run.measure.name(),
            storage: storage.to_owned(),
            jobs,
            concurrency: run.concurrency(),
            payload: run.payload(),
            variant: Variant {
                fails: run.fails,
                results: run.results.then_some(true),
                processes: run.processes.then_some(2),
                shape: run.shape.map(Shape::name),
                schedules: run.schedules,
            },
            seconds,
            figures,
            slowest: None,
            calls: here.calls,
            commands: server.map(Snapshot::into_commands).unwrap_or_default(),
        }
    }

    pub(crate) fn with(mut self, times: &Times) -> Self {
        (self.figures.p50_ms, self.figures.p99_ms) = (Some(times.at(0.5)), Some(times.at(0.99)));
        self
    }

    pub(crate) fn since_due(mut self, times: &Times) -> Self {
        self.figures.first_ms = Some(times.at(0.0));
        self.with(times)
    }

    /// Of jobs that came one at a time, with pauses: how many there were in a second says nothing.
    pub(crate) fn without_rate(mut self) -> Self {
        self.figures.jobs_per_s = None;
        self
    }

    /// Adds what another process of ours spent on the same jobs.
    pub(crate) fn with_spent(mut self, other: Spent) -> Self {
        let per_job = |figure: f64| figure / self.jobs as f64;
        let figures = &mut self.figures;
        figures.client_cpu_us_per_job = figures.client_cpu_us_per_job.map(|us| us + per_job(other.cpu_us()));
        if self.commands.is_empty() {
            let calls = other.calls.values().sum::<u64>() as f64;
            figures.requests_per_job = figures.requests_per_job.map(|requests| requests + per_job(calls));
        }
        for (method, calls) in other.calls {
            *self.calls.entry(method).or_default() += calls;
        }
        self
    }

    /// Adds how many schedules were stored in a second beforehand.
    pub(crate) fn with_stored(mut self, per_second: Option<f64>) -> Self {
        self.figures.schedules_per_s = per_second;
        self
    }

    pub(crate) fn with_bytes(mut self, per_job: f64) -> Self {
        self.figures.bytes_per_job = Some(per_job);
        self
    }

    pub(crate) fn with_slow(mut self, slow: Slow) -> Self {
        self.figures.slow_commands = Some(slow.commands as f64);
        (self.figures.slowest_us, self.slowest) = slow.worst.map(|(us, what)| (us as f64, what)).unzip();
        self
    }

    pub(crate) fn json(&self) -> Result<String, BoxError> {
        Ok(serde_json::to_string(self)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measure, storage, jobs, concurrency, seconds, .. } = self;
        write!(f, "{measure} on {storage}: {jobs} jobs, concurrency {concurrency}, {seconds:.2} s{}", self.figures)?;
        if let Some(slowest) = &self.slowest {
            write!(f, ": {slowest}")?;
        }
        Ok(())
    }
}
