//! What a worker says of itself: in the log when it starts, and to whoever asks.

use std::fmt;

use super::line::Line;
use crate::engine::Engine;
use crate::handler::Registered;
use crate::keeper::reconciler::Defined;

/// One event for the worker, one for each task.
pub(super) fn show(engine: &Engine, lines: &[Line], schedules: &[Defined]) {
    let queues: Vec<_> = lines.iter().map(|line| line.shard.to_string()).collect();
    tracing::info!(
        worker = %engine.id,
        storage = %engine.client.location(),
        queues = %queues.join(", "),
        concurrency = engine.config.concurrency,
        lease = ?engine.config.lease.length,
        tasks = engine.registry.tasks().len(),
        schedules = schedules.len(),
        "worker starts"
    );
    for one in schedules {
        tracing::info!("  schedule {}", Timed(one));
        let Defined { name, shard, .. } = one;
        if !ticks(lines, one) {
            tracing::warn!(
                schedule = %name, queue = %shard,
                "this worker does not serve the schedule's queue: it ticks where a worker does; add `.queue({:?})`",
                shard.queue.as_str()
            );
        }
    }
    for task in engine.registry.tasks() {
        tracing::info!("  task {}", Described(task));
        if !serves(lines, task) {
            tracing::warn!(
                task = task.name,
                queue = task.options.queue,
                "this worker does not serve the task's queue: its jobs wait until a worker does; add `.queue({:?})`",
                task.options.queue
            );
        }
    }
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
///   schedule nightly-cleanup (cleanup in queue default, cron 0 3 * * *, revision 1)
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
            write!(f, "\n  schedule {}{elsewhere}", Timed(one))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `nightly-cleanup (cleanup in queue default, cron 0 3 * * *, revision 1)`
struct Timed<'a>(&'a Defined);

impl fmt::Display for Timed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Defined { name, shard, definition, revision } = self.0;
        write!(f, "{name} ({} in queue {shard}, {}, revision {revision})", definition.call.task, definition.timing)
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
