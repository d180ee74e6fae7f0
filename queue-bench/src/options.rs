//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::target;

/// Measures the queue.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs one measure and prints one line.
    Run(Run),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    /// Where the jobs are: `memory:`, `sqlite://PATH`, or `sqlite:` for a temporary file.
    #[arg(long, value_name = "URL", value_parser = target::known)]
    pub(crate) storage: String,
    /// What is measured.
    #[arg(long)]
    pub(crate) measure: Measure,
    /// How many jobs; `idle` has none. Default 50000, `latency` 1000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    jobs: Option<u64>,
    /// How many jobs the worker runs at once; for `enqueue-concurrent`, how many callers there are. Default 100, callers
    /// 64.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// The length of each job's argument, a text.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(crate) payload: usize,
    /// How long `idle` looks on.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// One caller enqueues one job after the other.
    Enqueue,
    /// Several callers enqueue one job after the other, each.
    EnqueueConcurrent,
    /// One caller enqueues 1,000 jobs at a time.
    EnqueueBulk,
    /// A worker runs jobs that were all enqueued before it started.
    Drain,
    /// From the call of `enqueue` to the start of the task, with a worker that sleeps.
    Latency,
    /// A sleeping worker runs jobs that are all due at one moment.
    ScheduleBurst,
    /// What a worker costs that has nothing to do.
    Idle,
}

impl Measure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::EnqueueConcurrent => "enqueue-concurrent",
            Self::EnqueueBulk => "enqueue-bulk",
            Self::Drain => "drain",
            Self::Latency => "latency",
            Self::ScheduleBurst => "schedule-burst",
            Self::Idle => "idle",
        }
    }
}

impl Run {
    pub(crate) fn jobs(&self) -> u64 {
        let usual = match self.measure {
            Measure::Idle => return 0,
            Measure::Latency => 1_000,
            _ => 50_000,
        };
        self.jobs.unwrap_or(usual)
    }

    /// Of the worker, or of the callers.
    pub(crate) fn concurrency(&self) -> u32 {
        let usual = match self.measure {
            Measure::Enqueue | Measure::EnqueueBulk => return 1,
            Measure::EnqueueConcurrent => 64,
            _ => 100,
        };
        self.concurrency.unwrap_or(usual)
    }

    pub(crate) fn look_on(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(args: &[&str]) -> String {
        let all = ["queue-bench", "run"].iter().chain(args);
        Options::try_parse_from(all).unwrap_err().to_string()
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for measure in Measure::value_variants() {
            assert_eq!(measure.to_possible_value().unwrap().get_name(), measure.name());
        }
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        let error = refusal(&["--storage", "memory:", "--measure", "speed"]);
        assert!(Measure::value_variants().iter().all(|measure| error.contains(measure.name())), "{error}");
        let error = refusal(&["--storage", "redis://h", "--measure", "drain"]);
        assert!(["memory:", "sqlite://PATH", "sqlite:"].iter().all(|url| error.contains(url)), "{error}");
    }
}
