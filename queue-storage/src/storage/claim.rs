//! Settling, claiming, renewing; called by workers.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StorageError;
use crate::model::{Claimed, Fence, JobId, Progress, Settled, Shard, State, TaskName, Timestamp, WorkerId};

/// The most jobs one exchange claims; a larger wish is taken as this.
pub const MAX_CLAIM: u32 = 256;
/// The most ready jobs one exchange looks at.
pub const MAX_HEADS: u32 = 256;
/// The most settlements in one exchange.
pub const MAX_SETTLEMENTS: usize = 256;
/// The most leases in one renewal.
pub const MAX_RENEWALS: usize = 1_000;
/// An exchange claims no further job once the envelopes it has claimed hold this many bytes.
pub const MAX_CLAIM_BYTES: usize = 4 * 1024 * 1024;
/// A job that lapses this often is dead as crashed, where crashes are limited at all: its very receipt kills workers.
pub const MAX_LAPSES: u32 = 10;

/// How long after its last call a worker counts as live, where its leases are not longer.
const LIVE_FOR: Duration = Duration::from_secs(60);

/// How long a claim lasts, how often its holder means to renew it, and what becomes of a job that loses too many.
///
/// They are the holder's, registered with it: whoever takes a lease back goes by the terms of the worker that lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTerms {
    /// From claim or renewal to the end of the lease. Default 10 s.
    pub length: Duration,
    /// Between renewals. Default 3 s; at most a third of the length.
    pub renew_every: Duration,
    /// How many crashes make a job dead; `None` for never. Default 3, at least 1.
    pub crash_limit: Option<u32>,
    /// How long a job that dies of a lost lease is kept. Default 90 days.
    pub keep_dead: Duration,
    /// How long a job is kept that an exchange of its expires or, being revoked, cancels. Default 1 h.
    pub keep_ended: Duration,
    /// How many runs of a job are remembered beside its last. Default 10.
    pub keep_attempts: u32,
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
            keep_ended: Duration::from_secs(3_600),
            keep_attempts: 10,
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
    /// The version of its program, where that tells one.
    #[serde(default)]
    pub version: Option<String>,
    /// The shards it serves.
    pub shards: Vec<Shard>,
    /// The names of the tasks it can run, aliases among them.
    pub tasks: BTreeSet<TaskName>,
    /// The highest [`NewJob::needs`](crate::model::NewJob::needs) it can run: [`LEVEL`](crate::model::LEVEL).
    pub understands: u16,
    /// The terms of its leases.
    pub lease: LeaseTerms,
    /// How many jobs it runs at once.
    pub concurrency: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last called; what is handed in is ignored.
    pub seen_at: Timestamp,
}

impl WorkerRecord {
    /// Whether it has called lately enough to be taken for live: within a minute, or within its lease where that is longer.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now.since(self.seen_at) <= LIVE_FOR.max(self.lease.length)
    }
}

/// One exchange: settlements down, jobs up. One is in flight per worker and shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The incarnation that asks.
    pub worker: WorkerId,
    /// The shard it asks.
    pub shard: Shard,
    /// One more than the worker's previous exchange with this shard; the first is 1. An exchange whose answer was lost
    /// is repeated with its number and its settlements (`want` and `suspects` may be lower, so that a worker can use its
    /// room elsewhere meanwhile) until it is answered; only then comes the next.
    pub number: u64,
    /// What must become true of jobs it ran; at most [`MAX_SETTLEMENTS`], no job twice.
    pub settlements: Vec<Settled>,
    /// How many jobs it has room for; 0 only settles.
    pub want: u32,
    /// How many of them may be [suspects](crate::model::Job::suspect).
    pub suspects: u32,
}

impl Exchange {
    /// Refuses what breaks the contract; every storage asks this before it touches anything.
    ///
    /// # Errors
    /// *Invalid*: more than [`MAX_SETTLEMENTS`], or a job twice.
    pub fn check(&self) -> Result<(), StorageError> {
        let count = self.settlements.len();
        if count > MAX_SETTLEMENTS {
            let message = format!("{count} settlements in one exchange; the most is {MAX_SETTLEMENTS}");
            return Err(StorageError::invalid(message));
        }
        let mut seen = HashSet::with_capacity(count);
        match self.settlements.iter().find(|settled| !seen.insert(settled.job)) {
            Some(twice) => Err(StorageError::invalid(format!("job {} is settled twice in one exchange", twice.job))),
            None => Ok(()),
        }
    }
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
    /// Whether a suspect is ready that was not claimed because no more suspects were asked for: another look is worth
    /// while as soon as one may be. Says nothing when `want` was 0.
    pub suspects_left: bool,
    /// The tasks of the jobs that this call parked, so that the worker can say that it does not know them;
    /// those of a paused task, and of jobs that a limit holds back, are left out. A repeat may leave them out.
    pub parked: BTreeSet<TaskName>,
    /// What became, in this call, of jobs that it neither settled nor claimed: [taken back](State::Ready),
    /// or ended without a run of theirs being settled. A repeat may leave them out.
    pub upkept: Vec<(JobId, State)>,
    /// Whether something stands in the shard's [outbox](super::Maintain::outbox) after this call.
    pub outbox: bool,
    /// Whether a schedule of the shard is [due](super::Maintain::tick).
    pub ticks: bool,
}

impl Exchanged {
    /// The jobs that this call made dead by taking their leases back.
    pub fn died(&self) -> impl Iterator<Item = JobId> + '_ {
        self.upkept.iter().filter(|(_, state)| *state == State::Dead).map(|&(id, _)| id)
    }
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettleAnswer {
    /// It is written.
    Applied,
    /// It is written as a cancellation, since someone had asked the run to stop: the job would have lived on.
    Cancelled,
    /// The lease was not held any more: nothing was changed.
    Lost,
}

impl SettleAnswer {
    /// Whether anything was written.
    #[must_use]
    pub const fn is_written(self) -> bool {
        !matches!(self, Self::Lost)
    }
}

/// A renewal of leases in one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Renewal {
    /// The incarnation that asks.
    pub worker: WorkerId,
    /// The shard it asks.
    pub shard: Shard,
    /// Leases it holds there, at most [`MAX_RENEWALS`].
    pub leases: Vec<(JobId, Fence)>,
    /// How far runs got whose leases are among them, at most one for each.
    pub progress: Vec<(JobId, Progress)>,
}

impl Renewal {
    /// Refuses what breaks the contract; every storage asks this before it touches anything.
    ///
    /// # Errors
    /// *Invalid*: more than [`MAX_RENEWALS`], or progress without a lease, or two of one job.
    pub fn check(&self) -> Result<(), StorageError> {
        match self.leases.len() {
            count if count > MAX_RENEWALS => {
                Err(StorageError::invalid(format!("{count} leases in one renewal; the most is {MAX_RENEWALS}")))
            }
            _ => self.check_progress(),
        }
    }

    fn check_progress(&self) -> Result<(), StorageError> {
        let mut without: HashSet<JobId> = self.leases.iter().map(|&(id, _)| id).collect();
        match self.progress.iter().find(|(id, _)| !without.remove(id)) {
            Some((id, _)) => Err(StorageError::invalid(format!("progress of job {id} without its lease, or twice"))),
            None => Ok(()),
        }
    }
}

/// What became of one lease of a [`Renewal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Renewed {
    /// It runs anew from now, and its delivery is confirmed.
    Held,
    /// The same, and the run is asked to stop: [`Act::Cancel`](super::Act::Cancel).
    Stop,
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
///    are the same, and the claims are those of that number that were neither settled nor taken back, their leases
///    running anew from now (without being confirmed); nothing else is changed. `look_again` is told anew, and is zero if
///    a pause of the shard, this worker or a task has ended that no exchange with a number of its own has seen end. A lower one: refused as superseded. A
///    higher one acknowledges all before it: their leases are *delivered*.
/// 2. **Settle.** Each settlement whose (job, worker, fence) matches a held lease is written: the lease is gone, the
///    end is counted, listeners for the job are told. A mismatch is [`SettleAnswer::Lost`] and changes nothing. A job that
///    was asked to stop and would be retried, snoozed or released is cancelled instead, with
///    [`EndReason::Requested`](crate::model::EndReason::Requested), with what went wrong if it failed, and kept as long as
///    whoever asked said, and the answer is [`SettleAnswer::Cancelled`]. A run that
///    did not end the job is put into its [`history`](crate::model::Job::history); of one that did, the job's own fields
///    tell ([`Job::worker`](crate::model::Job::worker) stays). Either way the history then keeps the last
///    [`LeaseTerms::keep_attempts`] of the worker that held the lease; a revival adds the last run to them.
/// 3. **Follow.** Up to [`MAX_UPKEEP`](super::MAX_UPKEEP) edges that lead from ended jobs to jobs waiting for them are followed, as the
///    [`Trigger`](crate::model::Trigger) of the waiting job says: the edge is struck; the job is reached when that was its last, or its
///    trigger is met; or it is cancelled, which may be followed in turn, as may the completion of a
///    [gather](crate::model::Node::Gather) that is reached. What is cancelled so is kept as long as the job at the other
///    end of the edge. Edges beyond the bound stay noted in the
///    shard for the next call. The same once more after step 5, for what died there.
/// 4. **Promote.** Up to [`MAX_UPKEEP`](super::MAX_UPKEEP) scheduled and retrying jobs that are due become ready, earliest first, each with a
///    new sequence. Then up to [`MAX_UPKEEP`](super::MAX_UPKEEP) jobs that do not run and are overdue
///    ([`Job::overdue_at`](crate::model::Job::overdue_at), at it or past it) are expired, earliest first, and kept for the
///    caller's [`LeaseTerms::keep_ended`]; they are followed in step 5's end.
/// 5. **Reclaim.** Up to [`MAX_UPKEEP`](super::MAX_UPKEEP) ended leases of *other* workers are taken back, earliest first. A job that was not
///    delivered *lapses*: it goes back with [`lapses`](crate::model::Job::lapses) raised, or dies as crashed at
///    [`MAX_LAPSES`]. A delivered one is dead with [`EndReason::Interrupted`](crate::model::EndReason::Interrupted) if it runs at most once; else
///    it *crashes*: [`crashes`](crate::model::Job::crashes) is raised, and it goes back as a suspect, or is dead with
///    [`EndReason::Crashed`](crate::model::EndReason::Crashed) when that reaches the limit in the terms of the worker that lost it. What goes back
///    keeps its sequence. What dies is followed and counted like any end, and told in [`Exchanged::upkept`], as is what expires, is taken back, or is cancelled by an edge or at the claim. A job that
///    was asked to stop is cancelled instead, whatever it would have become; its counters rise as ever. A lease has ended when the clock shows its
///    end; a worker that is not known any more had the default terms.
/// 6. **Claim.** Nothing while the shard or this worker is [paused](super::Control::Pause). Else up to `want` ready jobs, highest priority first, then lowest sequence, and no further once
///    [`MAX_CLAIM_BYTES`] are claimed. It looks at no more than [`MAX_HEADS`] heads; a head whose task the worker has not
///    registered, or that needs more than it understands, or whose task is paused, is *parked*, keeping its sequence.
///    One that is overdue is expired, and one that is [revoked](super::Revocation) is cancelled with
///    [`EndReason::Revoked`](crate::model::EndReason::Revoked), both kept for the caller's [`LeaseTerms::keep_ended`].
///    One that a [limit](crate::model::Limit) of its holds back is parked for the first that does, as
///    [`LimitFull`](crate::model::Parked::LimitFull) or [`RateWindow`](crate::model::Parked::RateWindow), or is cancelled
///    with [`EndReason::Full`](crate::model::EndReason::Full) and kept likewise; one that none does takes its slots, and
///    pays its rates, together with its lease. Of one head all this is asked in this order. No more is claimed than the [slots](super::Control::Slots) and the
///    [rate](super::Control::Rate) of the whole shard allow.
///    Parked jobs that this worker can run now, whatever they were parked for, are candidates in their old place. Suspects are a line of their own: the first `suspects` of them that
///    this worker can run are candidates in their place, and the others hide nobody; those that it can't run and that stand before the
///    first that it can may be parked sooner than their turn, with all that follows for their limits. All jobs claimed by one exchange
///    get one fence: one more than the shard's last, and at least the time in microseconds, so that it rises even if the
///    storage has lost its last writes.
/// 7. **Sleep.** If fewer than `want` were claimed, a job that becomes ready after this call, or due before the
///    `look_again` told, signals the worker's [`Topic::Worker`](super::Topic::Worker) listener, if it had one before the call; so does a call
///    that parks a job, or leaves ready jobs unclaimed. A storage may signal no more sleepers than the jobs can use.
///    `look_again` is the earliest of: the next due job; the next overdue job; the end of a pause of the shard, this
///    worker or a task; the next schedule that is to be due; the opening of the rate of the whole shard, while jobs are in line; the next lease end (no sooner than the end of a silence's
///    grace); [`LeaseTerms::watch_every`] while any lease stands. It is zero when this call stopped at a bound of steps 3
///    to 6 with more to do.
///
/// An exchange with nothing to settle and no room is upkeep: steps 3 to 5. A worker makes one for each shard it serves
/// whenever `look_again` has passed, room or no room, so that a full worker still reclaims.
///
/// # Slots and rates
///
/// The slots of a key are the leases of the jobs under it: taken with a claim, free with whatever ends the lease, in the
/// same step. A slot that falls free brings the first job parked for it, by priority and sequence, back into line in its
/// old place. So does a job that had been in line and leaves it without a lease, while a slot is free, since the slot might
/// have been meant for it. So as long as a slot is free and jobs are parked for it, one of them is in line. (Where jobs of a
/// key differ in how many slots it has, the word of the first parked says whether one is free, and one that is free by
/// the word of another may stay so until the next falls free; but never while none is taken.)
///
/// Jobs parked for a rate come back into line, in their old places, by step 4 of an exchange at or after the moment at
/// which the rate opens, as many as it then has room for; the next look is then when one more has room beside those that
/// came back ([`Rate::look_after`](crate::model::Rate::look_after)). `look_again` is no later than the
/// earliest such moment. Those counted against
/// [`MAX_UPKEEP`](super::MAX_UPKEEP) are the jobs that came back.
///
/// A job that had been in line under a rate and leaves it without a lease, unless it is parked for a limit, had a turn that
/// it did not use: the jobs parked for its rates are looked at by the next call.
///
/// A settlement that [holds](crate::model::Settlement::Snooze) closes the rates its job is under
/// ([`Rate::held`](crate::model::Rate::held)).
///
/// # Silence
///
/// The shard notes when it was last called with an exchange or renewal. A call that finds a silence longer than
/// [`LeaseTerms::silence`] (of the calling worker) while leases stand takes it that the storage was away: until
/// [`LeaseTerms::grace`] from now, only leases that had ended *before* the silence began are taken back, so that owners get
/// to renew first; so each lease is spared at most once. A call that finds its clock before the last note treats that as a
/// silence that began now, and a lease that ends later than its worker's length from now ends then.
#[async_trait]
pub trait Claim: Send + Sync {
    /// Makes the worker known: its task names and terms, so that exchanges need not carry them.
    ///
    /// Replaces what was known of the same incarnation; its numbers and leases stay. Forgotten after a day without a
    /// call. Nothing to do: registering the same record twice.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn register(&self, worker: WorkerRecord) -> Result<(), StorageError>;

    /// Forgets the worker and its numbers: it stops. Leases it still has (of a task that can't be stopped) run out by
    /// themselves and then lapse, counted against nothing, except for jobs that run at most once. Nothing to do: a
    /// worker that is not known.
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
    /// Progress is written where its lease is held, and told to listeners of [`Topic::Progress`](super::Topic::Progress).
    ///
    /// A lease that has run out but was not taken back is renewed. Renewing also confirms the delivery of the job. To a
    /// worker that is not registered every lease is lost. Not numbered: it is idempotent. Nothing to do: an empty list.
    ///
    /// # Errors
    /// *Invalid*: as [`Renewal::check`] says. *Unavailable*.
    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError>;
}
