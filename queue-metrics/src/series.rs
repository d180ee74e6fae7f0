//! The series of queues and tasks: made once, then found again without making anything.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use metrics::{Counter, Histogram, Label};

use crate::names::{ATTEMPTS, DURATION, ENQUEUED, FINISHED, LEASE_LOST, RECLAIMED, WAIT};
use crate::sink::Sink;

/// The label of tasks above the limit.
const OTHER: &str = "_other";
/// The label of jobs whose task is not told.
const UNKNOWN: &str = "_unknown";

/// How a run, or a job, came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    Retried,
    Dead,
    Cancelled,
    Expired,
    Snoozed,
    Interrupted,
    Stalled,
}

impl Outcome {
    const NAMES: [&'static str; 8] =
        ["succeeded", "retried", "dead", "cancelled", "expired", "snoozed", "interrupted", "stalled"];

    /// Whether the job goes on.
    pub(crate) const fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Dead | Self::Cancelled | Self::Expired)
    }
}

/// Those of one task in one queue.
pub(crate) struct TaskSeries {
    labels: [Label; 2],
    pub(crate) enqueued: Counter,
    pub(crate) reclaimed: Counter,
    pub(crate) wait: Histogram,
    pub(crate) attempts: Histogram,
    /// By outcome. Told from the start, so that the first of them is an increase.
    finished: [Counter; Outcome::NAMES.len()],
    durations: [OnceLock<Histogram>; Outcome::NAMES.len()],
}

impl TaskSeries {
    fn new(sink: &Sink, queue: &str, task: &str) -> Self {
        let labels = [Label::new("queue", queue.to_owned()), Label::new("task", task.to_owned())];
        let these = || labels.to_vec();
        let finished = Outcome::NAMES.map(|name| sink.counter(&FINISHED, with_outcome(&labels, name)));
        Self {
            enqueued: sink.counter(&ENQUEUED, these()),
            reclaimed: sink.counter(&RECLAIMED, these()),
            wait: sink.histogram(&WAIT, these()),
            attempts: sink.histogram(&ATTEMPTS, these()),
            finished,
            durations: Default::default(),
            labels,
        }
    }

    pub(crate) fn finished(&self, outcome: Outcome) -> &Counter {
        &self.finished[outcome as usize]
    }

    pub(crate) fn duration(&self, sink: &Sink, outcome: Outcome) -> &Histogram {
        let labels = || with_outcome(&self.labels, Outcome::NAMES[outcome as usize]);
        self.durations[outcome as usize].get_or_init(|| sink.histogram(&DURATION, labels()))
    }
}

fn with_outcome(labels: &[Label; 2], outcome: &'static str) -> Vec<Label> {
    let [queue, task] = labels.clone();
    vec![queue, task, Label::from_static_parts("outcome", outcome)]
}

/// Those of a queue.
struct QueueSeries {
    lease_lost: Counter,
    tasks: HashMap<Box<str>, Arc<TaskSeries>>,
}

/// Those of all queues.
pub(crate) struct Series {
    /// How many tasks have a label of their own.
    limit: usize,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    tasks: HashSet<Box<str>>,
    queues: HashMap<Box<str>, QueueSeries>,
}

impl Known {
    /// What this task is called, and whether it was so before.
    fn label<'a>(&self, limit: usize, task: &'a str) -> &'a str {
        if self.tasks.len() < limit || self.tasks.contains(task) { task } else { OTHER }
    }

    fn queue(&mut self, sink: &Sink, queue: &str) -> &mut QueueSeries {
        self.queues.entry(queue.into()).or_insert_with(|| QueueSeries {
            lease_lost: sink.counter(&LEASE_LOST, vec![Label::new("queue", queue.to_owned())]),
            tasks: HashMap::new(),
        })
    }
}

impl Series {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, known: RwLock::default() }
    }

    /// The series of a task in a queue.
    pub(crate) fn of(&self, sink: &Sink, queue: &str, task: Option<&str>) -> Arc<TaskSeries> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let label = task.map_or(UNKNOWN, |task| known.label(self.limit, task));
        if let Some(found) = known.queues.get(queue).and_then(|queue| queue.tasks.get(label)) {
            return Arc::clone(found);
        }
        drop(known);
        self.make(sink, queue, task)
    }

    fn make(&self, sink: &Sink, queue: &str, task: Option<&str>) -> Arc<TaskSeries> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let label = task.map_or(UNKNOWN, |task| known.label(self.limit, task));
        if label != OTHER && label != UNKNOWN {
            known.tasks.insert(label.into());
        }
        let tasks = &mut known.queue(sink, queue).tasks;
        Arc::clone(tasks.entry(label.into()).or_insert_with(|| Arc::new(TaskSeries::new(sink, queue, label))))
    }

    /// Counts a run in this queue whose lease was lost.
    pub(crate) fn lease_lost(&self, sink: &Sink, queue: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).queue(sink, queue).lease_lost.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::prometheus;

    #[test]
    fn later_tasks_share_a_label_in_every_queue() {
        let recorder = prometheus();
        let text = recorder.handle();
        let (sink, series) = (Sink::new(Arc::new(recorder), Some(text)), Series::new(2));
        for (queue, task) in [("a", Some("one")), ("a", Some("two")), ("a", Some("three")), ("b", Some("four"))] {
            series.of(&sink, queue, task).enqueued.increment(1);
        }
        for (queue, task) in [("b", Some("one")), ("b", Some("four")), ("a", None)] {
            series.of(&sink, queue, task).enqueued.increment(1);
        }
        let text = sink.text();
        let mut told: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("queue_jobs_enqueued_total")).collect();
        told.sort_unstable();
        let expected = [
            r#"{queue="a",task="_other"} 1"#,
            r#"{queue="a",task="_unknown"} 1"#,
            r#"{queue="a",task="one"} 1"#,
            r#"{queue="a",task="two"} 1"#,
            r#"{queue="b",task="_other"} 2"#,
            r#"{queue="b",task="one"} 1"#,
        ];
        assert_eq!(told, expected);
    }
}
