//! What is true of a storage at every moment, whatever has happened.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::check_keys;
use crate::model::{Attempt, EndReason, Job, MAX_TAGS, Node, Shard, State, When};
use crate::storage::{Counts, JobQuery, Storage};

/// Checks everything a storage shows against itself: acknowledged jobs are ended or live, counts agree with the jobs,
/// and each job has what belongs to its state and nothing else. For a moment when nobody else calls.
///
/// # Panics
/// When something does not fit, saying what.
pub async fn invariants(storage: &dyn Storage) {
    let shards = storage.shards().await.expect("the shards");
    for job in all_jobs(storage).await {
        assert!(shards.contains(&job.shard), "the shard is not known: {job:?}");
    }
    for each in &shards {
        shard(storage, each).await;
    }
}

/// Checks one shard; its jobs.
pub(super) async fn shard(storage: &dyn Storage, shard: &Shard) -> Vec<Job> {
    let query = JobQuery { queue: Some(shard.queue.clone()), ..JobQuery::default() };
    let dead = JobQuery { state: Some(State::Dead), ..query.clone() };
    let mut dead = jobs(storage, dead).await;
    let mut jobs = jobs(storage, query).await;
    jobs.retain(|job| job.shard == *shard);
    dead.retain(|job| job.shard == *shard);
    let listed: BTreeSet<_> = dead.iter().map(|job| job.id).collect();
    let died: BTreeSet<_> = jobs.iter().filter(|job| job.state == State::Dead).map(|job| job.id).collect();
    assert_eq!(listed, died, "every dead letter of {shard} is listed as one");
    check_counts(shard, &jobs, &storage.counts(shard).await.expect("the counts"));
    check_sequences(&jobs);
    jobs.iter().for_each(check_job);
    check_keys(storage, shard, &jobs).await;
    jobs
}

/// Every job that is stored, page by page.
pub(super) async fn all_jobs(storage: &dyn Storage) -> Vec<Job> {
    jobs(storage, JobQuery::default()).await
}

async fn jobs(storage: &dyn Storage, mut query: JobQuery) -> Vec<Job> {
    let mut jobs = Vec::new();
    loop {
        let page = storage.list(&query).await.expect("a page of jobs");
        jobs.extend(page.jobs);
        query.after = page.next;
        if query.after.is_none() {
            return jobs;
        }
    }
}

fn check_counts(shard: &Shard, jobs: &[Job], counts: &Counts) {
    let mut stored: BTreeMap<State, u64> = BTreeMap::new();
    for job in jobs {
        *stored.entry(job.state).or_default() += 1;
    }
    assert_eq!(counts.stored, stored, "counts of {shard} agree with its jobs");
    let parked = jobs.iter().filter(|job| job.parked.is_some()).count() as u64;
    assert_eq!(counts.parked, parked, "parked jobs of {shard}");
    let delayed = counts.of(State::Scheduled) + counts.of(State::Retrying);
    assert!(counts.due <= delayed, "due jobs of {shard}: {counts:?}");
    let ends_and_live = counts.ended.total() + counts.live();
    assert_eq!(counts.enqueued, ends_and_live, "taken in = ended + live in {shard}: {counts:?}");
    for (state, ended) in [
        (State::Completed, counts.ended.completed),
        (State::Cancelled, counts.ended.cancelled),
        (State::Expired, counts.ended.expired),
        (State::Dead, counts.ended.dead),
    ] {
        assert!(counts.of(state) <= ended, "more {state} jobs in {shard} than ever ended: {counts:?}");
    }
}

fn check_sequences(jobs: &[Job]) {
    let ready = jobs.iter().filter(|job| job.state == State::Ready);
    let sequences: Vec<_> = ready.map(|job| job.sequence).collect();
    let distinct: BTreeSet<_> = sequences.iter().collect();
    assert_eq!(distinct.len(), sequences.len(), "sequences of ready jobs are unique");
}

fn check_job(job: &Job) {
    let state = job.state;
    let says = |holds: bool, what: &str| assert!(holds, "{what}: {job:?}");
    says(job.id.home_tag() == job.shard.tag(), "a job's id names its home");
    says(job.lease.is_some() == (state == State::Running), "a lease while it runs and only then");
    says(job.sequence.is_some() || !matches!(state, State::Ready | State::Running), "a sequence once ready");
    says(job.parked.is_none() || state == State::Ready, "parked only while ready");
    says(job.parked_at.is_some() == job.parked.is_some(), "parked since a moment while parked and only then");
    says(job.due_at.is_some() || !matches!(state, State::Scheduled | State::Retrying), "a due time to wait for");
    says(job.ended_at.is_some() == state.is_end(), "an end has its moment");
    says(job.keep_until.is_some() == state.is_end(), "an end is kept until a moment");
    says(job.keep_until >= job.ended_at, "an end is kept from its moment on");
    says(job.reason.is_some() == (state.is_end() && state != State::Completed), "an end has its reason");
    says(job.culprit.is_some() == (job.reason == Some(EndReason::Dependency)), "a culprit where one is to blame");
    says(job.result.is_none() || state == State::Completed, "a result only of the completed");
    let ran = state == State::Running || state == State::Completed && job.node.is_task();
    says(job.started_at.is_some() || !ran, "a start before its end");
    let waits = !job.waits_for.is_empty() || job.node == Node::Hold;
    says(waits || state != State::Waiting, "who waits waits for something");
    says(job.node.is_task() || job.started_at.is_none(), "only what is a task's runs");
    says(
        job.node.is_task() || !matches!(state, State::Running | State::Scheduled | State::Retrying | State::Dead),
        "nor is anything else due",
    );
    says(job.tags.len() <= MAX_TAGS, "as many tags as it may have");
    check_runs(job);
    check_limits(job);
}

/// What a job says of who runs it, and of its runs before.
fn check_runs(job: &Job) {
    let state = job.state;
    let says = |holds: bool, what: &str| assert!(holds, "{what}: {job:?}");
    says(!job.cancel_requested || state == State::Running, "asked to stop only while it runs");
    says(job.worker.is_none() || state == State::Running || state.is_end(), "nobody runs it while it waits");
    says(job.lease.is_none_or(|lease| job.worker == Some(lease.worker)), "who holds it runs it");
    says(job.worker.is_some() || state != State::Completed || !job.node.is_task(), "someone completed it");
    says(job.worker.is_none() || state != State::Expired, "no run expires");
    says(job.first_started_at.is_some() || job.started_at.is_none(), "a first start before any other");
    says(job.first_started_at.is_some() || job.attempts == 0, "a first start before runs");
    says(job.history.iter().all(remembered), "messages of a history are short");
}

fn remembered(attempt: &Attempt) -> bool {
    attempt.failure.as_ref().is_none_or(|failure| failure.message.len() <= Attempt::MAX_REMEMBERED)
}

/// The moments of a job's end agree with what was asked for.
fn check_limits(job: &Job) {
    let says = |holds: bool, what: &str| assert!(holds, "{what}: {job:?}");
    for (asked, at) in [(job.expires, job.expires_at), (job.deadline, job.deadline_at)] {
        let known = match asked {
            None => at.is_none(),
            Some(When::At(moment)) => at == Some(moment),
            Some(_) => at.is_some() || job.state == State::Waiting || job.state.is_end(),
        };
        says(known, "the moments of an end are known from when it is due");
    }
    if job.state == State::Running {
        let first = job.started_at == job.first_started_at && job.history.is_empty();
        says(!first || job.expires_at.is_none_or(|at| job.started_at < Some(at)), "nobody starts too late");
        says(job.deadline_at.is_none_or(|at| job.started_at < Some(at)), "no run starts past a deadline");
    }
    if job.state == State::Expired {
        let at = if job.reason == Some(EndReason::Overdue) { job.expires_at } else { job.deadline_at };
        says(at.is_some() && at <= job.ended_at, "nobody expires early");
    }
}
