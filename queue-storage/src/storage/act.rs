//! What people do to jobs.

use std::time::Duration;

use bytes::Bytes;

use super::StorageError;
use crate::model::{JobId, State, When};

/// The most jobs in one [`Operate::act`](super::Operate::act).
pub const MAX_ACT: usize = 100;

/// Something to do to jobs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Act {
    /// Calls it off. A job that does not run is cancelled at once, with
    /// [`EndReason::Requested`](crate::model::EndReason::Requested). One that runs is asked to stop
    /// ([`Acted::Asked`]): its worker is told by [`Topic::Stop`](super::Topic::Stop) and by its next renewal, and
    /// whatever would make the job live again afterwards (a retry, a snooze, a release, a lost lease) cancels it; a
    /// completion stands, and so does a death. Asking twice is asking once: the first says how long it is kept.
    /// A relay is refused: whoever waits at its other end would wait for ever.
    Cancel {
        /// How long the cancelled job is kept.
        keep: Duration,
    },
    /// Removes it, and frees its unique key. One that is live and does not run is cancelled first, and counted so. One
    /// that another job needs stays until it is needed no more, and nothing else keeps it. One that runs is refused, and
    /// so is a live relay.
    Delete,
    /// Runs an ended job again: as if it were new, but for its id, when it was taken in, its place in lists and its
    /// history. Its counters are zero, nothing expires it, it is unique no more, its key being free, and what it returned,
    /// or failed with, is gone. Its limits stay. It counts as taken in once more.
    /// Refused while a live job needs it, or a stored gather that has completed, whose inputs would be gone, and unless all that it
    /// waited for is stored and has ended, completed if that is its [`Trigger`](crate::model::Trigger): it starts with
    /// those inputs, and they are kept for it. What is no task's is refused.
    Revive(Edit),
    /// Lets an ended job wait again for what it [waited for](crate::model::Job::may_wait_again): a job that waited for
    /// others and did not complete, whatever ended it, a hold that was cancelled, or a completed relay. It is as if it were
    /// new, but for its id, when it was taken in, its place in lists and its history; it is unique no more, its key being
    /// free. Its limits stay, and are counted anew; but nothing expires any more what had expired. It counts as taken in once
    /// more. What has ended of those it waits for is followed at once, so it may be cancelled again, or be reached.
    /// Refused while a live job needs it, or a stored gather that has completed, and unless all that it waited for is
    /// stored. A hold that expired is refused: nobody is to deliver to it any more.
    Rearm,
    /// Changes a job of a task that is live and does not run.
    Edit(Edit),
}

/// What to change of a job; what is `None` stays.
#[derive(Clone, Debug, PartialEq, Default)]
#[non_exhaustive]
pub struct Edit {
    /// When it may start. A waiting job's counts from when it is reached, as ever. A ready job that is to start later is
    /// scheduled; a scheduled or retrying one that is due becomes ready, at the end of the line; a retrying one that is
    /// not stays retrying. What [expires](crate::model::NewJob::expires) it, if that is counted from when it is due, is
    /// counted anew. A revived job without it is to start at once.
    pub when: Option<When>,
    /// Higher runs first; a ready job keeps its sequence.
    pub priority: Option<i32>,
    /// The encoded envelope: arguments, headers, options.
    pub envelope: Option<Bytes>,
}

impl Edit {
    /// Changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes when it may start.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = Some(when);
        self
    }

    /// Changes its priority.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Changes its envelope.
    #[must_use]
    pub fn envelope(mut self, envelope: Bytes) -> Self {
        self.envelope = Some(envelope);
        self
    }
}

/// What became of one job of an [`Operate::act`](super::Operate::act).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acted {
    /// It is done; the state the job is in now, or was removed in.
    Done(State),
    /// It runs, and was asked to stop.
    Asked,
    /// A job in this state can't be treated so; nothing was changed.
    Refused(State),
    /// No such job is stored in this shard.
    Missing,
}

/// Refuses what breaks the contract; every storage asks this before it touches anything.
///
/// # Errors
/// *Invalid*: more than [`MAX_ACT`] jobs.
pub(super) fn check(ids: &[JobId]) -> Result<(), StorageError> {
    match ids.len() {
        count if count > MAX_ACT => {
            Err(StorageError::invalid(format!("{count} jobs in one act; the most is {MAX_ACT}")))
        }
        _ => Ok(()),
    }
}

impl Act {
    /// Refuses what breaks the contract; every storage asks this before it touches anything.
    ///
    /// # Errors
    /// *Invalid*: more than [`MAX_ACT`] jobs.
    pub fn check(&self, ids: &[JobId]) -> Result<(), StorageError> {
        check(ids)
    }
}
