//! Calling a flow off, and trying it again.

use std::time::Duration;

use queue_storage::model::{Job, JobId, Node, Shard};
use queue_storage::storage::{Act, Acted, MAX_ACT, Receipt, StorageError};

use super::again;
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
        let handlers = &walk.handlers;
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

    /// Tries the flow again from where it failed, or was [called off](Self::cancel): whatever did not complete and the flow
    /// can't end without. A job of which all that it waits for has completed runs again, as by
    /// [`Client::revive`](crate::Client::revive); any other waits again, its delay and limits counted anew, and so does what
    /// ties jobs together. What has completed stays as it is, and what it returned is kept for this as long as the jobs that
    /// failed are. A step that takes ends and failed over them waits for them to come again. Handlers do not come back.
    ///
    /// Nothing is done to a flow that has completed, though it may have been told of jobs that failed, nor behind a
    /// step that has. Ends that were gathered before they were told (those of more than a hundred jobs, or of
    /// jobs that are all in another queue) are told as they were.
    ///
    /// What can't be tried again is counted as [refused](BulkReport::refused). While a handler in the queue of the job that it
    /// handles is to run, or runs, that is everything, and nothing is done: it is to be told how that ended. Another
    /// try does it when the handler has ended; calling the handler off is a way, too. For good it is a job of which
    /// something that it waited for is not stored any more, and what holds together a flow that was never stored whole: what
    /// waits again for these is cancelled again.
    ///
    /// # Errors
    /// The storage can't be asked; what was done until then is done, doing it again does the rest.
    ///
    /// # Cancel safety
    /// When the future is dropped, some jobs may run again and others not; try again.
    pub async fn retry(&self) -> Result<BulkReport, BulkError> {
        let mut walk = self.walked().await?;
        let untold = again::untold(&walk, self.id());
        if !untold.is_empty() {
            for relay in untold {
                told(self.client(), relay).await.map_err(|error| BulkError::new(BulkReport::default(), error))?;
            }
            walk = self.walked().await?;
        }
        let mut deeds = Deeds::new(self.client());
        let acts = again::acts(&walk, self.id());
        if again::is_being_handled(&walk, &acts) {
            return Ok(deeds.refused(&acts));
        }
        // Holds wait again before any relay delivers to them.
        let (holds, others): (Vec<_>, Vec<_>) = acts.into_iter().partition(|(job, _)| job.node == Node::Hold);
        for (job, act) in holds.into_iter().chain(others) {
            deeds.add(job, &act).await?;
        }
        deeds.done().await
    }

    async fn walked(&self) -> Result<Walk, BulkError> {
        let walk = Walk::read(self.client(), self.id()).await;
        walk.map_err(|error| BulkError::new(BulkReport::default(), error))
    }
}

/// Waits until a relay has told of an end. What it told has arrived, though whoever carried it may not have said so yet, and
/// is to say it of this time and not of the next. When nobody does, this does.
async fn told(client: &Client, relay: &Job) -> Result<(), StorageError> {
    let (storage, clock) = (client.storage(), client.clock());
    let deadline = clock.now() + TOLD_WITHIN;
    loop {
        match storage.get(relay.id).await?.found() {
            Some(now) if now.state.is_end() => return Ok(()),
            Some(now) if clock.now() >= deadline => {
                let receipt = Receipt { relay: relay.id, sequence: now.sequence.unwrap_or_default() };
                return storage.outbox(&relay.shard, &[receipt]).await.map(drop);
            }
            Some(_) => clock.sleep_until(clock.now() + LOOK_EVERY).await,
            None => return Ok(()),
        }
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

    /// The report when nothing is done.
    fn refused(mut self, acts: &[(&Job, Act)]) -> BulkReport {
        for (job, _) in acts {
            self.report.matched += 1;
            self.report.note(Acted::Refused(job.state));
        }
        self.report
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
