//! What a worker says of itself: in the log when it starts, and to whoever asks.

use std::fmt;

use queue_cron::TimeZone;
use queue_storage::model::Timestamp;

use super::line::Line;
use crate::engine::Engine;
use crate::handler::Registered;
use crate::keeper::reconciler::Defined;
use crate::periodic::Definition;

/// One event for the worker, one for each task and each schedule.
pub(super) fn show(engine: &Engine, lines: &[Line], schedules: &[Defined]) {
    let queues: Vec<_> = lines.iter().map(|line| line.shard.to_string()).collect();
    tracing::info!(
        worker = %engine.id,
        storage = %engine.client.location(),
        queues = %queues.join(", "),
        concurrency = engine.config.concurrency,
        lease_seconds = engine.config.lease.length.as_secs_f64(),
        tasks = engine.registry.tasks().len(),
        schedules = schedules.len(),
        "worker starts"
    );
    schedules.iter().for_each(|one| show_schedule(engine, lines, one));
    engine.registry.tasks().iter().for_each(|task| show_task(lines, task));
}

fn show_schedule(engine: &Engine, lines: &[Line], one: &Defined) {
    let Defined { name, shard, definition, revision } = one;
    let (zone, next) = (zone(definition), next(engine, definition));
    tracing::info!(
        schedule = %name, task = %definition.call.task, queue = %shard, timing = %definition.timing,
        zone = zone.map(tracing::field::display), next = next.map(tracing::field::display), revision,
        "{}", if engine.config.periodic { "schedule defined" } else { "schedule defined: periodic is off here" }
    );
    if !ticks(lines, one) {
        tracing::warn!(
            schedule = %name, queue = %shard,
            "this worker does not serve the schedule's queue: it ticks where a worker does; add `.queue({:?})`",
            shard.queue.as_str()
        );
    }
}

fn show_task(lines: &[Line], task: &Registered) {
    let options = &task.options;
    tracing::info!(
        task = %task.name, queue = %options.queue, priority = options.priority, retries = options.policy.retries,
        timeout_seconds = options.timeout.map(|timeout| timeout.as_secs_f64()),
        at_most_once = options.at_most_once.then_some(true),
        also = (!task.aliases.is_empty()).then(|| tracing::field::display(task.aliases.join(", "))),
        "task known"
    );
    if !serves(lines, task) {
        tracing::warn!(
            task = task.name,
            queue = task.options.queue,
            "this worker does not serve the task's queue: its jobs wait until a worker does; add `.queue({:?})`",
            task.options.queue
        );
    }
}

/// On whose clock it goes, if on any.
fn zone(definition: &Definition) -> Option<TimeZone> {
    (!definition.timing.is_interval()).then(|| definition.timing.zone())
}

/// Its first tick from now on by what the code says; what is stored of it may say otherwise.
fn next(engine: &Engine, definition: &Definition) -> Option<Timestamp> {
    definition.after(engine.clock().now())
}

fn serves(lines: &[Line], task: &Registered) -> bool {
    lines.iter().any(|line| line.shard.queue.as_str() == task.options.queue)
}

fn ticks(lines: &[Line], schedule: &Defined) -> bool {
    lines.iter().any(|line| line.shard == schedule.shard)
}

/// A worker in lines for people: what [`Worker::description`](crate::Worker::description) returns.
///
/// ```text
/// storage      memory:
/// queues       mail, default (weight 3), reports (weight 1)
/// concurrency  20
/// lease        10s
///   task send_email (queue mail, priority 100, 3 retries, timeout 90s)
///   schedule nightly-cleanup (cleanup in queue default, 0 3 * * *, zone UTC, revision 1, next 2026-03-01T03:00:00.000Z)
/// ```
#[derive(Clone, Copy)]
pub struct Description<'a> {
    engine: &'a Engine,
    lines: &'a [Line],
    schedules: &'a [Defined],
}

impl<'a> Description<'a> {
    pub(super) fn new(engine: &'a Engine, lines: &'a [Line], schedules: &'a [Defined]) -> Self {
        Self { engine, lines, schedules }
    }

    /// What this worker knows and leaves to others, for it does not serve its queue: a sentence for each task and each
    /// schedule, none where all is served.
    ///
    /// ```
    /// # use queue_core::{Client, Context, Task, TaskError, TaskList, Worker};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Add;
    /// # impl Task for Add { type Output = (); const NAME: &'static str = "add";
    /// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
    /// let worker = Worker::builder(&Client::memory()).tasks(TaskList::new().with::<Add>()).queue("mail").build()?;
    /// let left = worker.description().left_to_others();
    /// assert_eq!(left, ["task `add`: its queue `default` is not served here, so its jobs wait for a worker that serves it"]);
    /// # Ok::<(), queue_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn left_to_others(&self) -> Vec<String> {
        let tasks = self.engine.registry.tasks().iter().filter(|task| !serves(self.lines, task)).map(|task| {
            let (name, queue) = (task.name, task.options.queue);
            format!(
                "task `{name}`: its queue `{queue}` is not served here, so its jobs wait for a worker that serves it"
            )
        });
        // Where schedules are off, that is what was asked for.
        let carried_out = if self.engine.config.periodic { self.schedules } else { &[] };
        let schedules = carried_out.iter().filter(|one| !ticks(self.lines, one)).map(|one| {
            let Defined { name, shard, .. } = one;
            format!("schedule `{name}`: its queue `{shard}` is not served here, so it ticks where a worker serves it")
        });
        tasks.chain(schedules).collect()
    }

    fn queues(&self) -> String {
        let weighted = |line: &Line| self.lines.iter().filter(|other| other.tier == line.tier).count() > 1;
        let queues = self.lines.iter().map(|line| match weighted(line) {
            true => format!("{} (weight {})", line.shard, line.weight),
            false => line.shard.to_string(),
        });
        queues.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.engine.config;
        writeln!(f, "storage      {}", self.engine.client.location())?;
        writeln!(f, "queues       {}", self.queues())?;
        writeln!(f, "concurrency  {}", config.concurrency)?;
        write!(f, "lease        {:?}", config.lease.length)?;
        for task in self.engine.registry.tasks() {
            let elsewhere = if serves(self.lines, task) { "" } else { ": not served here" };
            write!(f, "\n  task {}{elsewhere}", Described(task))?;
        }
        for one in self.schedules {
            let elsewhere = match (config.periodic, ticks(self.lines, one)) {
                (false, _) => ": periodic is off here",
                (true, false) => ": not served here",
                (true, true) => "",
            };
            write!(f, "\n  schedule {}{elsewhere}", Timed(self.engine, one))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `nightly-cleanup (cleanup in queue default, 0 3 * * *, zone UTC, revision 1, next 2026-03-01T03:00:00.000Z)`
struct Timed<'a>(&'a Engine, &'a Defined);

impl fmt::Display for Timed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(engine, Defined { name, shard, definition, revision }) = self;
        write!(f, "{name} ({} in queue {shard}, {}", definition.call.task, definition.timing)?;
        if let Some(zone) = zone(definition) {
            write!(f, ", zone {zone}")?;
        }
        write!(f, ", revision {revision}")?;
        match next(engine, definition) {
            Some(next) => write!(f, ", next {next})"),
            None => f.write_str(", never again)"),
        }
    }
}

/// `send_email (queue mail, priority 100, 3 retries, timeout 90s)`
struct Described<'a>(&'a Registered);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.0.options;
        write!(f, "{} (queue {}, priority {}, ", self.0.name, options.queue, options.priority)?;
        match options.policy.retries {
            1 => f.write_str("1 retry")?,
            n => write!(f, "{n} retries")?,
        }
        if let Some(timeout) = options.timeout {
            write!(f, ", timeout {timeout:?}")?;
        }
        if options.at_most_once {
            f.write_str(", at most once")?;
        }
        if !self.0.aliases.is_empty() {
            write!(f, ", also {}", self.0.aliases.join(", "))?;
        }
        f.write_str(")")
    }
}
