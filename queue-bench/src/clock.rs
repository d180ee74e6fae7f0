//! Time that only rises, and the processor time of this process.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since some moment in the past.
pub(crate) fn now() -> Duration {
    read(ClockId::Monotonic)
}

/// The processor time that all threads of this process have used.
pub(crate) fn cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}
