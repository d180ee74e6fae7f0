//! Pauses between tries.

use std::time::Duration;

/// Pauses between tries while a storage does not answer: doubling, spread, bounded.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);

    pub(crate) const fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// The next pause: between half and the whole of what has been doubled so far.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(Self::LONGEST);
        pause
    }

    pub(crate) const fn is_fresh(&self) -> bool {
        self.next.as_millis() == Self::FIRST.as_millis()
    }
}
