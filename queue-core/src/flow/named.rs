//! Whom a stored job of a flow names.

use queue_storage::model::{Envelope, Job, JobId, Node};

use super::{HANDLERS, RELAY};
use crate::gather::OF;

/// Those that it waits for, as the flow was built: a hold stands for the job it is told of, behind the relay that tells it;
/// and those that handle its end or theirs.
pub(crate) fn named(job: &Job) -> (Vec<JobId>, Vec<JobId>) {
    let headers = Envelope::decode(&job.envelope).map(|envelope| envelope.headers).unwrap_or_default();
    let ids = |name: &str| -> Vec<JobId> {
        headers.get(name).into_iter().flat_map(|ids| ids.split(' ')).filter_map(|id| id.parse().ok()).collect()
    };
    let mut before = job.waits_for.clone();
    if job.node == Node::Hold {
        before.extend(ids(RELAY));
        before.extend(ids(OF));
    }
    (before, ids(HANDLERS))
}
