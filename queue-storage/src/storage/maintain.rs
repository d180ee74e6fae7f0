//! Upkeep; called by keepers. Every step is idempotent and may run on every process at once.

use async_trait::async_trait;

use super::StorageError;
use crate::model::Shard;

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
    /// Removes up to [`MAX_PRUNE`] ended jobs of the shard whose time to be kept has passed, or that exceed the
    /// retention: first those kept too long, then what is too many: of completed jobs without a result beyond
    /// [`Retention::traces`] those go first whose time to be kept ends first, of dead letters beyond
    /// [`Retention::dead`] those that died first. One whose result a live job waits for never goes. Also drops what is
    /// remembered of workers without leases and of callers that have not called for a day, within the same bound. The
    /// counts of ends stay.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError>;
}
