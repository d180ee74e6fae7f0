//! Calling a flow off, and trying it again.

use std::time::Duration;

use queue_storage::model::{Job, JobId, Node, Shard, State, Timestamp};
use queue_storage::storage::{Act, Acted, MAX_ACT, Receipt, StorageError, Topic};

use super::again;
use super::handle::FlowHandle;
use super::walk::Walk;
use crate::client::Client;
use crate::operate::{BulkError, BulkReport};

/// How long a courier may take to say that a parcel has arrived, and how often one looks whether it has.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long those that were asked to stop may take to: twice what a worker lets them by default. And how often one looks
/// although nothing told that they have.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl<Out> FlowHandle<Out> {
    /// Calls the whole flow off: its handlers first, so that none of them runs for it, then every job that has not ended.
    /// One that runs is asked to stop, as [`Client::cancel`](crate::Client::cancel) says.
    ///
    /// It takes a call a job to find them, and one for each hundred to cancel them. The report counts the jobs that run
    /// tasks, not what ties them together.
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
        Ok(deeds.done().await?.0)
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
    /// A job of it that runs and was asked to stop is waited for, ten seconds at most: it is about to be cancelled, and what
    /// waits for it with it.
    ///
    /// What can't be tried again is counted as [refused](BulkReport::refused), and the report says [why](BulkReport::why),
    /// of the first. The report counts the jobs that run tasks, and what ties them together only where it is refused.
    /// Everything is refused, and nothing done, while
    /// - a job that was asked to stop still runs after those ten seconds: wait for its end and try again;
    /// - a handler in the queue of the job that it handles is to run, or runs: it is to be told how that ended. Another try
    ///   does it when the handler has ended; calling the handler off is a way, too.
    ///
    /// For good it is a job of which something that it waited for is not stored any more, and what holds together a flow that
    /// was never stored whole: what waits again for these is cancelled again.
    ///
    /// # Errors
    /// The storage can't be asked; what was done until then is done, doing it again does the rest.
    ///
    /// # Cancel safety
    /// When the future is dropped, some jobs may run again and others not; try again.
    pub async fn retry(&self) -> Result<BulkReport, BulkError> {
        let mut walk = self.walked().await?;
        let deadline = self.client().clock().now() + STOPPED_WITHIN;
        while let Some(job) = again::stopping(&walk, self.id()).first() {
            if !stopped(self.client(), job, deadline).await.map_err(nothing_done)? {
                return Ok(still_stopping(&walk, self.id(), job));
            }
            walk = self.walked().await?;
        }
        let untold = again::untold(&walk, self.id());
        if !untold.is_empty() {
            for relay in untold {
                told(self.client(), relay).await.map_err(nothing_done)?;
            }
            walk = self.walked().await?;
        }
        let acts = again::acts(&walk, self.id());
        if let Some((handler, job)) = again::being_handled(&walk, &acts) {
            let why = format!(
                "job {} of task `{}` is still to be told how job {} of task `{}` ended, and is {}: try again when it has \
                 ended, or cancel it",
                handler.id, handler.task, job.id, job.task, handler.state
            );
            return Ok(all_refused(&acts, why));
        }
        let mut deeds = Deeds::new(self.client());
        // Holds wait again before any relay delivers to them.
        let (holds, others): (Vec<_>, Vec<_>) = acts.into_iter().partition(|(job, _)| job.node == Node::Hold);
        for (job, act) in holds.into_iter().chain(others) {
            deeds.add(job, &act).await?;
        }
        let (mut report, refused) = deeds.done().await?;
        report.why = refused.map(|job| again::why_refused(&walk, job));
        Ok(report)
    }

    async fn walked(&self) -> Result<Walk, BulkError> {
        Walk::read(self.client(), self.id()).await.map_err(nothing_done)
    }
}

fn nothing_done(error: StorageError) -> BulkError {
    BulkError::new(BulkReport::default(), error)
}

/// The report when nothing is done.
fn all_refused(acts: &[(&Job, Act)], why: String) -> BulkReport {
    let mut report = BulkReport { why: Some(why), ..BulkReport::default() };
    for (job, _) in acts.iter().filter(|(job, _)| job.node.is_task()) {
        report.matched += 1;
        report.note(Acted::Refused(job.state));
    }
    report
}

fn still_stopping(walk: &Walk, end: JobId, job: &Job) -> BulkReport {
    let why = format!(
        "job {} of task `{}` was asked to stop and still runs, so what waits for it would be cancelled again: wait for its \
         end and try again",
        job.id, job.task
    );
    let mut report = all_refused(&again::acts(walk, end), why);
    report.matched += 1;
    report.note(Acted::Refused(State::Running));
    report
}

/// Waits until a job that was asked to stop has, and says whether it has.
async fn stopped(client: &Client, job: &Job, deadline: Timestamp) -> Result<bool, StorageError> {
    let (storage, clock) = (client.storage(), client.clock());
    // Before the first look, so that no end falls between look and listening.
    let listener = storage.listen(Topic::Job(job.id));
    loop {
        if !storage.get(job.id).await?.found().is_some_and(|job| again::is_stopping(&job)) {
            return Ok(true);
        }
        if clock.now() >= deadline {
            return Ok(false);
        }
        tokio::select! {
            () = listener.changed() => {}
            () = clock.sleep_until(deadline.min(clock.now() + LOOK_AGAIN)) => {}
        }
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
    batch: Option<(Shard, Act, Vec<&'a Job>)>,
    shards: Vec<Shard>,
    report: BulkReport,
    /// The first that was refused.
    refused: Option<&'a Job>,
}

impl<'a> Deeds<'a> {
    fn new(client: &'a Client) -> Self {
        Self { client, batch: None, shards: Vec::new(), report: BulkReport::default(), refused: None }
    }

    async fn add(&mut self, job: &'a Job, act: &Act) -> Result<(), BulkError> {
        match &mut self.batch {
            Some((shard, same, jobs)) if *shard == job.shard && same == act && jobs.len() < MAX_ACT => {
                jobs.push(job);
                Ok(())
            }
            _ => {
                self.flush().await?;
                self.batch = Some((job.shard.clone(), act.clone(), vec![job]));
                Ok(())
            }
        }
    }

    async fn flush(&mut self) -> Result<(), BulkError> {
        let Some((shard, act, jobs)) = self.batch.take() else { return Ok(()) };
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let expected = self.client.teller().expect(&shard, ids.iter().copied());
        let acted = self.client.storage().act(&shard, &ids, &act).await;
        let acted = acted.map_err(|error| BulkError::new(self.report.clone(), error))?;
        let known = |id| jobs.iter().find(|job| job.id == id).map(|job| (job.task.clone(), job.node.is_task()));
        self.client.tell_acted(&shard, (&ids, &acted), &act, known);
        drop(expected);
        for (job, acted) in jobs.into_iter().zip(acted) {
            self.note(job, acted);
        }
        if !self.shards.contains(&shard) {
            self.shards.push(shard);
        }
        Ok(())
    }

    /// What ties a flow together is no job of its user's: it counts where something is amiss.
    fn note(&mut self, job: &'a Job, acted: Acted) {
        if let Acted::Refused(_) = acted {
            self.refused.get_or_insert(job);
        }
        if job.node.is_task() || !matches!(acted, Acted::Done(_) | Acted::Asked) {
            self.report.matched += 1;
            self.report.note(acted);
        }
    }

    /// The report, and the first that was refused.
    async fn done(mut self) -> Result<(BulkReport, Option<&'a Job>), BulkError> {
        self.flush().await?;
        for shard in &self.shards {
            let ran = self.client.run_inline(shard).await;
            ran.map_err(|error| BulkError::new(self.report.clone(), error))?;
        }
        Ok((self.report, self.refused))
    }
}
