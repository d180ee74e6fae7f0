//! Upkeep; called by keepers. Every step is idempotent and may run on every process at once.

use async_trait::async_trait;

use super::{LeaseTerms, StorageError};
use crate::model::Shard;

/// The most jobs one step of upkeep moves.
pub const MAX_UPKEEP: u32 = 100;

/// A call to take back ended leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reclaim {
    /// The shard.
    pub shard: Shard,
    /// The terms under which its leases were given.
    pub lease: LeaseTerms,
}

/// How much a shard keeps of what has ended, whatever each job's own retention says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The most completed jobs without a result. Default 10,000.
    pub traces: u64,
    /// The most dead letters. Default 10,000.
    pub dead: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { traces: 10_000, dead: 10_000 }
    }
}

/// What one step of upkeep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Step {
    /// Jobs it moved or removed.
    pub done: u32,
    /// Whether it stopped at its bound with more to do.
    pub more: bool,
}

/// Keeps a storage in order.
#[async_trait]
pub trait Maintain: Send + Sync {
    /// Takes back up to [`MAX_UPKEEP`] leases that have ended, earliest first.
    ///
    /// A job whose delivery was never confirmed goes back with [`lapses`](crate::model::Job::lapses) raised. Any other
    /// has [`crashes`](crate::model::Job::crashes) raised and goes back, unless that reaches the crash limit: then it is
    /// dead with [`EndReason::Crashed`](crate::model::EndReason::Crashed). A job that runs at most once is dead with
    /// [`EndReason::Interrupted`](crate::model::EndReason::Interrupted) in either case: it may have started. What dies
    /// counts as an end, and cancels what waits for it. A job that goes back keeps its sequence and wakes sleepers.
    /// Does nothing before the moment set after a [silence](super::Claim#silence).
    ///
    /// # Errors
    /// *Unavailable*.
    async fn reclaim(&self, call: Reclaim) -> Result<Step, StorageError>;

    /// Removes up to ten times [`MAX_UPKEEP`] ended jobs of the shard whose time to be kept has passed, or that exceed
    /// the retention, oldest first; never one whose result a live job waits for. Also drops what is remembered of
    /// workers and callers that have not called for a day. The counts of ends stay.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError>;
}
