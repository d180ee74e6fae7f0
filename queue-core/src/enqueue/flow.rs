//! Storing flows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use queue_storage::model::{Conflict, Envelope, Input, JobId, NewJob, Node, Shard, State};
use queue_storage::storage::{Act, Admission, MAX_ACT, StorageError};

use super::error::Cause;
use super::{EnqueueError, other};
use crate::client::Client;
use crate::flow::{Flow, Graph, Group, HANDLERS, Knot, Plan, What, knot, plan};
use crate::flows::{FlowHandle, GroupHandle, Page};

/// How long a gather is kept once it has completed, and with it what it gathers.
const KEEP_GATHERED: Duration = Duration::from_secs(3_600);
/// How long it waits before it delivers again what the storage did not take.
const PAUSE: Duration = Duration::from_millis(50);

impl<Out> Flow<Out> {
    /// Stores every job of the flow, or none; the handle is that of its end.
    ///
    /// What waits for nothing is ready (or scheduled) at once, each other waits for those before it. A flow of up to 1,000
    /// jobs within one queue is stored in one call. Any other takes several, in bounded batches, and none of it starts
    /// before the last is stored: if the client goes away half-way, all of it is cancelled after ten minutes. Enqueueing
    /// the flow that an error gives back stores what is missing and doubles nothing.
    ///
    /// A flow of one call may begin with a job that is [unique](crate::Unique), if it has no other beginning: when another
    /// job has its key, nothing is stored.
    ///
    /// # Errors
    /// As [`Call::enqueue`](crate::Call::enqueue); beside that: a job that is unique but not the only beginning, two
    /// different calls of one id (a clone of a call is the same job: make it another with
    /// [`renewed`](crate::Call::renewed) before you change it), and a flow that took longer than ten minutes to store.
    ///
    /// # Cancel safety
    /// When the future is dropped, the flow may be stored, all of it, or none of it may ever run; enqueue a clone again to
    /// be sure.
    pub async fn enqueue(mut self, client: &Client) -> Result<FlowHandle<Out>, EnqueueError<Self>> {
        let end = self.graph.point(&self.tail);
        match client.store_flow(&self.graph).await {
            Ok(()) => Ok(FlowHandle::new(client.clone(), end)),
            Err(cause) => Err(EnqueueError::new(self, cause)),
        }
    }
}

impl<Out> Group<Out> {
    /// Stores every job of the group, or none: as [`Flow::enqueue`].
    ///
    /// # Errors
    /// As [`Flow::enqueue`].
    ///
    /// # Cancel safety
    /// As [`Flow::enqueue`].
    pub async fn enqueue(self, client: &Client) -> Result<GroupHandle<Out>, EnqueueError<Self>> {
        let (mut flow, members) = self.pointed();
        let end = flow.graph.point(&flow.tail);
        match client.store_flow(&flow.graph).await {
            Ok(()) => {
                let leaves = flow.graph.leaves(end).into_iter();
                let pages = leaves.scan(0, |first, (gather, len)| {
                    let page = Page { gather, first: *first, len };
                    *first += len;
                    Some(page)
                });
                Ok(GroupHandle::new(client.clone(), end, members, pages.collect()))
            }
            Err(cause) => Err(EnqueueError::new(Self::of(flow), cause)),
        }
    }
}

impl Client {
    async fn store_flow(&self, graph: &Graph) -> Result<(), Cause> {
        if let Some((id, task)) = graph.clash() {
            return Err(Cause::Clash { task, id });
        }
        let jobs = graph.knots().iter().map(|knot| self.flow_job(knot)).collect::<Result<Vec<_>, _>>()?;
        check_unique(graph, &jobs)?;
        let first = graph.knots().first();
        let Plan { calls, gate } = plan(jobs).map_err(|error| Cause::Draft(error.into()))?;
        if gate.is_some()
            && graph.knots().iter().any(|knot| matches!(&knot.what, What::Task(draft) if draft.unique.is_some()))
        {
            return Err(unique(graph));
        }
        let mut early = BTreeSet::new();
        for (shard, jobs) in &calls {
            let admissions = self.submit(shard, jobs.clone()).await?;
            let keeps_out = admissions.first().copied().and_then(other);
            if let (Some(by), Some(Knot { what: What::Task(draft), .. })) = (keeps_out, first) {
                return Err(Cause::Rejected { task: draft.task, by });
            }
            let stored = jobs.iter().zip(admissions).filter(|(_, told)| matches!(told, Admission::Duplicate(_)));
            early.extend(stored.map(|(job, _)| job.id));
        }
        if let Some((shard, gate)) = gate {
            self.relay_again(&calls, &early).await?;
            self.seal(&shard, gate).await?;
            for (shard, _) in &calls {
                let failed = |error| Cause::Storage { location: self.location(), error: Arc::new(error) };
                self.run_inline(shard).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    fn flow_job(&self, one: &Knot) -> Result<(Shard, NewJob), Cause> {
        let handlers: Vec<String> = one.handlers.iter().map(JobId::to_string).collect();
        let (shard, mut job) = match &one.what {
            What::Task(draft) if handlers.is_empty() => self.job_of(draft)?,
            What::Task(draft) => {
                let mut draft = draft.clone();
                draft.headers.insert(HANDLERS.to_owned(), handlers.join(" "));
                self.job_of(&draft)?
            }
            What::Gather(intake, shard) => {
                let mut envelope = Envelope { intake: *intake, ..Envelope::default() };
                if !handlers.is_empty() {
                    envelope.headers.insert(HANDLERS.to_owned(), handlers.join(" "));
                }
                let node = Node::Gather { keep: KEEP_GATHERED };
                let job = knot(one.id, "queue:gather", node, envelope).map_err(|error| Cause::Draft(error.into()))?;
                (shard.clone(), job)
            }
        };
        if let Some(unique) = &mut job.unique {
            // A flow that is kept out changes nothing of what keeps it out.
            unique.conflict = Conflict::Reject;
        }
        job.waits_for.clone_from(&one.waits_for);
        job.trigger = one.trigger;
        Ok((shard, job))
    }

    /// A job that was stored before its flow may have ended before the other end of its relay was there to be told: now it
    /// is, and so the relay tells it again.
    async fn relay_again(&self, calls: &[(Shard, Vec<NewJob>)], early: &BTreeSet<JobId>) -> Result<(), Cause> {
        let tells = |job: &&NewJob| {
            matches!(job.node, Node::Relay { .. }) && job.waits_for.iter().any(|before| early.contains(before))
        };
        for (shard, jobs) in calls {
            let relays: Vec<JobId> = jobs.iter().filter(tells).map(|job| job.id).collect();
            for relays in relays.chunks(MAX_ACT) {
                let acted = self.storage().act(shard, relays, &Act::Rearm).await;
                acted.map_err(|error| Cause::Storage { location: self.location(), error: Arc::new(error) })?;
            }
        }
        Ok(())
    }

    /// Lets a flow start that is stored whole.
    async fn seal(&self, shard: &Shard, gate: JobId) -> Result<(), Cause> {
        let timeout = self.config().enqueue_timeout;
        let clock = Arc::clone(self.clock());
        let deadline = clock.now() + timeout;
        let mut last: Option<Arc<StorageError>> = None;
        loop {
            let call = [(gate, Input::Nothing)];
            let answer = tokio::select! {
                answer = self.storage().deliver(shard, &call) => answer,
                () = clock.sleep_until(deadline) => {
                    return Err(Cause::TimedOut { location: self.location(), after: timeout, error: last });
                }
            };
            match answer.map(|states| states.first().copied().flatten()) {
                Ok(Some(State::Completed)) => return Ok(()),
                Ok(_) => return Err(Cause::Lapsed),
                Err(error) if error.is_unavailable() => last = Some(Arc::new(error)),
                Err(error) => return Err(Cause::Storage { location: self.location(), error: Arc::new(error) }),
            }
            clock.sleep_until((clock.now() + PAUSE).min(deadline)).await;
        }
    }
}

/// A unique job is refused unless it is the one with which everything begins.
fn check_unique(graph: &Graph, jobs: &[(Shard, NewJob)]) -> Result<(), Cause> {
    let begins = |job: &NewJob| job.waits_for.is_empty() && job.node.is_task();
    let beginnings = jobs.iter().filter(|(_, job)| begins(job)).count();
    match jobs.iter().find(|(_, job)| job.unique.is_some() && (beginnings > 1 || !begins(job))) {
        Some(_) => Err(unique(graph)),
        None => Ok(()),
    }
}

fn unique(graph: &Graph) -> Cause {
    let mut tasks = graph.knots().iter().filter_map(|knot| match &knot.what {
        What::Task(draft) if draft.unique.is_some() => Some(draft.task),
        _ => None,
    });
    Cause::UniqueStep { task: tasks.next_back().unwrap_or_default() }
}

/// Whether an admission says that something before it is not stored.
pub(super) fn missing(admissions: &[Admission]) -> Option<JobId> {
    admissions.iter().find_map(|admission| match admission {
        Admission::UnknownDependency(missing) => Some(*missing),
        _ => None,
    })
}
