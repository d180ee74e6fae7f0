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
    /// Runs jobs and tells what it does, until its standard input ends.
    #[command(hide = true)]
    Worker(Worker),
}

/// The process that runs the jobs of a measure with `--processes`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Worker {
    #[arg(long)]
    pub(crate) storage: String,
    #[arg(long)]
    pub(crate) concurrency: u32,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    /// Where the jobs are: `memory:`; `sqlite://PATH`, or `sqlite:` for a temporary file; `redis-server:` for a server of
    /// our own, `redis-server:aof` for one that writes every command to disk, or `redis://HOST:PORT`.
    #[arg(long, value_name = "URL", value_parser = target::known)]
    pub(crate) storage: String,
    /// What is measured.
    #[arg(long)]
    pub(crate) measure: Measure,
    /// How many jobs; `idle` has none. Default 50000, `latency` 1000, `memory` 100000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    jobs: Option<u64>,
    /// How many jobs the worker runs at once; for `enqueue-concurrent`, how many callers there are. Default 100, callers
    /// 64.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// The length of each job's argument, a text. Default 100, `memory` 120.
    #[arg(long, value_name = "BYTES")]
    payload: Option<usize>,
    /// Of the jobs that `drain` drains, so many in a hundred fail once and are retried at once.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) fails: Option<u8>,
    /// The jobs that `drain` drains return their argument, and the results are kept.
    #[arg(long)]
    pub(crate) results: bool,
    /// The jobs that `drain` drains are under fifty keys, of each of which so many run at once: with `--concurrency 100`,
    /// 5 never binds and 1 does.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// What `flows` measures.
    #[arg(long)]
    pub(crate) shape: Option<Shape>,
    /// The worker of `latency` is a process of its own.
    #[arg(long)]
    pub(crate) processes: bool,
    /// Tells of the commands that kept a server of our own busy for a millisecond or more.
    #[arg(long)]
    pub(crate) slowlog: bool,
    /// How long `idle` looks on.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// While `idle` looks on so many daily schedules are stored, none of which is due then.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) schedules: Option<u64>,
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
    /// Pipelines of three, one group with a callback, and pipelines that go from queue to queue: what they cost.
    Flows,
    /// What a waiting job takes, in the server's memory or in the file; no worker runs.
    Memory,
}

/// What jobs are tied into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// Pipelines of three steps.
    Pipeline,
    /// The same jobs, tied to nothing.
    Alone,
    /// One group, with a callback that gets what all members return.
    Group,
    /// Pipelines of two steps, the second in another queue.
    Across,
}

impl Shape {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Alone => "alone",
            Self::Group => "group",
            Self::Across => "across",
        }
    }
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
            Self::Flows => "flows",
            Self::Memory => "memory",
        }
    }
}

impl Run {
    pub(crate) fn jobs(&self) -> u64 {
        let usual = match self.measure {
            Measure::Idle => return 0,
            Measure::Latency => 1_000,
            Measure::Memory => 100_000,
            _ => 50_000,
        };
        self.jobs.unwrap_or(usual)
    }

    /// Of the worker, or of the callers.
    pub(crate) fn concurrency(&self) -> u32 {
        let usual = match self.measure {
            Measure::Enqueue | Measure::EnqueueBulk | Measure::Memory => return 1,
            Measure::EnqueueConcurrent => 64,
            _ => 100,
        };
        self.concurrency.unwrap_or(usual)
    }

    /// Bytes.
    pub(crate) fn payload(&self) -> usize {
        self.payload.unwrap_or(if self.measure == Measure::Memory { 120 } else { 100 })
    }

    pub(crate) fn look_on(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Why these options can't go together, if they can't.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let (drains, waits) = (self.measure == Measure::Drain, self.measure == Measure::Latency);
        let in_memory = self.storage.starts_with("memory:");
        let contradictions = [
            (self.fails.is_some() && !drains, "--fails is for --measure drain"),
            (self.results && !drains, "--results is for --measure drain"),
            (self.limit.is_some() && !drains, "--limit is for --measure drain"),
            (
                self.shape.is_some() != (self.measure == Measure::Flows),
                "--shape is for --measure flows, which needs it",
            ),
            (self.schedules.is_some() && self.measure != Measure::Idle, "--schedules is for --measure idle"),
            (
                self.schedules.is_some() && self.storage.starts_with("sqlite://"),
                "--schedules leaves them in the file, where they would tick for ever: use a temporary one, `sqlite:`",
            ),
            (self.processes && !waits, "--processes is for --measure latency"),
            (self.processes && in_memory, "no other process sees memory: use a file or a server with --processes"),
            (
                self.slowlog && !self.storage.starts_with("redis-server:"),
                "--slowlog sets the server's own log: it is for --storage redis-server:",
            ),
            (
                self.measure == Measure::Memory && in_memory,
                "what a job takes in this process can't be told from what else it holds: --measure memory is for a file \
                 or a server",
            ),
        ];
        contradictions.into_iter().find_map(|(holds, what)| holds.then_some(what))
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
        let error = refusal(&["--storage", "postgres://h", "--measure", "drain"]);
        let known = ["memory:", "sqlite://PATH", "sqlite:", "redis-server:", "redis-server:aof", "redis://HOST:PORT"];
        assert!(known.iter().all(|url| error.contains(url)), "{error}");
        assert!(refusal(&["--storage", "memory:", "--measure", "drain", "--fails", "101"]).contains("0..=100"));
    }

    fn parsed(line: &str) -> Run {
        match Options::try_parse_from(["queue-bench", "run", "--storage"].into_iter().chain(line.split(' ')))
            .unwrap()
            .command
        {
            Command::Run(run) => run,
            Command::Worker(_) => unreachable!("it was not asked for"),
        }
    }

    #[test]
    fn what_is_usual_depends_on_the_measure() {
        let usual = |line| {
            let run = parsed(line);
            (run.jobs(), run.concurrency(), run.payload())
        };
        assert_eq!(usual("memory: --measure drain"), (50_000, 100, 100));
        assert_eq!(usual("memory: --measure idle --jobs 5"), (0, 100, 100));
        assert_eq!(usual("redis-server: --measure memory --concurrency 9"), (100_000, 1, 120));
        assert_eq!(usual("redis-server: --measure memory --jobs 7 --payload 0"), (7, 1, 0));
    }

    #[test]
    fn options_that_say_nothing_are_refused() {
        let refused = |line, why: &str| parsed(line).contradiction().is_some_and(|said| said.contains(why));
        assert!(refused("memory: --measure latency --processes", "no other process"));
        assert!(refused("sqlite: --measure drain --processes", "for --measure latency"));
        assert!(refused("sqlite: --measure enqueue --fails 5", "--fails is for"));
        assert!(refused("sqlite: --measure latency --results", "--results is for"));
        assert!(refused("sqlite: --measure idle --limit 5", "--limit is for"));
        assert!(refused("sqlite: --measure drain --schedules 5", "--schedules is for"));
        assert!(refused("sqlite:///tmp/x --measure idle --schedules 5", "tick for ever"));
        assert!(refused("redis://h --measure drain --slowlog", "--slowlog sets"));
        assert!(refused("memory: --measure memory", "a file or a server"));
        let fine = [
            "memory: --measure drain --fails 5 --results",
            "redis-server:aof --measure latency --processes --slowlog",
            "sqlite: --measure memory",
            "sqlite: --measure idle --schedules 5",
        ];
        assert!(fine.iter().all(|line| parsed(line).contradiction().is_none()));
    }
}
