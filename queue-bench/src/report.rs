//! What a measure says.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use queue::BoxError;
use serde::Serialize;

use crate::clock;
use crate::options::Run;
use crate::target::Target;

/// One line. What does not apply to a measure is left out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    measure: &'static str,
    storage: String,
    jobs: u64,
    concurrency: u32,
    payload: usize,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs_per_s: Option<f64>,
    /// From the moment the jobs were due to the first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_per_job: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cpu_us_per_job: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cpu_us_per_s: Option<f64>,
    /// Calls to the storage, by method.
    calls: BTreeMap<&'static str, u64>,
}

/// What stood when a measure began.
#[derive(Debug)]
pub(crate) struct Meter {
    at: Duration,
    cpu: Duration,
    calls: crate::counting::Calls,
}

impl Meter {
    pub(crate) fn start(target: &Target) -> Self {
        Self { calls: target.counting.calls(), cpu: clock::cpu(), at: clock::now() }
    }

    /// What was spent since, on so many jobs; per second where there are none.
    pub(crate) fn read(&self, run: &Run, target: &Target) -> Report {
        let seconds = (clock::now() - self.at).as_secs_f64();
        let cpu = (clock::cpu() - self.cpu).as_secs_f64() * 1e6;
        let calls = target.counting.calls().since(&self.calls);
        let jobs = run.jobs();
        let per_job = |figure: f64| (jobs > 0).then(|| figure / jobs as f64);
        let per_second = |figure: f64| (jobs == 0).then(|| figure / seconds);
        Report {
            measure: run.measure.name(),
            storage: target.url.clone(),
            jobs,
            concurrency: run.concurrency(),
            payload: run.payload,
            seconds,
            jobs_per_s: (jobs > 0).then(|| jobs as f64 / seconds),
            first_ms: None,
            p50_ms: None,
            p99_ms: None,
            calls_per_job: per_job(calls.total() as f64),
            client_cpu_us_per_job: per_job(cpu),
            calls_per_s: per_second(calls.total() as f64),
            client_cpu_us_per_s: per_second(cpu),
            calls: calls.by_method(),
        }
    }
}

impl Report {
    pub(crate) fn with(mut self, times: &Times) -> Self {
        (self.p50_ms, self.p99_ms) = (Some(times.at(0.5)), Some(times.at(0.99)));
        self
    }

    pub(crate) fn since_due(mut self, times: &Times) -> Self {
        self.first_ms = Some(times.at(0.0));
        self.with(times)
    }

    /// Of jobs that came one at a time, with pauses: how many there were in a second says nothing.
    pub(crate) fn without_rate(mut self) -> Self {
        self.jobs_per_s = None;
        self
    }

    pub(crate) fn json(&self) -> Result<String, BoxError> {
        Ok(serde_json::to_string(self)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measure, storage, jobs, concurrency, seconds, .. } = self;
        write!(f, "{measure} on {storage}: {jobs} jobs, concurrency {concurrency}, {seconds:.2} s")?;
        let figures = [
            (self.jobs_per_s, "jobs/s", 0),
            (self.first_ms, "ms to the first", 3),
            (self.p50_ms, "ms p50", 3),
            (self.p99_ms, "ms p99", 3),
            (self.calls_per_job, "calls/job", 3),
            (self.client_cpu_us_per_job, "us CPU/job", 2),
            (self.calls_per_s, "calls/s", 2),
            (self.client_cpu_us_per_s, "us CPU/s", 0),
        ];
        for (figure, unit, digits) in figures {
            if let Some(figure) = figure {
                write!(f, " | {figure:.digits$} {unit}")?;
            }
        }
        Ok(())
    }
}

/// Times, counted.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Result<Self, BoxError> {
        // Three digits, and as many powers of two as it takes.
        Ok(Self(Histogram::new(3)?))
    }

    pub(crate) fn add(&mut self, time: Duration) {
        // It grows as it must, so nothing is refused.
        self.0 += u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The time below which this share of them is, in milliseconds.
    fn at(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_milliseconds() {
        let mut times = Times::new().unwrap();
        (1..=100).for_each(|ms| times.add(Duration::from_millis(ms)));
        assert_eq!(times.len(), 100);
        assert!((times.at(0.5) - 50.0).abs() < 0.1 && (times.at(0.99) - 99.0).abs() < 0.1);
    }
}
