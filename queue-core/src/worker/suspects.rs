//! One suspect at a time: a process runs at most one job whose last worker vanished, so that a job that kills its
//! worker takes no other suspect with it. The permit belongs to the process and not to a worker, because it is the
//! process that dies.

use tokio::sync::{Semaphore, SemaphorePermit};

static SUSPECTS: Semaphore = Semaphore::const_new(1);

/// The right to claim and run one suspect.
pub(super) type Permit = SemaphorePermit<'static>;

/// The permit, if it is free.
pub(super) fn try_acquire() -> Option<Permit> {
    SUSPECTS.try_acquire().ok()
}

/// Waits for the permit.
///
/// # Cancel safety
/// Dropping the future takes nothing.
pub(super) async fn acquire() -> Option<Permit> {
    SUSPECTS.acquire().await.ok()
}
