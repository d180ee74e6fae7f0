//! An interval.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An interval: due at its anchor, and each period after it.
///
/// Each moment is reckoned from the anchor and not from the last one, so nothing drifts. The anchor is the epoch unless
/// told otherwise, so that everyone who says the same period means the same moments. A zone does not matter here: a day
/// is 24 hours.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
///
/// use queue_cron::Every;
///
/// let anchor = UNIX_EPOCH + Duration::from_secs(7);
/// let every = Every::new(Duration::from_secs(90))?.anchored(anchor);
/// assert_eq!(every.next_after(anchor), Some(anchor + Duration::from_secs(90)));
/// assert_eq!(every.next_after(UNIX_EPOCH), Some(anchor));
/// # Ok::<(), queue_cron::EveryError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Every {
    period: Duration,
    anchor: SystemTime,
}

/// A period of no length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the period of an interval is 0, so it would be due at each moment: give it a length")]
#[non_exhaustive]
pub struct EveryError;

impl Every {
    /// Due each `period`, beginning at the epoch.
    ///
    /// # Errors
    ///
    /// If the period is 0.
    pub const fn new(period: Duration) -> Result<Self, EveryError> {
        if period.is_zero() { Err(EveryError) } else { Ok(Self { period, anchor: UNIX_EPOCH }) }
    }

    /// The same, beginning at another moment.
    #[must_use]
    pub const fn anchored(self, anchor: SystemTime) -> Self {
        Self { anchor, ..self }
    }

    /// How long it is from one moment to the next.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// The first moment of all.
    #[must_use]
    pub const fn anchor(&self) -> SystemTime {
        self.anchor
    }

    /// The first moment after another at which it is due; `None` beyond what `SystemTime` can tell.
    #[must_use]
    pub fn next_after(&self, moment: SystemTime) -> Option<SystemTime> {
        match moment.duration_since(self.anchor) {
            Ok(since) => moment.checked_add(self.period - self.beyond(since)),
            Err(_) => Some(self.anchor),
        }
    }

    /// The last moment before another at which it was due; `None` up to the anchor.
    #[must_use]
    pub fn previous(&self, moment: SystemTime) -> Option<SystemTime> {
        let since = moment.duration_since(self.anchor).ok().filter(|since| !since.is_zero())?;
        match self.beyond(since) {
            Duration::ZERO => moment.checked_sub(self.period),
            into => moment.checked_sub(into),
        }
    }

    /// All moments after another at which it is due, in order.
    pub fn upcoming(&self, from: SystemTime) -> impl Iterator<Item = SystemTime> + use<> {
        let every = *self;
        std::iter::successors(every.next_after(from), move |last| every.next_after(*last))
    }

    /// How much is over whole periods, so long after the anchor.
    fn beyond(&self, since: Duration) -> Duration {
        let nanos = since.as_nanos() % self.period.as_nanos();
        Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
    }
}
