//! The series of queues and tasks: made once, then found again without making anything.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use metrics::{Counter, Histogram, Label};

use crate::labels::{Limits, Names};
use crate::names::{ATTEMPTS, DURATION, ENQUEUED, FINISHED, LEASE_LOST, RECLAIMED, WAIT};
use crate::sink::Sink;

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
    known: RwLock<Known>,
}

struct Known {
    queues: Names,
    tasks: Names,
    series: HashMap<Box<str>, QueueSeries>,
}

impl Known {
    /// What a queue and a task are called.
    fn labels<'a>(&self, queue: &'a str, task: Option<&'a str>) -> (&'a str, &'a str) {
        (self.queues.label(queue), task.map_or(UNKNOWN, |task| self.tasks.label(task)))
    }

    /// The series of a queue, and what it is called from now on.
    fn queue<'a>(&mut self, sink: &Sink, queue: &'a str) -> (&'a str, &mut QueueSeries) {
        let label = self.queues.admit(queue);
        let series = self.series.entry(label.into()).or_insert_with(|| QueueSeries {
            lease_lost: sink.counter(&LEASE_LOST, vec![Label::new("queue", label.to_owned())]),
            tasks: HashMap::new(),
        });
        (label, series)
    }
}

impl Series {
    pub(crate) fn new(limits: Limits) -> Self {
        let (queues, tasks) = (Names::new(limits.queues), Names::new(limits.tasks));
        Self { known: RwLock::new(Known { queues, tasks, series: HashMap::new() }) }
    }

    /// Whether this queue was counted under its own name.
    pub(crate) fn tells(&self, queue: &str) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).queues.has(queue)
    }

    /// The series of a task in a queue.
    pub(crate) fn of(&self, sink: &Sink, queue: &str, task: Option<&str>) -> Arc<TaskSeries> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (in_queue, of_task) = known.labels(queue, task);
        if let Some(found) = known.series.get(in_queue).and_then(|queue| queue.tasks.get(of_task)) {
            return Arc::clone(found);
        }
        drop(known);
        self.make(sink, queue, task)
    }

    fn make(&self, sink: &Sink, queue: &str, task: Option<&str>) -> Arc<TaskSeries> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let task = task.map_or(UNKNOWN, |task| known.tasks.admit(task));
        let (queue, series) = known.queue(sink, queue);
        Arc::clone(series.tasks.entry(task.into()).or_insert_with(|| Arc::new(TaskSeries::new(sink, queue, task))))
    }

    /// Counts a run in this queue whose lease was lost.
    pub(crate) fn lease_lost(&self, sink: &Sink, queue: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).queue(sink, queue).1.lease_lost.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::prometheus;

    fn sink() -> Sink {
        let recorder = prometheus();
        let text = recorder.handle();
        Sink::new(Arc::new(recorder), Some(text))
    }

    /// Every series of a metric, as it is written.
    fn told(text: &str, metric: &str) -> Vec<String> {
        let mut told: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(metric)).map(str::to_owned).collect();
        told.sort_unstable();
        told
    }

    #[test]
    fn later_tasks_share_a_label_in_every_queue() {
        let (sink, series) = (sink(), Series::new(Limits { queues: 2, tasks: 2 }));
        for (queue, task) in [("a", Some("one")), ("a", Some("two")), ("a", Some("three")), ("b", Some("four"))] {
            series.of(&sink, queue, task).enqueued.increment(1);
        }
        for (queue, task) in [("b", Some("one")), ("b", Some("four")), ("a", None)] {
            series.of(&sink, queue, task).enqueued.increment(1);
        }
        let expected = [
            r#"{queue="a",task="_other"} 1"#,
            r#"{queue="a",task="_unknown"} 1"#,
            r#"{queue="a",task="one"} 1"#,
            r#"{queue="a",task="two"} 1"#,
            r#"{queue="b",task="_other"} 2"#,
            r#"{queue="b",task="one"} 1"#,
        ];
        assert_eq!(told(&sink.text(), "queue_jobs_enqueued_total"), expected);
    }

    #[test]
    fn later_queues_share_a_label_for_all_they_tell() {
        let (sink, series) = (sink(), Series::new(Limits { queues: 2, tasks: 9 }));
        series.lease_lost(&sink, "a");
        for queue in ["b", "c", "d", "a", "e", "b"] {
            let of = series.of(&sink, queue, Some("one"));
            of.enqueued.increment(1);
            sink.sample(of.duration(&sink, Outcome::Dead), 1.0);
        }
        for queue in ["c", "a", "d"] {
            series.lease_lost(&sink, queue);
        }
        let text = sink.text();
        let jobs = [r#"{queue="_other",task="one"} 3"#, r#"{queue="a",task="one"} 1"#, r#"{queue="b",task="one"} 2"#];
        assert_eq!(told(&text, "queue_jobs_enqueued_total"), jobs);
        let lost = [r#"{queue="_other"} 2"#, r#"{queue="a"} 2"#, r#"{queue="b"} 0"#];
        assert_eq!(told(&text, "queue_lease_lost_total"), lost);
        let took = [
            r#"{queue="_other",task="one",outcome="dead"} 3"#,
            r#"{queue="a",task="one",outcome="dead"} 1"#,
            r#"{queue="b",task="one",outcome="dead"} 2"#,
        ];
        assert_eq!(told(&text, "queue_job_duration_seconds_count"), took);
        assert_eq!(["a", "b", "c", "_other"].map(|queue| series.tells(queue)), [true, true, false, false]);
    }
}
