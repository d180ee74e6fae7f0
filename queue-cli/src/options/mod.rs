//! The command line, and the variables that say the same.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use queue_core::QueueName;

use crate::duration;

const EXAMPLES: &str = "\
Examples:
  {name} --workers 4 --verbose
  {name} --queues mail,default            mail first, default while mail is empty
  {name} --queues mail=3,reports=1        both, mail three times as often
  {name} --url redis://db:6379 --logfile /var/log/worker.log --log-format json
  {name} --check                          what it would run, and whether it can

Each option but the actions may be said by the variable behind it; what the command line says wins, and an empty variable
counts as not set. RUST_LOG sets the log's level for each module, as `info,my_app=debug`.";

const MORE: &str = "\
Where the jobs are, without --url:
  QUEUE_URL       a URL; else
  ENVIRONMENT     `development` (default): the SQLite file QUEUE_DB (default queue.db)
                  `production`: Redis at REDIS_HOST, with REDIS_PORT, REDIS_DB, REDIS_USERNAME, REDIS_PASSWORD, REDIS_TLS
  QUEUE_NAMESPACE keeps applications apart that share a file or a server

Signals:
  TERM, INT       claim no more, let running jobs finish within the shutdown timeout, give back the others
  a second one    stop at once: running jobs are dropped and given back
  HUP             open the log file anew

Exit codes:
  0  stopped as asked, or nothing found by --check
  1  the storage can't be reached or refuses, or the health port can't be had
  2  what it was told is wrong: the command line, a variable, the log file, the worker
  3  stopped at once";

/// Runs background jobs until it is asked to stop.
#[derive(Clone, Debug, Default, Parser)]
#[command(about = "Runs background jobs until it is asked to stop", disable_version_flag = true, max_term_width = 120)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct Options {
    /// How many jobs run at once
    ///
    /// [env: QUEUE_WORKERS] [default: what the program says, else ten for each core]
    #[arg(short, long, value_name = "N", help_heading = "Jobs", value_parser = workers)]
    pub(crate) workers: Option<u32>,

    /// Serve these queues and no others, in this order; `mail=3` gives weights instead. May be repeated
    ///
    /// Once one of them has a weight all of them have one, 1 where none is said, and the order says nothing
    ///
    /// [env: QUEUE_QUEUES] [default: what the program says, else `default`]
    #[arg(long, value_name = "NAME[=WEIGHT],…", help_heading = "Jobs", value_delimiter = ',', value_parser = served)]
    pub(crate) queues: Vec<Served>,

    /// Carry out schedules
    ///
    /// [env: QUEUE_PERIODIC=true|false] [default: yes]
    #[arg(long, help_heading = "Jobs", conflicts_with = "no_periodic")]
    periodic: bool,

    /// Carry out no schedules: other workers do
    #[arg(long, help_heading = "Jobs")]
    no_periodic: bool,

    /// How long running jobs may go on once it is asked to stop, as `25s` or `1m30s`
    ///
    /// [env: QUEUE_SHUTDOWN_TIMEOUT] [default: what the program says, else 25s]
    #[arg(long, value_name = "TIME", help_heading = "Jobs", value_parser = duration::parse)]
    pub(crate) shutdown_timeout: Option<Duration>,

    /// Taken for the sake of other job runners; changes nothing, for jobs are tokio tasks
    ///
    /// [env: QUEUE_WORKER_TYPE]
    #[arg(short = 'k', long, value_name = "TYPE", help_heading = "Jobs", value_enum)]
    pub(crate) worker_type: Option<WorkerType>,

    /// Where the jobs are, as `sqlite://jobs.db` or `redis://host:6379`
    ///
    /// [env: QUEUE_URL, or ENVIRONMENT and others, as told below]
    #[arg(long, value_name = "URL", help_heading = "Storage")]
    pub(crate) url: Option<String>,

    /// Log what the framework does inside, too: the level debug for it
    ///
    /// [env: QUEUE_VERBOSE]
    #[arg(short, long, help_heading = "Log", conflicts_with = "quiet")]
    verbose: bool,

    /// Log trouble only: the level warn
    ///
    /// [env: QUEUE_QUIET]
    #[arg(short, long, help_heading = "Log")]
    quiet: bool,

    /// Append the log to this file instead of writing it to the standard error
    ///
    /// [env: QUEUE_LOGFILE]
    #[arg(short, long, value_name = "PATH", help_heading = "Log")]
    pub(crate) logfile: Option<PathBuf>,

    /// The form of the log: lines for people, or one JSON object a line
    ///
    /// [env: QUEUE_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORM", help_heading = "Log", value_enum)]
    pub(crate) log_format: Option<LogFormat>,

    /// Answer `/livez` and `/readyz` at this address, as `127.0.0.1:8081`
    ///
    /// [env: QUEUE_HEALTH_ADDR] [default: nowhere]
    #[arg(long, value_name = "ADDRESS", help_heading = "Health", value_parser = address)]
    pub(crate) health_addr: Option<SocketAddr>,

    /// Connect, build the worker, say what it would run and all that is wrong, and end
    ///
    /// To connect makes a SQLite file that is not there yet
    #[arg(long, help_heading = "Actions")]
    pub(crate) check: bool,

    /// Print the version
    #[arg(short = 'V', long, help_heading = "Actions", action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// A queue, and its weight if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) name: QueueName,
    pub(crate) weight: Option<u32>,
}

/// What other job runners run jobs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkerType {
    Thread,
    Process,
    Greenlet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Quiet,
    Usual,
    Verbose,
}

impl Options {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// They are wrong, or ask for help or the version: clap says which.
    pub(crate) fn parse_from(
        name: &str,
        version: String,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let examples = EXAMPLES.replace("{name}", name);
        let long = format!("{examples}\n\n{MORE}");
        let mut command = Self::command().name(name.to_owned()).bin_name(name).version(version);
        command = command.after_help(examples).after_long_help(long);
        let mut matches = command.try_get_matches_from_mut(std::iter::once(OsString::from(name)).chain(args))?;
        Self::from_arg_matches_mut(&mut matches)
    }

    /// Takes from the variables what the command line has not said.
    ///
    /// # Errors
    /// Everything that is wrong with them, each a sentence.
    pub(crate) fn or_env(mut self, lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Vec<String>> {
        let mut env = Env { lookup, problems: Vec::new() };
        self.workers = self.workers.or_else(|| env.read("QUEUE_WORKERS", workers));
        if self.queues.is_empty() {
            self.queues = env.read("QUEUE_QUEUES", |text| text.split(',').map(served).collect()).unwrap_or_default();
        }
        if self.periodic().is_none() {
            let told = env.read("QUEUE_PERIODIC", truth);
            (self.periodic, self.no_periodic) = (told == Some(true), told == Some(false));
        }
        self.shutdown_timeout = self.shutdown_timeout.or_else(|| env.read("QUEUE_SHUTDOWN_TIMEOUT", duration::parse));
        self.worker_type = self.worker_type.or_else(|| env.read("QUEUE_WORKER_TYPE", one_of));
        self.take_log(&mut env);
        self.health_addr = self.health_addr.or_else(|| env.read("QUEUE_HEALTH_ADDR", address));
        self.queues = weighed(self.queues);
        env.none_or(self)
    }

    /// What the variables say of the log, and nothing else.
    ///
    /// # Errors
    /// As [`or_env`](Self::or_env).
    pub(crate) fn log_of_env(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Vec<String>> {
        let (mut options, mut env) = (Self::default(), Env { lookup, problems: Vec::new() });
        options.take_log(&mut env);
        env.none_or(options)
    }

    fn take_log(&mut self, env: &mut Env<impl Fn(&str) -> Option<OsString>>) {
        if self.amount() == Amount::Usual {
            self.verbose = env.read("QUEUE_VERBOSE", truth).unwrap_or_default();
            self.quiet = env.read("QUEUE_QUIET", truth).unwrap_or_default();
            if self.verbose && self.quiet {
                env.problems.push("QUEUE_VERBOSE and QUEUE_QUIET are both on: unset one of them".to_owned());
            }
        }
        self.logfile = self.logfile.take().or_else(|| env.raw("QUEUE_LOGFILE").map(PathBuf::from));
        self.log_format = self.log_format.or_else(|| env.read("QUEUE_LOG_FORMAT", one_of));
    }

    /// Whether schedules are carried out, if anyone said.
    pub(crate) fn periodic(&self) -> Option<bool> {
        (self.periodic || self.no_periodic).then_some(self.periodic)
    }

    pub(crate) fn amount(&self) -> Amount {
        match (self.quiet, self.verbose) {
            (true, _) => Amount::Quiet,
            (false, true) => Amount::Verbose,
            (false, false) => Amount::Usual,
        }
    }
}

/// The variables, and what is wrong with them.
struct Env<F> {
    lookup: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<OsString>> Env<F> {
    fn raw(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    fn read<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = self.raw(name)?;
        let text = value.to_string_lossy();
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.problems.push(format!("the variable {name} is `{text}`: {why}"));
                None
            }
        }
    }

    fn none_or(self, options: Options) -> Result<Options, Vec<String>> {
        if self.problems.is_empty() { Ok(options) } else { Err(self.problems) }
    }
}

/// The queues with a weight each, if any has one: else one without would starve behind them, or they behind it.
fn weighed(mut queues: Vec<Served>) -> Vec<Served> {
    if queues.iter().any(|served| served.weight.is_some()) {
        queues.iter_mut().for_each(|served| served.weight = served.weight.or(Some(1)));
    }
    queues
}

fn workers(text: &str) -> Result<u32, String> {
    let number = text.trim().parse::<NonZero<u32>>();
    number.map(NonZero::get).map_err(|_| "write how many jobs run at once, at least 1".to_owned())
}

fn served(text: &str) -> Result<Served, String> {
    let (name, weight) = text.trim().split_once('=').map_or((text.trim(), None), |(name, weight)| (name, Some(weight)));
    let weight = weight.map(|weight| weight.trim().parse::<NonZero<u32>>()).transpose();
    let weight = weight.map_err(|_| format!("the weight of queue `{name}` is a number from 1 on, as `{name}=3`"))?;
    let name = QueueName::new(name.trim()).map_err(|error| error.to_string())?;
    Ok(Served { name, weight: weight.map(NonZero::get) })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| "write an address and a port, as `127.0.0.1:8081` or `[::]:8081`".to_owned())
}

fn truth(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("write `true` or `false`".to_owned()),
    }
}

fn one_of<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text.trim(), true).map_err(|_| {
        let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<_> = values.map(|value| format!("`{}`", value.get_name())).collect();
        format!("write one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests;
