//! Upkeep; called by keepers. Every step is idempotent and may run on every process at once.

use async_trait::async_trait;

use std::time::Duration;

use super::{ScheduleChange, StorageError, Ticked};
use crate::model::{Input, JobId, Shard, State};

/// The most jobs one step of upkeep moves.
pub const MAX_UPKEEP: u32 = 100;

/// The most ended jobs one pruning removes.
pub const MAX_PRUNE: u32 = 250;

/// How much a shard keeps of what has ended, whatever each job's own retention says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The most completed jobs without a result. Default 10,000.
    pub traces: u64,
    /// The most dead letters. Default 10,000.
    pub dead: u64,
    /// How long a job may be parked because nobody knows its task before it is dead; `None` for any time. Default 7 days.
    pub unknown: Option<Duration>,
    /// How long such a dead letter is kept. Default 90 days.
    pub keep_dead: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self { traces: 10_000, dead: 10_000, unknown: Some(DAY * 7), keep_dead: DAY * 90 }
    }
}

/// What one step of upkeep did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Step {
    /// Jobs it moved or removed.
    pub done: u32,
    /// Whether it stopped at its bound with more to do.
    pub more: bool,
    /// Jobs that it made dead; they count as done.
    pub died: Vec<JobId>,
}

/// The most holds delivered to in one call.
pub const MAX_DELIVER: usize = 100;

/// How long relays and holds that have told what they had to tell are kept at least, so that whoever stores their flow a
/// second time meanwhile, after a lost answer say, finds them.
pub const KEEP_TOLD: Duration = Duration::from_secs(60);

/// What is on its way from one shard to another.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parcel {
    /// The relay that stands in the outbox.
    pub relay: JobId,
    /// Its place there, which is its [sequence](crate::model::Job::sequence): a higher one each time that it comes to
    /// stand there.
    pub sequence: u64,
    /// Where it goes.
    pub shard: Shard,
    /// The hold it is for.
    pub to: JobId,
    /// What the job before the relay hands on now, never open; of a gather it names the gather, and whoever delivers it
    /// gathers. A dead letter is not kept for it: where that has gone, so has what it failed with.
    pub input: Input,
}

impl Parcel {
    /// A parcel.
    #[must_use]
    pub fn new((relay, sequence): (JobId, u64), shard: Shard, to: JobId, input: Input) -> Self {
        Self { relay, sequence, shard, to, input }
    }

    /// What is told once it has arrived.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt { relay: self.relay, sequence: self.sequence }
    }
}

/// That a parcel has arrived: the one that a relay stood in the outbox for at this place, and none that it stands there
/// for at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The relay.
    pub relay: JobId,
    /// The place at which it stood.
    pub sequence: u64,
}

/// Some of what stands in an outbox.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Outbox {
    /// What is to be delivered, oldest first.
    pub parcels: Vec<Parcel>,
    /// Whether there is more.
    pub more: bool,
}

/// Refuses what breaks the contract; every storage asks this before it touches anything.
///
/// # Errors
/// *Invalid*: more than [`MAX_DELIVER`], or something that no hold can be given.
pub fn check_delivery(deliveries: &[(JobId, Input)]) -> Result<(), StorageError> {
    if deliveries.len() > MAX_DELIVER {
        let count = deliveries.len();
        return Err(StorageError::invalid(format!("{count} deliveries in one call; the most is {MAX_DELIVER}")));
    }
    let fits = |input: &Input| matches!(input, Input::Returned(_) | Input::Nothing | Input::Failed(_));
    match deliveries.iter().find(|(_, input)| !fits(input)) {
        Some((hold, input)) => Err(StorageError::invalid(format!("{input:?} can't be delivered to job {hold}"))),
        None => Ok(()),
    }
}

/// Keeps a storage in order.
#[async_trait]
pub trait Maintain: Send + Sync {
    /// Removes up to [`MAX_PRUNE`] ended jobs of the shard whose time to be kept has passed, or that exceed the
    /// retention: first those kept too long, then what is too many: of completed jobs without a result beyond
    /// [`Retention::traces`] those go first whose time to be kept ends first, of dead letters beyond
    /// [`Retention::dead`] those that died first. One that is kept for another job never goes. A job that goes lets go of
    /// what it kept itself; each such job counts against the bound too, but the one that passes it goes whole. Also drops what is
    /// remembered of workers without leases and of callers that have not called for a day, of unique keys whose time has
    /// passed, and of rates that are paid, within the same bound. The
    /// counts of ends stay.
    ///
    /// Up to [`MAX_UPKEEP`] jobs that are parked as [`UnknownTask`](crate::model::Parked::UnknownTask) for longer than
    /// [`Retention::unknown`] die with [`EndReason::UnknownTask`](crate::model::EndReason::UnknownTask), those parked first
    /// at first; their edges are followed by the next exchange. What dies here may be pruned by the same call.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError>;

    /// What stands in the outbox of a shard: the first [`MAX_UPKEEP`] relays, oldest first, and no further once their
    /// parcels hold [`MAX_CLAIM_BYTES`](super::MAX_CLAIM_BYTES). They stay there until they are told to have been delivered:
    /// so what is lost on the way is handed out again, and what arrives twice arrives once, since a hold is delivered to
    /// once. A relay among them whose job is to run again, as a dead letter may, is not handed out: it leaves the outbox,
    /// and waits until that has ended once more.
    ///
    /// `sent` tells which parcels have been delivered, at most [`MAX_UPKEEP`]: first of all their relays complete, kept for
    /// [`KEEP_TOLD`], and as long as what they told of if that did not complete.
    /// Nothing to do for one that does not stand in the outbox, or stands there at another place: it has something else to
    /// tell since.
    ///
    /// What puts a parcel there **wakes** sleepers of the shard as an enqueue does, unless it is an exchange: that tells
    /// its caller ([`Exchanged::outbox`](super::Exchanged::outbox)).
    ///
    /// # Errors
    /// *Invalid*: more than that are told. *Unavailable*.
    async fn outbox(&self, shard: &Shard, sent: &[Receipt]) -> Result<Outbox, StorageError>;

    /// Delivers to holds of a shard, at most [`MAX_DELIVER`]: one that waits completes, with the result if there is one,
    /// or is cancelled for a failure, with [`EndReason::Dependency`](crate::model::EndReason::Dependency), the
    /// [origin](crate::model::Ending::origin) of that as its culprit, and the failure itself; then edges are followed as in
    /// step 3 of an exchange. It is kept for [`KEEP_TOLD`], a completed one while it is needed, a cancelled one as long as
    /// what failed. Answers for each the state it is in then, `None` for one that is not stored.
    ///
    /// Nothing to do for a hold that has ended, or what is no hold. **Wakes** sleepers of the shard as an enqueue does.
    ///
    /// # Errors
    /// *Invalid*: more than [`MAX_DELIVER`], or an input that is open, gone or gathered. *Unavailable*.
    async fn deliver(&self, shard: &Shard, deliveries: &[(JobId, Input)]) -> Result<Vec<Option<State>>, StorageError>;

    /// Changes schedules of the shard, each by compare-and-set and in one step with what its tick enqueues; then tells
    /// which are due: up to [`MAX_UPKEEP`], those due first at first, by name where that is the same, and no further once
    /// their data holds [`MAX_CLAIM_BYTES`](super::MAX_CLAIM_BYTES).
    ///
    /// **Each change on its own**, in order: one whose schedule has the version it names is applied, as it is one that
    /// names none and whose schedule is not stored; any other is [`Changed::Stale`](super::Changed::Stale) and changes nothing. So of those who
    /// carry out one tick, one does. Jobs are taken in as [`Enqueue::enqueue`](super::Enqueue::enqueue) takes them in, save
    /// that nothing is remembered of a caller: a repeat finds the version changed.
    ///
    /// A schedule that was due stays due until it is changed. Whether one is, and when the next is to be, is told by
    /// exchanges: [`Exchanged::ticks`](super::Exchanged::ticks), [`look_again`](super::Exchanged::look_again). Pauses of the
    /// shard say nothing of schedules.
    ///
    /// **Wakes** sleepers of the shard as an enqueue does, and when a schedule is due before they meant to look again.
    /// Called with no change it changes nothing.
    ///
    /// # Errors
    /// *Invalid*: as [`check_ticks`](super::check_ticks) says. *Unavailable*.
    async fn tick(&self, shard: &Shard, changes: &[ScheduleChange]) -> Result<Ticked, StorageError>;
}
