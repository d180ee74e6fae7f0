//! A flow, seen from outside.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use queue_storage::model::{Job, JobId, State};
use queue_storage::storage::StorageError;
use serde::Serialize;

use super::handle::FlowHandle;
use super::walk::Walk;
use crate::facts::{JobFacts, show};

/// The jobs of a flow and how they wait for each other, each behind those it waits for: what [`FlowHandle::tree`] returns.
///
/// Shown, it is one job a line: `completed  fetch  01J…`, with those it waits for and what it handles.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FlowTree {
    /// The jobs that run tasks, as far as they are stored.
    pub nodes: Vec<FlowNode>,
    /// Jobs of the flow that ended and were pruned.
    #[serde(serialize_with = "show::texts")]
    pub gone: Vec<JobId>,
}

/// One job of a flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FlowNode {
    /// The job.
    pub job: JobFacts,
    /// The jobs it waits for, in their order.
    #[serde(serialize_with = "show::texts")]
    pub after: Vec<JobId>,
    /// Whether it handles the end of those, beside the flow.
    pub handler: bool,
}

/// How far a flow is: what [`FlowHandle::status`] returns. Handlers are not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FlowStatus {
    /// The state of its last job; `None` if that is not stored.
    #[serde(serialize_with = "show::maybe_text")]
    pub end: Option<State>,
    /// How many jobs are in each state.
    #[serde(serialize_with = "show::by_state")]
    pub by_state: BTreeMap<State, u64>,
    /// How many ended and were pruned.
    pub gone: u64,
    /// The job to blame, if the flow did not complete.
    #[serde(serialize_with = "show::maybe_text")]
    pub culprit: Option<JobId>,
}

impl FlowStatus {
    /// How many jobs the flow has.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_state.values().sum::<u64>() + self.gone
    }

    /// How many have completed.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.by_state.get(&State::Completed).copied().unwrap_or(0)
    }

    /// Whether its last job has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end.is_none_or(State::is_end)
    }
}

/// `running: 3 of 5 completed, 1 running, 1 waiting`
impl fmt::Display for FlowStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            Some(end) => write!(f, "{end}: ")?,
            None => f.write_str("gone: ")?,
        }
        write!(f, "{} of {} completed", self.completed(), self.total())?;
        for (state, count) in self.by_state.iter().filter(|(state, _)| **state != State::Completed) {
            write!(f, ", {count} {state}")?;
        }
        if self.gone > 0 {
            write!(f, ", {} gone", self.gone)?;
        }
        match self.culprit {
            Some(culprit) => write!(f, "; job {culprit} is to blame"),
            None => Ok(()),
        }
    }
}

impl<Out> FlowHandle<Out> {
    /// The jobs of the flow, with how they wait for each other.
    ///
    /// Read from the last job back, a call a job, 32 at once; no snapshot.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn tree(&self) -> Result<FlowTree, StorageError> {
        let walk = Walk::read(self.client(), self.id()).await?;
        let handlers = &walk.handlers;
        let shown: BTreeSet<JobId> = walk.jobs.iter().filter(|job| job.node.is_task()).map(|job| job.id).collect();
        let mut after = HashMap::new();
        let nodes = walk.jobs.iter().map(|job| (job, tasks_before(&walk, &shown, job, &mut after)));
        let nodes = nodes.filter(|(job, _)| job.node.is_task()).map(|(job, after)| FlowNode {
            job: JobFacts::of(job),
            after,
            handler: handlers.contains(&job.id),
        });
        Ok(FlowTree { nodes: nodes.collect(), gone: walk.gone.iter().copied().collect() })
    }

    /// How far the flow is: read as [`tree`](Self::tree) is.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn status(&self) -> Result<FlowStatus, StorageError> {
        let walk = Walk::read(self.client(), self.id()).await?;
        let handlers = &walk.handlers;
        let end = walk.jobs.iter().find(|job| job.id == self.id());
        let mut by_state = BTreeMap::new();
        for job in walk.jobs.iter().filter(|job| job.node.is_task() && !handlers.contains(&job.id)) {
            *by_state.entry(job.state).or_default() += 1;
        }
        let failed = |job: &&Job| job.state.is_end() && job.state != State::Completed;
        let culprit = end.filter(failed).map(|job| job.culprit.unwrap_or(job.id));
        Ok(FlowStatus { end: end.map(|job| job.state), by_state, gone: walk.gone.len() as u64, culprit })
    }
}

/// The tasks' jobs that a job waits for, through whatever ties them together.
fn tasks_before(walk: &Walk, shown: &BTreeSet<JobId>, job: &Job, known: &mut HashMap<JobId, Vec<JobId>>) -> Vec<JobId> {
    let mut tasks = Vec::new();
    for id in walk.before(job.id) {
        match known.get(&id) {
            _ if shown.contains(&id) || walk.gone.contains(&id) => tasks.push(id),
            Some(through) => tasks.extend(through.iter().filter(|id| !tasks.contains(id)).copied().collect::<Vec<_>>()),
            None => {}
        }
    }
    tasks.dedup();
    if !job.node.is_task() {
        known.insert(job.id, tasks.clone());
    }
    tasks
}

impl fmt::Display for FlowTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for FlowNode { job, after, handler } in &self.nodes {
            write!(f, "{:<10} {} {}", job.state, job.task, job.id)?;
            if !after.is_empty() {
                let after: Vec<_> = after.iter().map(JobId::to_string).collect();
                write!(f, " {} {}", if *handler { "handles" } else { "after" }, after.join(", "))?;
            }
            writeln!(f)?;
        }
        match self.gone.len() {
            0 => Ok(()),
            gone => writeln!(f, "{gone} more ended and were pruned"),
        }
    }
}
