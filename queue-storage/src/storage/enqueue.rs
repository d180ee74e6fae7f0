//! Taking jobs in; called by clients.

use async_trait::async_trait;

use super::StorageError;
use crate::model::{CallerId, JobId, Limit, MAX_LIMITS, MAX_TAGS, NewJob, Node, Shard, State, Trigger};

/// The most jobs in one [`EnqueueCall`].
pub const MAX_ENQUEUE: usize = 1_000;
/// The most jobs that all jobs of one [`EnqueueCall`] wait for, added up.
pub const MAX_WAITS_FOR: usize = 1_000;

/// Jobs for one shard, numbered by the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct EnqueueCall {
    /// Who calls: one incarnation of a client.
    pub caller: CallerId,
    /// Where the jobs go.
    pub shard: Shard,
    /// One more than the caller's previous call to this shard; the first is 1. One call is in flight at a time. A call
    /// whose answer was lost is repeated with the same number and the same jobs, or given up: then the next number
    /// makes sure that it takes effect before that or never. A number is never used for other jobs.
    pub number: u64,
    /// The jobs, at most [`MAX_ENQUEUE`], in the order in which they are to become ready.
    pub jobs: Vec<NewJob>,
}

impl EnqueueCall {
    /// Refuses what breaks the contract; every storage asks this before it touches anything.
    ///
    /// # Errors
    /// *Invalid*: as [`Enqueue::enqueue`] says.
    pub fn check(&self) -> Result<(), StorageError> {
        check_jobs(&self.jobs, &self.shard)
    }
}

/// Refuses jobs that no shard, or not this one, may be sent in one call.
///
/// # Errors
/// *Invalid*: as [`Enqueue::enqueue`] says.
pub fn check_jobs(jobs: &[NewJob], shard: &Shard) -> Result<(), StorageError> {
    if jobs.len() > MAX_ENQUEUE {
        return Err(StorageError::invalid(format!("{} jobs in one call; the most is {MAX_ENQUEUE}", jobs.len())));
    }
    let edges: usize = jobs.iter().map(|job| job.waits_for.len()).sum();
    if edges > MAX_WAITS_FOR {
        return Err(StorageError::invalid(format!("{edges} dependencies in one call; the most is {MAX_WAITS_FOR}")));
    }
    if let Some((job, fault)) = jobs.iter().find_map(|job| Some((job, limits_fault(&job.limits)?))) {
        return Err(StorageError::invalid(format!("job {}: {fault}", job.id)));
    }
    if let Some((job, fault)) = jobs.iter().find_map(|job| Some((job, node_fault(job)?))) {
        return Err(StorageError::invalid(format!("job {}: {fault}", job.id)));
    }
    if let Some(job) = jobs.iter().find(|job| job.tags.len() > MAX_TAGS || has_twice(&job.tags)) {
        let tags = &job.tags;
        return Err(StorageError::invalid(format!(
            "job {} has the tags {tags:?}; the most is {MAX_TAGS}, each once",
            job.id
        )));
    }
    match jobs.iter().find(|job| job.id.home_tag() != shard.tag()) {
        Some(job) => Err(StorageError::invalid(format!("job {} was made for another shard than {shard}", job.id))),
        None => Ok(()),
    }
}

/// What is wrong with the limits of a job.
fn limits_fault(limits: &[Limit]) -> Option<String> {
    let kinds: Vec<_> = limits.iter().map(|one| (matches!(one, Limit::Slots { .. }), one.key())).collect();
    if limits.len() > MAX_LIMITS || has_twice(&kinds) {
        return Some(format!("the limits {limits:?}; the most is {MAX_LIMITS}, each kind and key once"));
    }
    limits.iter().find_map(Limit::fault)
}

/// What is wrong with what a job is in its flow.
fn node_fault(job: &NewJob) -> Option<String> {
    if !job.node.is_task() && (job.unique.is_some() || !job.limits.is_empty()) {
        return Some("only a task's job is unique or limited".to_owned());
    }
    match &job.node {
        Node::Hold if !job.waits_for.is_empty() => Some("a hold waits for no job".to_owned()),
        Node::Relay { .. } if job.waits_for.len() != 1 || job.trigger != Trigger::Ended => {
            Some("a relay waits for one job, and for any end of it".to_owned())
        }
        Node::Relay { .. } if job.expires.is_some() || job.deadline.is_some() => {
            Some("a relay never expires: whoever waits at its other end would wait for ever".to_owned())
        }
        Node::Relay { shard, to } if to.home_tag() != shard.tag() => {
            Some(format!("it is to deliver to job {to}, which was made for another shard than {shard}"))
        }
        _ => None,
    }
}

fn has_twice<T: PartialEq>(all: &[T]) -> bool {
    all.iter().enumerate().any(|(at, one)| all[..at].contains(one))
}

/// What became of one job of an [`EnqueueCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// It was taken in, and is in this state now.
    Added(State),
    /// A job of this id is stored already, in this state; nothing was changed.
    Duplicate(State),
    /// It was not taken in: this job of the same unique key keeps it out; the state it was in, `None` if it is stored no
    /// more.
    Existing(JobId, Option<State>),
    /// The same, and whoever enqueued it asked to be refused.
    Rejected(JobId, Option<State>),
    /// It was not taken in: this job of the same unique key, in this state now, has taken over what is new.
    Replaced(JobId, State),
    /// It was not taken in: it waits for this job, which is not stored in this shard, or was refused itself.
    UnknownDependency(JobId),
}

impl Admission {
    /// The job of the same unique key that kept it out, if one did.
    #[must_use]
    pub const fn kept_out_by(self) -> Option<JobId> {
        match self {
            Self::Existing(id, _) | Self::Rejected(id, _) | Self::Replaced(id, _) => Some(id),
            Self::Added(_) | Self::Duplicate(_) | Self::UnknownDependency(_) => None,
        }
    }

    /// The state the stored job was in when the call was applied, this one or the one that keeps it out; `None` if there
    /// is none.
    #[must_use]
    pub const fn state(self) -> Option<State> {
        match self {
            Self::Added(state) | Self::Duplicate(state) | Self::Replaced(_, state) => Some(state),
            Self::Existing(_, state) | Self::Rejected(_, state) => state,
            Self::UnknownDependency(_) => None,
        }
    }
}

/// Takes jobs in.
#[async_trait]
pub trait Enqueue: Send + Sync {
    /// Stores the jobs of the call, in one step: nobody sees some of them without the others.
    ///
    /// **Durable** when it returns, as far as the storage promises durability at all.
    ///
    /// **Order.** Jobs that become ready get rising sequences in the order of the call, after every sequence given
    /// before.
    ///
    /// **Once.** The shard remembers each caller's last number with its answer: the same number answers the same and
    /// changes nothing, a lower one is refused as superseded. Beside that, and before anything else is looked at, a job
    /// whose id is stored (live, or ended and not yet pruned), or comes earlier in the call, is a
    /// [`Duplicate`](Admission::Duplicate): the stored one stays as it is. What is remembered of a caller that has not
    /// called for a day may be dropped.
    ///
    /// **Waiting jobs.** A job with [`waits_for`](NewJob::waits_for) becomes `waiting`; what has ended of that is followed at
    /// once, as its [`Trigger`] says. A job that is waited for is kept until the waiting one has completed or was
    /// not needed, and, where it may still be needed after another end
    /// ([`Job::keeps_inputs`](crate::model::Job::keeps_inputs)), until that one is removed, whatever its own retention says;
    /// but a dead letter only until its edges have been followed. A [hold](Node::Hold) waits for what is delivered to it; what its [`expires`](NewJob::expires) counts, counts from now.
    ///
    /// **Unique jobs.** What is said under [`Unique`](crate::model::Unique) is decided here, each job after those before it
    /// in the call, and once more than a duplicate is looked for: if another job holds the key, the new one is not taken
    /// in, and its own [`Conflict`](crate::model::Conflict) says what is answered, and what the other takes over as if it
    /// were [edited](super::Act::Edit). Where that can't be, as the other runs or has ended, it is
    /// [`Existing`](Admission::Existing). Otherwise it holds the key from now on, by its id. The key is free again in the
    /// same step that ends the holder's [`Window`](crate::model::Window): no key outlives its window, however that came.
    ///
    /// **Limits.** A job that would be ready while a key of its has no free [slot](crate::model::Limit::Slots), by its own
    /// word, is parked as [`LimitFull`](crate::model::Parked::LimitFull) at once, unless it is to be cancelled then.
    ///
    /// **Wakes** sleepers of the shard when a job became ready, or is due before they meant to look again.
    ///
    /// Nothing to do: an empty call is answered with an empty list and remembered like any other.
    ///
    /// # Errors
    /// *Invalid*: more than [`MAX_ENQUEUE`] jobs, more than [`MAX_WAITS_FOR`] dependencies, a job whose home tag is not
    /// this shard's, more than [`MAX_TAGS`] tags or one twice, a [`Node`] that is not as it says. *Superseded*: a later call was applied; whether this one was is not known. *Unavailable*.
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError>;
}
