//! Calling a flow off, and trying again what failed of it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use queue_storage::model::{EndReason, Job, JobId, Node, Shard, State};
use queue_storage::storage::{Act, Edit, MAX_ACT, StorageError};

use super::handle::FlowHandle;
use super::walk::Walk;
use crate::client::Client;
use crate::operate::{BulkError, BulkReport};

/// How long a courier may take to say that a parcel has arrived, and how often one looks whether it has.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl<Out> FlowHandle<Out> {
    /// Calls the whole flow off: its handlers first, so that none of them runs for it, then every job that has not ended.
    /// One that runs is asked to stop, as [`Client::cancel`](crate::Client::cancel) says.
    ///
    /// It takes a call a job to find them, and one for each hundred to cancel them; the report counts what ties the flow
    /// together (gathers, holds) with the rest.
    ///
    /// # Errors
    /// The storage can't be asked; what was done until then is done, doing it again does the rest.
    ///
    /// # Cancel safety
    /// When the future is dropped, some jobs may be cancelled; cancel again.
    pub async fn cancel(&self) -> Result<BulkReport, BulkError> {
        let walk = self.walked().await?;
        let handlers = walk.all_handlers();
        let live = |job: &&Job| !job.state.is_end() && !matches!(job.node, Node::Relay { .. });
        let (first, rest): (Vec<&Job>, Vec<&Job>) =
            walk.jobs.iter().filter(live).partition(|job| handlers.contains(&job.id));
        let act = Act::Cancel { keep: self.client().config().keep_cancelled };
        let mut deeds = Deeds::new(self.client());
        // From the end back: so no job is reached between two calls.
        for job in first.into_iter().chain(rest.into_iter().rev()) {
            deeds.add(job, &act).await?;
        }
        deeds.done().await
    }

    /// Tries again what failed: each job that is dead or has expired runs again, as by
    /// [`Client::revive`](crate::Client::revive), and each that was cancelled for it waits again. What has completed stays as
    /// it is, and what it returned is kept for this as long as the failed jobs are. Handlers that have run do not run again.
    ///
    /// Nothing to do for a flow of which nothing failed. What can't be tried again now is counted as
    /// [refused](BulkReport::refused), and another try does it later: a job whose handler is still to run, until that has
    /// ended; a job that takes ends and failed over them, until those it waits for have ended again. A flow that was
    /// [called off](Self::cancel) is not put together again: build it anew.
    ///
    /// # Errors
    /// The storage can't be asked; what was done until then is done, doing it again does the rest.
    ///
    /// # Cancel safety
    /// When the future is dropped, some jobs may run again and others not; try again.
    pub async fn retry(&self) -> Result<BulkReport, BulkError> {
        let walk = self.walked().await?;
        let handlers = walk.all_handlers();
        let jobs: Vec<&Job> = walk.jobs.iter().filter(|job| !handlers.contains(&job.id)).collect();
        let followed = |job: &Job| job.state == State::Cancelled && job.reason == Some(EndReason::Dependency);
        let relays = untold(&walk, followed);
        let mut deeds = Deeds::new(self.client());
        for relay in jobs.iter().filter(|job| relays.contains(&job.id) && job.state == State::Ready) {
            told(self.client(), relay).await.map_err(|error| BulkError::new(BulkReport::default(), error))?;
        }
        // Holds wait again before any relay delivers to them.
        for job in jobs.iter().filter(|job| job.node == Node::Hold && followed(job)) {
            deeds.add(job, &Act::Rearm).await?;
        }
        for job in jobs {
            match job.node {
                Node::Hold => {}
                Node::Relay { .. } if relays.contains(&job.id) => deeds.add(job, &Act::Rearm).await?,
                Node::Task if is_failed(job) => deeds.add(job, &Act::Revive(Edit::new())).await?,
                _ if followed(job) => deeds.add(job, &Act::Rearm).await?,
                _ => {}
            }
        }
        deeds.done().await
    }

    async fn walked(&self) -> Result<Walk, BulkError> {
        let walk = Walk::read(self.client(), self.id()).await;
        walk.map_err(|error| BulkError::new(BulkReport::default(), error))
    }
}

/// Waits until a relay has left the outbox. What it told has arrived, though whoever carried it may not have said so yet, and
/// is to say it of this time and not of the next. When nobody does, this does.
async fn told(client: &Client, relay: &Job) -> Result<(), StorageError> {
    let (storage, clock) = (client.storage(), client.clock());
    let deadline = clock.now() + TOLD_WITHIN;
    while clock.now() < deadline {
        match storage.get(relay.id).await?.found() {
            Some(now) if now.state == State::Ready => clock.sleep_until(clock.now() + LOOK_EVERY).await,
            _ => return Ok(()),
        }
    }
    storage.outbox(&relay.shard, &[relay.id]).await.map(drop)
}

/// The relays that are to tell again: those of holds that were cancelled, and of holds that wait although they have told.
fn untold(walk: &Walk, followed: impl Fn(&Job) -> bool) -> BTreeSet<JobId> {
    let by_id: HashMap<JobId, &Job> = walk.jobs.iter().map(|job| (job.id, job)).collect();
    let holds = walk.jobs.iter().filter(|job| job.node == Node::Hold);
    let relays = holds.flat_map(|hold| {
        let before = walk.before.get(&hold.id).into_iter().flatten().filter_map(|id| by_id.get(id));
        let relays = before.filter(|job| matches!(job.node, Node::Relay { .. }));
        let cancelled = followed(hold);
        relays.filter(move |relay| cancelled || hold.state == State::Waiting && relay.state == State::Completed)
    });
    relays.map(|relay| relay.id).collect()
}

/// Whether a job ended without completing, by its own fault or by someone's will.
fn is_failed(job: &Job) -> bool {
    match job.state {
        State::Dead | State::Expired => true,
        State::Cancelled => !matches!(job.reason, Some(EndReason::Dependency | EndReason::NotNeeded)),
        _ => false,
    }
}

/// Acts in order, those of one sort and one shard that follow each other in one call.
struct Deeds<'a> {
    client: &'a Client,
    batch: Option<(Shard, Act, Vec<JobId>)>,
    shards: Vec<Shard>,
    report: BulkReport,
}

impl<'a> Deeds<'a> {
    fn new(client: &'a Client) -> Self {
        Self { client, batch: None, shards: Vec::new(), report: BulkReport::default() }
    }

    async fn add(&mut self, job: &Job, act: &Act) -> Result<(), BulkError> {
        self.report.matched += 1;
        match &mut self.batch {
            Some((shard, same, ids)) if *shard == job.shard && same == act && ids.len() < MAX_ACT => {
                ids.push(job.id);
                Ok(())
            }
            _ => {
                self.flush().await?;
                self.batch = Some((job.shard.clone(), act.clone(), vec![job.id]));
                Ok(())
            }
        }
    }

    async fn flush(&mut self) -> Result<(), BulkError> {
        let Some((shard, act, ids)) = self.batch.take() else { return Ok(()) };
        let acted = self.client.storage().act(&shard, &ids, &act).await;
        let acted = acted.map_err(|error| BulkError::new(self.report.clone(), error))?;
        acted.into_iter().for_each(|acted| self.report.note(acted));
        if !self.shards.contains(&shard) {
            self.shards.push(shard);
        }
        Ok(())
    }

    async fn done(mut self) -> Result<BulkReport, BulkError> {
        self.flush().await?;
        for shard in &self.shards {
            let ran = self.client.run_inline(shard).await;
            ran.map_err(|error| BulkError::new(self.report.clone(), error))?;
        }
        Ok(self.report)
    }
}
