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

/// Whether a handler that is to run, or runs, is still to be told how one of these jobs ended.
pub(super) fn is_being_handled(walk: &Walk, acts: &[(&Job, Act)]) -> bool {
    let ended: BTreeSet<JobId> = acts.iter().map(|(job, _)| job.id).collect();
    let goes_on = |job: &&Job| !job.state.is_end() && job.state != State::Waiting;
    let handlers = walk.jobs.iter().filter(|job| walk.handlers.contains(&job.id)).filter(goes_on);
    handlers.into_iter().any(|handler| handler.waits_for.iter().any(|id| ended.contains(id)))
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
