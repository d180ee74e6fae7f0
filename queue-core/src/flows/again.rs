//! What puts a flow together again that did not complete.

use std::collections::{BTreeSet, HashMap};

use queue_storage::model::{EndReason, Job, JobId, Node, State, Trigger};
use queue_storage::storage::{Act, Edit};

use super::walk::Walk;

/// What is to be done so that the flow with this end goes on to it, in order: each job behind those it waits for.
pub(super) fn acts(walk: &Walk, end: JobId) -> Vec<(&Job, Act)> {
    let open = unfinished(walk, end);
    let mut anew: BTreeSet<JobId> = walk.jobs.iter().filter(|job| !job.state.is_end()).map(|job| job.id).collect();
    let mut acts = Vec::new();
    for job in walk.jobs.iter().filter(|job| open.contains(&job.id) && job.state.is_end()) {
        let waits = walk.before(job.id).any(|id| anew.contains(&id));
        // One that was cancelled for another has not had its turn: it keeps its delay and its limits.
        let waits = waits || !job.node.is_task() || job.reason == Some(EndReason::Dependency);
        acts.push((job, if waits { Act::Rearm } else { Act::Revive(Edit::new()) }));
        anew.insert(job.id);
    }
    acts
}

/// A handler that is to run, or runs, and is still to be told how one of these jobs ended; and that job.
pub(super) fn being_handled<'a>(walk: &'a Walk, acts: &[(&'a Job, Act)]) -> Option<(&'a Job, &'a Job)> {
    let ended: HashMap<JobId, &Job> = acts.iter().map(|(job, _)| (job.id, *job)).collect();
    let goes_on = |job: &&Job| !job.state.is_end() && job.state != State::Waiting;
    let mut handlers = walk.jobs.iter().filter(|job| walk.handlers.contains(&job.id)).filter(goes_on);
    handlers.find_map(|handler| Some((handler, *handler.waits_for.iter().find_map(|id| ended.get(id))?)))
}

/// Jobs that were asked to stop and still run, without whose completion the flow does not get to its end: they are about to
/// be cancelled, and all that waits for them.
pub(super) fn stopping(walk: &Walk, end: JobId) -> Vec<&Job> {
    let open = unfinished(walk, end);
    let needed: BTreeSet<JobId> = open.iter().flat_map(|id| walk.before(*id)).chain([end]).collect();
    walk.jobs.iter().filter(|job| is_stopping(job) && needed.contains(&job.id)).collect()
}

pub(super) fn is_stopping(job: &Job) -> bool {
    job.state == State::Running && job.cancel_requested
}

/// Why a job can't be tried again, and what can be done.
pub(super) fn why_refused(walk: &Walk, job: &Job) -> String {
    let (id, task) = (job.id, &job.task);
    if let Some(gone) = walk.before(job.id).find(|id| walk.gone.contains(id)) {
        return format!(
            "job {id} of task `{task}` waited for job {gone}, which is not stored any more: enqueue it anew"
        );
    }
    if job.node == Node::Hold {
        return "the flow was never stored whole: enqueue it again".to_owned();
    }
    // One that has gathered hands on what it gathered for as long as it is stored.
    let needs = |other: &&Job| !other.state.is_end() || matches!(other.node, Node::Gather { .. });
    let mut needy = walk.jobs.iter().filter(needs).filter(|other| other.waits_for.contains(&job.id));
    let by = needy.next().map_or_else(
        || "a job of another flow needs it as it ended, or someone has run it again".to_owned(),
        |other| format!("job {} of task `{}` needs it as it ended", other.id, other.task),
    );
    format!("job {id} of task `{task}` stays as it is, as {by}")
}

/// Relays that are still to tell of a job that did not complete: of that end, not of the one it comes to next.
pub(super) fn untold(walk: &Walk, end: JobId) -> Vec<&Job> {
    let open = unfinished(walk, end);
    let failed: BTreeSet<JobId> =
        walk.jobs.iter().filter(|job| open.contains(&job.id) && job.state.is_end()).map(|job| job.id).collect();
    let relays = walk.jobs.iter().filter(|job| matches!(job.node, Node::Relay { .. }) && !job.state.is_end());
    relays.filter(|relay| relay.waits_for.iter().any(|id| failed.contains(id))).collect()
}

/// The jobs without whose completion the flow does not get to its end, as far as they have not completed; and relays to
/// holds among them. Who runs, or is to, has what it needs; who takes ends and waits has been told of those that have come.
fn unfinished(walk: &Walk, end: JobId) -> BTreeSet<JobId> {
    let by_id = by_id(walk);
    let (mut open, mut next) = (BTreeSet::new(), vec![end]);
    while let Some(job) = next.pop().map(|id| by_id.get(&id)) {
        let Some(job) = job else { continue };
        let is_relay = matches!(job.node, Node::Relay { .. });
        let is_done = job.state == State::Completed && !is_relay;
        let goes_on = !job.state.is_end() && job.state != State::Waiting;
        if is_done || goes_on || !open.insert(job.id) {
            continue;
        }
        let takes_ends = job.state == State::Waiting && job.trigger == Trigger::Ended && !is_relay;
        let lives = |id: &JobId| by_id.get(id).is_some_and(|job| !job.state.is_end());
        next.extend(walk.before(job.id).filter(|id| !takes_ends || lives(id)));
    }
    open
}

fn by_id(walk: &Walk) -> HashMap<JobId, &Job> {
    walk.jobs.iter().map(|job| (job.id, job)).collect()
}
