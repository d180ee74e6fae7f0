//! A flow, seen from outside.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use queue_storage::model::{EndReason, Failure, Job, JobId, Parked, State};
use queue_storage::storage::StorageError;
use serde::Serialize;

use super::handle::FlowHandle;
use super::walk::Walk;
use crate::facts::words::in_words;
use crate::facts::{JobFacts, show};

/// The jobs of a flow and how they wait for each other, each behind those it waits for: what [`FlowHandle::tree`] returns.
///
/// Shown, it is one job a line: `completed  fetch 01J… in `default``, with those it waits for or handles, and why it does not
/// run or did not complete.
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
    /// Why it does not run although it is ready, or why it did not complete: what was not carried to it from another queue,
    /// too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
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
    /// The job to blame, if the flow did not complete and was not [called off](FlowHandle::cancel) as a whole.
    #[serde(serialize_with = "show::maybe_text")]
    pub culprit: Option<JobId>,
    /// Why that job ended, or the flow's last; `None` where it is not known.
    #[serde(serialize_with = "show::maybe_text")]
    pub because: Option<EndReason>,
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
        match (self.culprit, &self.because) {
            (None, Some(EndReason::Requested)) => f.write_str("; it was called off"),
            (None, _) => Ok(()),
            (Some(culprit), Some(EndReason::Requested)) => write!(f, "; job {culprit} was called off"),
            (Some(culprit), Some(reason)) => write!(f, "; job {culprit} is to blame: {}", in_words(reason)),
            (Some(culprit), None) => write!(f, "; job {culprit} is to blame"),
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
        let hidden = walk.jobs.iter().filter(|job| !job.node.is_task());
        let untold: HashMap<JobId, &Failure> = hidden.filter_map(|job| Some((job.id, job.failure.as_ref()?))).collect();
        let mut after = HashMap::new();
        let nodes = walk.jobs.iter().map(|job| (job, tasks_before(&walk, &shown, job, &mut after)));
        let nodes = nodes.filter(|(job, _)| job.node.is_task()).map(|(job, after)| FlowNode {
            job: JobFacts::of(job),
            after,
            handler: handlers.contains(&job.id),
            why: why(&untold, job),
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
        let end = walk.job(self.id());
        let mut by_state = BTreeMap::new();
        for job in walk.jobs.iter().filter(|job| job.node.is_task() && !handlers.contains(&job.id)) {
            *by_state.entry(job.state).or_default() += 1;
        }
        let failed = |job: &&Job| job.state.is_end() && job.state != State::Completed;
        let failed = end.filter(failed);
        let culprit = failed.map(|job| job.culprit.unwrap_or(job.id));
        let because = culprit.and_then(|id| walk.job(id)).and_then(|job| job.reason.clone());
        // Nobody is to blame where the end itself was called off.
        let is_called_off = because == Some(EndReason::Requested) && culprit == Some(self.id());
        let culprit = culprit.filter(|_| !is_called_off);
        Ok(FlowStatus { end: end.map(|job| job.state), by_state, gone: walk.gone.len() as u64, culprit, because })
    }
}

/// Why a job does not run although it is ready, or did not complete, given what jobs that run no task say.
fn why(untold: &HashMap<JobId, &Failure>, job: &Job) -> Option<String> {
    match (&job.parked, &job.reason) {
        (Some(Parked::UnknownTask), _) => Some("parked: no worker that looked at it knows its task".to_owned()),
        (Some(parked), _) => Some(format!("parked: {parked}")),
        (None, Some(reason)) => {
            let failure = job.culprit.and_then(|id| untold.get(&id).copied()).or(job.failure.as_ref());
            Some(failure.map_or_else(|| in_words(reason).into_owned(), ToString::to_string))
        }
        (None, None) => None,
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
        for FlowNode { job, after, handler, why } in &self.nodes {
            write!(f, "{:<10} {} {} in `{}`", job.state, job.task, job.id, job.queue)?;
            if !after.is_empty() {
                let after: Vec<_> = after.iter().map(JobId::to_string).collect();
                write!(f, " {} {}", if *handler { "handles" } else { "after" }, after.join(", "))?;
            }
            writeln!(f, "{}", why.as_ref().map_or_else(String::new, |why| format!(": {why}")))?;
        }
        match self.gone.len() {
            0 => Ok(()),
            gone => writeln!(f, "{gone} more ended and were pruned"),
        }
    }
}
