//! The reason, from what is known: pure.

use std::collections::BTreeSet;

use queue_storage::model::{Job, Limit, Node, Parked, State, Timestamp};
use queue_storage::storage::{Controls, Pause, Usage, WorkerRecord};

use super::{Blocker, MAX_BLOCKERS, Why};

/// What is to be known beside the job.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub(super) controls: Controls,
    pub(super) workers: Vec<WorkerRecord>,
    /// How many jobs are ready in its queue.
    pub(super) ready: u64,
    /// How many jobs run in its queue.
    pub(super) running: u64,
    /// How the key is used for which it is parked.
    pub(super) usage: Usage,
    /// Jobs it waits for.
    pub(super) blockers: Vec<Blocker>,
    pub(super) now: Timestamp,
}

/// What the job does, or the first thing that keeps it from running.
pub(super) fn why(job: &Job, evidence: &Evidence) -> Why {
    if job.state.is_end() {
        // One that is itself to blame says all of it by its failure.
        let other = job.culprit != Some(job.id);
        return Why::Ended {
            at: job.ended_at.map(Into::into),
            because: job.reason.clone().filter(|_| other),
            culprit: job.culprit.filter(|_| other),
            failure: job.failure.clone().filter(|_| job.state != State::Completed),
        };
    }
    if let Some((since, reason_to_be)) = job.overdue_at().filter(|(at, _)| *at <= evidence.now) {
        return Why::Overdue { since: since.into(), reason_to_be };
    }
    match (job.state, job.due_at.filter(|due| *due > evidence.now)) {
        (State::Running, _) => running(job, evidence),
        (State::Waiting, _) => waiting(job, evidence),
        (State::Scheduled, Some(due)) => Why::Scheduled { until: due.into() },
        (State::Retrying, Some(due)) => {
            Why::Retrying { until: due.into(), after: job.attempts, failure: job.failure.clone() }
        }
        _ => carried(job, evidence)
            .or_else(|| paused(job, evidence))
            .or_else(|| limited(job, evidence))
            .unwrap_or_else(|| unclaimed(job, evidence)),
    }
}

fn running(job: &Job, evidence: &Evidence) -> Why {
    let lost = job.lease.map(|lease| lease.until).filter(|until| *until <= evidence.now);
    let record = evidence.workers.iter().find(|record| Some(record.id) == job.worker);
    Why::Running {
        worker: job.worker,
        host: record.map(|record| record.host.clone()),
        since: job.started_at.map(Into::into),
        progress: job.progress.clone(),
        asked_to_stop: job.cancel_requested,
        lost_since: lost.map(Into::into),
    }
}

/// What it waits for. A hold that stands for the rest of its flow does so for a time; one that stands for a job waits as
/// long as that takes.
fn waiting(job: &Job, evidence: &Evidence) -> Why {
    match (&job.node, job.overdue_at()) {
        (Node::Hold, Some((until, _))) => Why::NotWhole { until: until.into() },
        (Node::Hold, None) => Why::Elsewhere,
        (node, _) => Why::WaitsFor {
            jobs: evidence.blockers.clone(),
            others: job.waits_for.len().saturating_sub(MAX_BLOCKERS),
            trigger: job.trigger,
            node: node.clone(),
        },
    }
}

/// Where what it waited for is on its way to.
fn carried(job: &Job, evidence: &Evidence) -> Option<Why> {
    let Node::Relay { shard, to } = &job.node else { return None };
    let serves = |record: &&WorkerRecord| record.is_live(evidence.now) && record.shards.contains(&job.shard);
    let carriers = evidence.workers.iter().filter(serves).count();
    Some(Why::OnItsWay { to: *to, queue: shard.queue.to_string(), carriers })
}

/// What someone said that keeps it from running, or from living.
fn paused(job: &Job, evidence: &Evidence) -> Option<Why> {
    let holds = |pause: &&Pause| pause.holds(evidence.now);
    let times = |pause: &Pause| (pause.since.into(), pause.until.map(Into::into));
    if let Some((since, until)) = evidence.controls.queue.as_ref().filter(holds).map(times) {
        return Some(Why::QueuePaused { since, until });
    }
    if let Some((since, until)) = evidence.controls.tasks.get(&job.task).filter(holds).map(times) {
        return Some(Why::TaskPaused { since, until });
    }
    let revoked = evidence.controls.revocations.iter().find(|one| one.fits(job, evidence.now))?;
    Some(Why::Revoked { until: revoked.until.map(Into::into), next_only: revoked.next_only })
}

/// What keeps it from running for the sake of others.
fn limited(job: &Job, evidence: &Evidence) -> Option<Why> {
    let usage = &evidence.usage;
    let parked = job.parked.as_ref().zip(job.parked_for.clone());
    match parked {
        Some((Parked::LimitFull, key)) => {
            let most = job.limits.iter().find_map(|limit| match limit {
                Limit::Slots { key: own, most, .. } if *own == key => Some(*most),
                _ => None,
            });
            let (running, waiting) = (usage.running, usage.waiting.saturating_sub(1));
            return Some(Why::LimitFull { key: Some(key), most: most?, running, waiting });
        }
        Some((Parked::RateWindow, key)) => {
            let until = job.opens_at.unwrap_or(evidence.now).into();
            return Some(Why::RateWindow { key: Some(key), until, waiting: usage.throttled.saturating_sub(1) });
        }
        _ => {}
    }
    let most = evidence.controls.slots.filter(|most| evidence.running >= u64::from(*most))?;
    Some(Why::LimitFull { key: None, most, running: evidence.running, waiting: evidence.ready.saturating_sub(1) })
}

/// Who could claim it, and why nobody has.
fn unclaimed(job: &Job, evidence: &Evidence) -> Why {
    let live = || evidence.workers.iter().filter(|record| record.is_live(evidence.now));
    let serving: Vec<_> = live().filter(|record| record.shards.contains(&job.shard)).collect();
    if serving.is_empty() {
        return Why::NoWorker;
    }
    let knowing: Vec<_> = serving.iter().copied().filter(|record| record.tasks.contains(&job.task)).collect();
    if knowing.is_empty() {
        let elsewhere = live().filter(|record| record.tasks.contains(&job.task));
        let queues: BTreeSet<_> = elsewhere.flat_map(|record| &record.shards).map(|s| s.queue.to_string()).collect();
        return Why::UnknownTask { workers: serving.len(), known_in: queues.into_iter().collect() };
    }
    let understood = knowing.iter().map(|record| record.understands).max().unwrap_or(0);
    if understood < job.needs {
        return Why::NewerProgram { needs: job.needs, understood };
    }
    let able: Vec<_> = knowing.into_iter().filter(|record| record.understands >= job.needs).collect();
    let is_free = |record: &&&WorkerRecord| !evidence.controls.workers.contains_key(&record.id);
    let free: Vec<_> = able.iter().filter(is_free).collect();
    if free.is_empty() {
        return Why::WorkersPaused { workers: able.len() };
    }
    let slots = free.iter().map(|record| u64::from(record.concurrency)).sum();
    Why::InLine { ready: evidence.ready, workers: free.len(), slots, suspect: job.suspect }
}
