//! Counts what happens.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use queue_core::{Event, EventKind, JobId, WorkerId};

use crate::labels::Limits;
use crate::series::{Outcome, Series};
use crate::sink::Sink;

/// The kinds that change anything.
pub(crate) const COUNTED: [EventKind; 13] = [
    EventKind::Enqueued,
    EventKind::Started,
    EventKind::Succeeded,
    EventKind::Retrying,
    EventKind::Died,
    EventKind::Cancelled,
    EventKind::Expired,
    EventKind::Snoozed,
    EventKind::Interrupted,
    EventKind::Stalled,
    EventKind::Reclaimed,
    EventKind::WorkerStarted,
    EventKind::WorkerStopped,
];

/// Counts what a client and its workers make happen.
pub(crate) struct Counting {
    sink: Arc<Sink>,
    series: Series,
    /// What the workers of this process run. Locked for a change at a time.
    running: Mutex<BTreeMap<WorkerId, HashSet<JobId>>>,
}

impl Counting {
    pub(crate) fn new(sink: Arc<Sink>, limits: Limits) -> Self {
        Self { sink, series: Series::new(limits), running: Mutex::default() }
    }

    /// Whether this queue was counted under its own name.
    pub(crate) fn tells(&self, queue: &str) -> bool {
        self.series.tells(queue)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<WorkerId, HashSet<JobId>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much the workers of this process run.
    pub(crate) fn busy(&self) -> BTreeMap<WorkerId, usize> {
        self.running().iter().map(|(&worker, jobs)| (worker, jobs.len())).collect()
    }

    pub(crate) fn hear(&self, event: &Event) {
        match event.kind {
            EventKind::Enqueued => self.count(event, |series| series.enqueued.increment(1)),
            EventKind::Reclaimed => self.count(event, |series| series.reclaimed.increment(1)),
            EventKind::Started => self.started(event),
            EventKind::Succeeded => self.ended(event, Outcome::Succeeded),
            EventKind::Retrying => self.ended(event, Outcome::Retried),
            EventKind::Died => self.ended(event, Outcome::Dead),
            EventKind::Cancelled => self.ended(event, Outcome::Cancelled),
            EventKind::Expired => self.ended(event, Outcome::Expired),
            EventKind::Snoozed => self.ended(event, Outcome::Snoozed),
            EventKind::Interrupted => self.ended(event, Outcome::Interrupted),
            EventKind::Stalled => self.ended(event, Outcome::Stalled),
            EventKind::WorkerStarted => self.started_worker(event),
            EventKind::WorkerStopped => self.stopped_worker(event),
            _ => {}
        }
    }

    fn count(&self, event: &Event, act: impl FnOnce(&crate::series::TaskSeries)) {
        if let Some(queue) = &event.queue {
            act(&self.series.of(&self.sink, queue, event.task.as_deref()));
        }
    }

    fn started(&self, event: &Event) {
        if let (Some(worker), Some(job)) = (event.worker, event.job) {
            self.running().entry(worker).or_default().insert(job);
        }
        self.count(event, |series| {
            if let Some(waited) = event.waited {
                self.sink.sample(&series.wait, waited.as_secs_f64());
            }
        });
    }

    /// A run has ended, or a job without one.
    fn ended(&self, event: &Event, outcome: Outcome) {
        if let (Some(worker), Some(job)) = (event.worker, event.job)
            && let Some(jobs) = self.running().get_mut(&worker)
        {
            jobs.remove(&job);
        }
        if let (Outcome::Stalled, Some(queue)) = (outcome, &event.queue) {
            self.series.lease_lost(&self.sink, queue);
        }
        self.count(event, |series| {
            series.finished(outcome).increment(1);
            if let Some(took) = event.took {
                self.sink.sample(series.duration(&self.sink, outcome), took.as_secs_f64());
            }
            if let (true, Some(attempt)) = (outcome.is_end(), event.attempt) {
                self.sink.sample(&series.attempts, f64::from(attempt));
            }
        });
    }

    fn started_worker(&self, event: &Event) {
        if let Some(worker) = event.worker {
            self.running().entry(worker).or_default();
        }
    }

    fn stopped_worker(&self, event: &Event) {
        if let Some(worker) = event.worker {
            self.running().remove(&worker);
        }
    }
}
