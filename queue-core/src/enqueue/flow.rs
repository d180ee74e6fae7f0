//! Storing flows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use queue_storage::model::{Conflict, Envelope, Input, JobId, NewJob, Node, Shard, State};
use queue_storage::storage::{Act, Acted, Admission, KEEP_TOLD, MAX_ACT, StorageError};

use super::error::Cause;
use super::pass::Verb;
use super::{EnqueueError, other};
use crate::client::Client;
use crate::flow::{Flow, Graph, Group, HANDLERS, Knot, Plan, What, knot, plan};
use crate::flows::{FlowHandle, GroupHandle, Page};
use crate::middleware::Outgoing;
use crate::taken::Taken;

/// How long a gather is kept once it has completed, and with it what it gathers.
const KEEP_GATHERED: Duration = Duration::from_secs(3_600);
/// How long it waits before it delivers again what the storage did not take.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a flow is stored over again when what ties it together had ended and was gone before the last of it was
/// stored, since another had stored it before.
const PASSES: usize = 8;

/// A flow.
struct Whole<'a>(&'a Graph);

impl Verb for Whole<'_> {
    type Answer = ();

    async fn store(&self, client: &Client, calls: &[Outgoing]) -> Result<(), Cause> {
        let graph = self.0.of_drafts(calls.iter().map(|call| &call.draft));
        client.store_graph(&graph).await
    }
}

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
        match self.chain() {
            None => self.store_graph(graph).await,
            Some(chain) => Box::pin(self.pass(chain, graph.drafts().cloned().collect(), Whole(graph))).await,
        }
    }

    async fn store_graph(&self, graph: &Graph) -> Result<(), Cause> {
        if let Some((id, task)) = graph.clash() {
            return Err(Cause::Clash { task, id });
        }
        let named = graph.named_handlers();
        let jobs = graph.knots().iter().zip(named).map(|(knot, named)| self.flow_job(knot, &named));
        let jobs = jobs.collect::<Result<Vec<_>, _>>()?;
        check_unique(graph, &jobs)?;
        let Plan { calls, gate } = plan(jobs).map_err(|error| Cause::Draft(error.into()))?;
        if gate.is_some()
            && graph.knots().iter().any(|knot| matches!(&knot.what, What::Task(draft) if draft.unique.is_some()))
        {
            return Err(unique(graph));
        }
        let start = self.clock().now();
        for _ in 0..PASSES {
            let begun = self.clock().now();
            let early = self.store_calls(graph, &calls).await?;
            let Some((shard, gate)) = &gate else { return Ok(()) };
            let is_late = self.clock().now() - begun > KEEP_TOLD / 2;
            if self.relay_again(&calls, |id| is_late || early.contains(&id)).await? && self.seal(shard, *gate).await? {
                return self.run_all(&calls).await;
            }
        }
        Err(Cause::TimedOut { location: self.location(), after: self.clock().now() - start, error: None })
    }

    /// Stores what is not stored yet; the jobs that were.
    async fn store_calls(&self, graph: &Graph, calls: &[(Shard, Vec<NewJob>)]) -> Result<BTreeSet<JobId>, Cause> {
        let mut early = BTreeSet::new();
        for (shard, jobs) in calls {
            let taken: Vec<_> = jobs.iter().map(Taken::of).collect();
            let admissions = self.submit(shard, jobs.clone(), &taken).await?;
            let keeps_out = admissions.first().copied().and_then(other);
            if let (Some(by), Some(Knot { what: What::Task(draft), .. })) = (keeps_out, graph.knots().first()) {
                return Err(Cause::Rejected { task: draft.task, by });
            }
            let stored = jobs.iter().zip(admissions).filter(|(_, told)| matches!(told, Admission::Duplicate(_)));
            early.extend(stored.map(|(job, _)| job.id));
        }
        Ok(early)
    }

    /// Runs what may run, in immediate mode.
    async fn run_all(&self, calls: &[(Shard, Vec<NewJob>)]) -> Result<(), Cause> {
        for (shard, _) in calls {
            let failed = |error| Cause::Storage { location: self.location(), error: Arc::new(error) };
            self.run_inline(shard).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The job of one knot, which names these handlers.
    fn flow_job(&self, one: &Knot, handlers: &BTreeSet<JobId>) -> Result<(Shard, NewJob), Cause> {
        let handlers: Vec<String> = handlers.iter().map(JobId::to_string).collect();
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

    /// What was stored before may have told of its end before the other end of its relay was there to hear it: now that is,
    /// and so the relay tells it again. Whether all of those were there still to tell it.
    async fn relay_again(
        &self,
        calls: &[(Shard, Vec<NewJob>)],
        was_there: impl Fn(JobId) -> bool,
    ) -> Result<bool, Cause> {
        let tells = |job: &&NewJob| {
            let may_have_told = || was_there(job.id) || job.waits_for.iter().any(|before| was_there(*before));
            matches!(job.node, Node::Relay { .. }) && may_have_told()
        };
        let mut all = true;
        for (shard, jobs) in calls {
            let relays: Vec<JobId> = jobs.iter().filter(tells).map(|job| job.id).collect();
            for relays in relays.chunks(MAX_ACT) {
                let acted = self.storage().act(shard, relays, &Act::Rearm).await;
                let acted =
                    acted.map_err(|error| Cause::Storage { location: self.location(), error: Arc::new(error) })?;
                all &= acted.into_iter().all(tells_once_more);
            }
        }
        Ok(all)
    }

    /// Lets a flow start that is stored whole. Whether its gate was there still, or again.
    async fn seal(&self, shard: &Shard, gate: JobId) -> Result<bool, Cause> {
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
                Ok(Some(State::Completed)) => return Ok(true),
                Ok(Some(_)) => return Err(Cause::Lapsed),
                Ok(None) => return Ok(false),
                Err(error) if error.is_unavailable() => last = Some(Arc::new(error)),
                Err(error) => return Err(Cause::Storage { location: self.location(), error: Arc::new(error) }),
            }
            clock.sleep_until((clock.now() + PAUSE).min(deadline)).await;
        }
    }
}

/// Whether a relay that was to wait again waits, or stands in the outbox.
fn tells_once_more(acted: Acted) -> bool {
    match acted {
        Acted::Done(_) => true,
        Acted::Refused(state) => !state.is_end(),
        _ => false,
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
