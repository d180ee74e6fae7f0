//! What a worker tells of what it does.

use std::time::Duration;

use queue_storage::model::{Claimed, EndReason, Job, JobId, Settled, Settlement, Shard, TaskName, WorkerId};
use queue_storage::storage::{Exchanged, SettleAnswer};

use super::Engine;
use crate::events::{Event, EventError, EventKind, Fate, News};
use crate::progress::Said;

/// A run, as it is told of once its outcome is written.
#[derive(Clone, Debug)]
pub(crate) struct RunFacts {
    job: JobId,
    shard: Shard,
    task: TaskName,
    attempt: u32,
    /// How long it took; `None` when it never began.
    took: Option<Duration>,
}

impl RunFacts {
    /// Of a run that is over: what it leaves is taken, not copied.
    pub(crate) fn of(run: Box<Claimed>, took: Option<Duration>) -> Self {
        let (job, attempt) = (run.job.id, run.job.attempts.saturating_add(1));
        Self { job, shard: run.job.shard, task: run.job.task, attempt, took }
    }
}

/// How long a job stood ready, or due, before it was claimed; by the storage's clock.
fn waited(job: &Job) -> Duration {
    job.started_at.map_or(Duration::ZERO, |started| started.since(job.ready_since()))
}

impl Engine {
    /// Tells that a run begins.
    pub(super) fn tell_started(&self, claimed: &Claimed) {
        let (teller, job) = (self.client.teller(), &claimed.job);
        if teller.has_ears(&job.shard) {
            let mut event = self.about(EventKind::Started, &job.shard);
            (event.job, event.task) = (Some(job.id), Some(job.task.to_string()));
            (event.attempt, event.waited) = (Some(job.attempts.saturating_add(1)), Some(waited(job)));
            teller.tell_of(&job.shard, [event.into()]);
        }
    }

    /// Tells how far runs got.
    pub(crate) fn tell_progress<'a>(&self, shard: &Shard, told: impl Iterator<Item = (JobId, &'a Said)>) {
        let teller = self.client.teller();
        let mut told = told.peekable();
        if told.peek().is_none() || !teller.has_ears(shard) {
            return;
        }
        let events = told.map(|(id, said)| {
            let mut event = self.about(EventKind::Progressed, shard);
            (event.job, event.task) = (Some(id), Some(said.task.to_string()));
            event.progress = Some(said.progress.clone());
            event.into()
        });
        teller.tell_of(shard, events);
    }

    /// Tells what came of runs whose outcomes went with an exchange, and of what that did beside.
    pub(crate) fn tell_exchanged(&self, shard: &Shard, settled: &[Settled], runs: &[RunFacts], answer: &Exchanged) {
        let teller = self.client.teller();
        if settled.is_empty() && answer.upkept.is_empty() || !teller.has_ears(shard) {
            return;
        }
        let runs = settled.iter().zip(runs).zip(&answer.settled);
        let mut news: Vec<News> = runs.flat_map(|((settled, run), answer)| self.ended(settled, run, *answer)).collect();
        let fate = |&(id, became)| News::Fate(Fate { shard: shard.clone(), id, became });
        news.extend(answer.upkept.iter().map(fate));
        teller.tell_of(shard, news);
    }

    /// Tells that a run lost its lease.
    pub(crate) fn tell_stalled(&self, run: &RunFacts) {
        let teller = self.client.teller();
        if teller.has_ears(&run.shard) {
            teller.tell_of(&run.shard, [self.event(EventKind::Stalled, run).into()]);
        }
    }

    /// Tells of a worker, by default this one.
    pub(crate) fn tell_worker(&self, kind: EventKind, worker: Option<WorkerId>) {
        let mut event = Event::new(kind, self.clock().now().into());
        event.worker = Some(worker.unwrap_or(self.id));
        self.client.teller().tell([event.into()], true);
    }

    fn about(&self, kind: EventKind, shard: &Shard) -> Event {
        let mut event = Event::new(kind, self.clock().now().into());
        (event.queue, event.worker) = (Some(shard.queue.to_string()), Some(self.id));
        event
    }

    fn event(&self, kind: EventKind, run: &RunFacts) -> Event {
        let mut event = self.about(kind, &run.shard);
        (event.job, event.task, event.attempt) = (Some(run.job), Some(run.task.to_string()), Some(run.attempt));
        event.took = run.took;
        event
    }

    /// What is told of one outcome.
    fn ended(&self, settled: &Settled, run: &RunFacts, answer: SettleAnswer) -> Vec<News> {
        let event = |kind| self.event(kind, run);
        if answer == SettleAnswer::Lost {
            return vec![event(EventKind::Stalled).into()];
        }
        let failed = |failure| {
            let mut event = event(EventKind::Failed);
            event.error = Some(EventError::from(failure));
            event
        };
        let due = |kind, when: queue_storage::model::When| {
            let mut event = event(kind);
            event.due = Some(when.resolve(self.clock().now()).into());
            event
        };
        let ends = |kind, reason: &EndReason| {
            let mut event = event(kind);
            event.reason = Some(reason.clone());
            event
        };
        let cancelled = answer == SettleAnswer::Cancelled;
        let requested = || ends(EventKind::Cancelled, &EndReason::Requested);
        let events = match &settled.settlement {
            Settlement::Complete { .. } => vec![event(EventKind::Succeeded)],
            Settlement::Retry { failure, .. } if cancelled => {
                let mut event = requested();
                event.error = Some(EventError::from(failure));
                vec![event]
            }
            Settlement::Snooze { .. } | Settlement::Release if cancelled => vec![requested()],
            Settlement::Retry { when, failure } => vec![failed(failure), due(EventKind::Retrying, *when)],
            Settlement::Snooze { when, .. } => vec![due(EventKind::Snoozed, *when)],
            // What goes back unbegun has not happened.
            Settlement::Release => run.took.map(|_| event(EventKind::Interrupted)).into_iter().collect(),
            Settlement::Cancel { reason, failure, .. } => {
                let mut event = ends(EventKind::Cancelled, reason);
                event.error = failure.as_ref().map(EventError::from);
                vec![event]
            }
            Settlement::Die { reason, failure, .. } => {
                let mut died = ends(EventKind::Died, reason);
                died.error = Some(EventError::from(failure));
                // What can't be decoded was never tried.
                run.took.map(|_| failed(failure)).into_iter().chain([died]).collect()
            }
            _ => Vec::new(),
        };
        events.into_iter().map(Into::into).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue_storage::model::{NewJob, Timestamp};

    #[test]
    fn who_waits_for_a_time_is_not_late_before_it() {
        let (shard, at) = (Shard::of("q".parse().unwrap()), Timestamp::from_micros(1_000_000));
        let new = NewJob::new(JobId::new(&shard), "t".parse().unwrap(), Default::default());
        let mut job = Job::admitted(new, shard, at);
        job.started_at = Some(at + Duration::from_secs(9));
        assert_eq!(waited(&job), Duration::from_secs(9));
        job.due_at = Some(at + Duration::from_secs(7));
        assert_eq!(waited(&job), Duration::from_secs(2));
    }
}
