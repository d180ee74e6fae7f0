//! Upkeep; called by keepers. Every step is idempotent and may run on every process at once.

use async_trait::async_trait;

use std::time::Duration;

use super::StorageError;
use crate::model::{JobId, Shard};

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

/// Keeps a storage in order.
#[async_trait]
pub trait Maintain: Send + Sync {
    /// Removes up to [`MAX_PRUNE`] ended jobs of the shard whose time to be kept has passed, or that exceed the
    /// retention: first those kept too long, then what is too many: of completed jobs without a result beyond
    /// [`Retention::traces`] those go first whose time to be kept ends first, of dead letters beyond
    /// [`Retention::dead`] those that died first. One whose result a live job waits for never goes. Also drops what is
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
}
