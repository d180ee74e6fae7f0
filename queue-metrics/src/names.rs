//! What is measured, by its name: docs/metrics.md tells the same for people.

use metrics::{Recorder, Unit};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric: its samples differ by their labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    unit: Option<Unit>,
    pub(crate) help: &'static str,
}

/// Metrics, and the list of them.
macro_rules! metrics {
    ($(#[$only:meta])? $list:ident: $($id:ident = $name:literal, $kind:ident, $unit:expr, $help:literal;)+) => {
        $(pub(crate) const $id: Metric = Metric { name: $name, kind: Kind::$kind, unit: $unit, help: $help };)+
        $(#[$only])?
        pub(crate) const $list: &[Metric] = &[$($id),+];
    };
}

metrics! { RECORDED:
    ENQUEUED = "queue_jobs_enqueued_total", Counter, Some(Unit::Count),
        "Jobs that were stored by this process, and ended ones that are run again.";
    FINISHED = "queue_jobs_finished_total", Counter, Some(Unit::Count),
        "Ends of runs and of jobs, by outcome; one that is retried, snoozed or interrupted goes on.";
    DURATION = "queue_job_duration_seconds", Histogram, Some(Unit::Seconds), "How long runs took, by outcome.";
    WAIT = "queue_job_wait_seconds", Histogram, Some(Unit::Seconds),
        "How long jobs stood ready, or due, before a run of theirs began.";
    ATTEMPTS = "queue_job_attempts", Histogram, Some(Unit::Count), "At which attempt jobs ended, by a run of theirs.";
    LEASE_LOST = "queue_lease_lost_total", Counter, Some(Unit::Count),
        "Runs of workers of this process whose lease was lost: they were dropped, or came too late.";
    RECLAIMED = "queue_jobs_reclaimed_total", Counter, Some(Unit::Count),
        "Jobs whose worker vanished, and that were made ready again by this process.";
    OPERATION = "queue_backend_operation_seconds", Histogram, Some(Unit::Seconds),
        "How long the storage took to answer, by what it was asked.";
    ERRORS = "queue_backend_errors_total", Counter, Some(Unit::Count),
        "Calls of the storage that failed, by what it was asked and what was wrong.";
}

metrics! { #[cfg(test)] STORED:
    JOBS = "queue_jobs", Gauge, None, "Jobs that are stored now, by state.";
    PARKED = "queue_jobs_parked", Gauge, None, "Ready jobs that wait for room, a rate, or a worker that knows them.";
    DUE = "queue_jobs_due", Gauge, None, "Scheduled and retrying jobs that are due, and not ready yet.";
    LATENCY = "queue_latency_seconds", Gauge, None,
        "For how long the oldest job that is due, or ready and not parked, has been so; 0 without one.";
    PAUSED = "queue_paused", Gauge, None, "Whether the queue is paused: 1 or 0.";
    WORKER_UP = "queue_worker_up", Gauge, None, "Whether the worker has called lately: 1 or 0.";
    SLOTS = "queue_worker_slots", Gauge, None, "How many jobs the worker runs at once, at most.";
    BUSY = "queue_worker_slots_busy", Gauge, None, "How many jobs a worker of this process runs.";
    LAST_TICK = "queue_periodic_last_tick_timestamp_seconds", Gauge, None,
        "The last tick of the schedule that was carried out, in seconds since the epoch.";
    NEXT_TICK = "queue_periodic_next_tick_timestamp_seconds", Gauge, None,
        "The next tick of the schedule, in seconds since the epoch.";
    MISSED = "queue_periodic_missed_total", Counter, None,
        "Ticks of the schedule that were left out since nobody carried them out in time.";
    SKIPPED = "queue_periodic_skipped_total", Counter, None,
        "Ticks of the schedule that were left out since the job before had not ended.";
    BACKEND_UP = "queue_backend_up", Gauge, None, "Whether the storage answered when this was read: 1 or 0.";
    BUILD = "queue_build_info", Gauge, None, "Always 1: the version of the framework, and the kind of storage.";
}

/// Of what takes time.
pub(crate) const SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// Of calls to a storage, most of which take less than anything else.
pub(crate) const CALL_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Of how often a job was tried.
pub(crate) const TRIES: &[f64] = &[1.0, 2.0, 3.0, 5.0, 10.0, 25.0];

/// Says of everything that is recorded what it is.
pub(crate) fn describe(recorder: &dyn Recorder) {
    for &Metric { name, kind, unit, help } in RECORDED {
        match kind {
            Kind::Counter => recorder.describe_counter(name.into(), unit, help.into()),
            Kind::Gauge => recorder.describe_gauge(name.into(), unit, help.into()),
            Kind::Histogram => recorder.describe_histogram(name.into(), unit, help.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_tells_of_every_metric() {
        let guide = include_str!("../../docs/metrics.md");
        for metric in RECORDED.iter().chain(STORED) {
            let told = format!("| `{}` | {} |", metric.name, metric.kind.as_str());
            assert!(guide.contains(&told), "docs/metrics.md does not say: {told}");
        }
    }
}
