//! Settling, claiming, renewing; called by workers.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StorageError;
use crate::model::{Claimed, Fence, JobId, Settled, Shard, TaskName, Timestamp, WorkerId};

/// The most jobs one exchange claims; a larger wish is taken as this.
pub const MAX_CLAIM: u32 = 256;
/// The most ready jobs one exchange looks at.
pub const MAX_HEADS: u32 = 256;
/// The most settlements in one exchange.
pub const MAX_SETTLEMENTS: usize = 1_000;

/// How long a claim lasts, how often its holder means to renew it, and what becomes of a job that loses too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// From claim or renewal to the end of the lease. Default 10 s.
    pub length: Duration,
    /// Between renewals. Default 3 s; at most a third of the length.
    pub renew_every: Duration,
    /// How many crashes make a job dead; `None` for never. Default 3.
    pub crash_limit: Option<u32>,
    /// How long a job that dies of a lost lease is kept. Default 90 days.
    pub keep_dead: Duration,
}

impl LeaseTerms {
    /// Terms of this length, renewed three times and a bit within it.
    #[must_use]
    pub fn of(length: Duration) -> Self {
        Self {
            length,
            renew_every: length.mul_f64(0.3),
            crash_limit: Some(3),
            keep_dead: Duration::from_secs(90 * 86_400),
        }
    }

    /// The silence after which a shard takes it that the storage was away: two renewal intervals.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.renew_every * 2
    }

    /// How long after such a silence nothing is reclaimed: one renewal interval and a second.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.renew_every + Duration::from_secs(1)
    }

    /// How often a worker that only sleeps looks in while the shard holds leases, so that its sleep is not mistaken for
    /// an outage: one and a half renewal intervals.
    #[must_use]
    pub fn watch_every(&self) -> Duration {
        self.renew_every.mul_f64(1.5)
    }
}

impl Default for LeaseTerms {
    fn default() -> Self {
        Self::of(Duration::from_secs(10))
    }
}

/// What a worker says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Its incarnation.
    pub id: WorkerId,
    /// Where it runs, for people: host and process id.
    pub host: String,
    /// The shards it serves.
    pub shards: Vec<Shard>,
    /// The names of the tasks it can run, aliases among them.
    pub tasks: BTreeSet<TaskName>,
    /// How many jobs it runs at once.
    pub concurrency: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last called; what is handed in is ignored.
    pub seen_at: Timestamp,
}

/// One exchange: settlements down, jobs up. One is in flight per worker and shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The incarnation that asks.
    pub worker: WorkerId,
    /// The shard it asks.
    pub shard: Shard,
    /// One more than the worker's previous exchange with this shard; the first is 1. An exchange whose answer was lost
    /// is repeated as it was.
    pub number: u64,
    /// What must become true of jobs it ran; at most [`MAX_SETTLEMENTS`], no job twice.
    pub settlements: Vec<Settled>,
    /// How many jobs it has room for; 0 only settles.
    pub want: u32,
    /// How many of them may be [suspects](crate::model::Job::is_suspect).
    pub suspects: u32,
    /// The terms of the leases it gets, and on which ended ones are taken back.
    pub lease: LeaseTerms,
}

/// The answer to an [`Exchange`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Exchanged {
    /// What became of each settlement, in their order.
    pub settled: Vec<SettleAnswer>,
    /// The jobs claimed, in the order in which they are to start.
    pub claimed: Vec<Claimed>,
    /// After how long another look is worth while even if nothing wakes the worker; `None` when nothing is to come.
    pub look_again: Option<Duration>,
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleAnswer {
    /// It is written.
    Applied,
    /// The lease was not held any more: nothing was changed.
    Lost,
}

/// A renewal of leases in one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Renewal {
    /// The incarnation that asks.
    pub worker: WorkerId,
    /// The shard it asks.
    pub shard: Shard,
    /// The leases it holds there.
    pub leases: Vec<(JobId, Fence)>,
    /// Their terms.
    pub lease: LeaseTerms,
}

/// What became of one lease of a [`Renewal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Renewed {
    /// It runs anew from now, and its delivery is confirmed.
    Held,
    /// It is not this worker's any more.
    Lost,
}

/// Settles, claims, renews.
///
/// # The exchange, step by step
///
/// One atomic call does, in this order:
///
/// 1. **Number.** The shard remembers each worker's last number and its answer. The same number: the settlement answers
///    are the same, and the claims are those of that number whose leases still stand; nothing is changed. A lower one:
///    refused as superseded. A higher one acknowledges all before it: their claims count as *delivered*.
/// 2. **Settle.** Each settlement whose (job, worker, fence) matches a held lease is written with all that follows from
///    it in this shard: the jobs waiting for it are reached (or cancelled, level by level), the lease is gone, the end is
///    counted, listeners for the job are told. A mismatch is [`SettleAnswer::Lost`] and changes nothing.
/// 3. **Promote.** Up to [`MAX_UPKEEP`](super::MAX_UPKEEP) scheduled and retrying jobs that are due become ready, earliest first, each with a
///    new sequence.
/// 4. **Reclaim.** Up to [`MAX_UPKEEP`](super::MAX_UPKEEP) ended leases are taken back, as [`Maintain::reclaim`](super::Maintain::reclaim) does.
/// 5. **Claim.** Up to `want` ready jobs, highest priority first, then lowest sequence. It looks at no more than
///    [`MAX_HEADS`] heads; a head whose task the worker has not registered is *parked* (keeping its sequence), and the
///    worker's own parked jobs (of tasks it has registered, parked by workers that have not) are candidates in their old
///    order. At most `suspects` of those claimed are suspects; suspects beyond that stay where they are and hide nobody.
///    Each job claimed gets the next fence and a lease of the given length.
/// 6. **Sleep.** If fewer than `want` were claimed, any job that becomes ready in the shard after this call signals the
///    worker's [`Topic::Worker`](super::Topic::Worker) listener, if it had one before the call. `look_again` is the earliest of: the next due
///    job, the next lease end, and [`LeaseTerms::watch_every`] while any lease stands; zero when more heads than could be
///    looked at are left.
///
/// # Silence
///
/// The shard notes when it was last called with an exchange, renewal or reclaim. A call that finds a silence longer than
/// [`LeaseTerms::silence`] while leases stand sets the moment before which nothing is reclaimed to
/// [`LeaseTerms::grace`] from now: after an outage the owners get to renew first.
#[async_trait]
pub trait Claim: Send + Sync {
    /// Makes the worker known: its task names, so that exchanges need not carry them.
    ///
    /// Replaces what was known of the same incarnation; its numbers and leases stay. Forgotten after a day without a
    /// call. Nothing to do: registering the same record twice.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn register(&self, worker: WorkerRecord) -> Result<(), StorageError>;

    /// Forgets the worker and its numbers. Its leases, if any are left, run out by themselves. Nothing to do: a worker
    /// that is not known.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn deregister(&self, worker: WorkerId) -> Result<(), StorageError>;

    /// Settles and claims in one atomic call; see [the steps](Claim#the-exchange-step-by-step).
    ///
    /// # Errors
    /// *Unknown worker*: register first, then repeat; nothing was changed. *Invalid*: more than [`MAX_SETTLEMENTS`], or
    /// a job twice. *Superseded*. *Unavailable*.
    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError>;

    /// Renews leases, each on its own: one that is lost does not hinder the others. Answers in the order of the call.
    ///
    /// A lease that has run out but was not taken back is renewed. Renewing also confirms the delivery of the job.
    /// The worker need not be registered. Not numbered: it is idempotent. Nothing to do: an empty list.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError>;
}
