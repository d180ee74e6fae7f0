//! Waiting for what another process does: look again and again, and give up at last.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longer than any server needs for anything these tests ask of it, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// What there is to see, as soon as there is something; nothing when patience runs out.
pub(crate) fn look<T>(mut at: impl FnMut() -> Option<T>) -> Option<T> {
    let end = now() + PATIENCE;
    loop {
        if let Some(seen) = at() {
            return Some(seen);
        }
        if now() > end {
            return None;
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

#[expect(clippy::disallowed_methods, reason = "other processes keep the machine's time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Locks, also after a panic: what ends a server must work in a test which fails.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
