//! What a worker says of itself in the log when it starts.

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
        let Defined { name, shard, definition, revision } = one;
        tracing::info!(
            "  schedule {name} ({} in queue {shard}, {}, revision {revision})",
            definition.call.task,
            definition.timing
        );
        if !lines.iter().any(|line| line.shard == *shard) {
            tracing::warn!(
                schedule = %name, queue = %shard,
                "this worker does not serve the schedule's queue: it ticks where a worker does; add `.queue({:?})`",
                shard.queue.as_str()
            );
        }
    }
    for task in engine.registry.tasks() {
        tracing::info!("  task {}", Described(task));
        if !lines.iter().any(|line| line.shard.queue.as_str() == task.options.queue) {
            tracing::warn!(
                task = task.name,
                queue = task.options.queue,
                "this worker does not serve the task's queue: its jobs wait until a worker does; add `.queue({:?})`",
                task.options.queue
            );
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
