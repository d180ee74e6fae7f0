//! What becomes of ticks that are late, and of those that meet a run that is not over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What becomes of ticks that nobody carried out when they were due, as no worker was there.
///
/// ```
/// use std::time::Duration;
/// use queue_core::Missed;
/// assert_eq!(Missed::default(), Missed::Skip { tolerance: Duration::from_secs(3600) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Missed {
    /// Only the latest is carried out, if it was due no longer ago than this. Default, with an hour.
    Skip {
        /// How late is not too late.
        #[serde(with = "micros")]
        tolerance: Duration,
    },
    /// Only the latest is carried out, however late.
    Last,
    /// The latest so many are carried out, each as a job of its own, in order; at most 1,000. Only the latest beside
    /// [`Overlap::CancelRunning`], as each would be cancelled for the next.
    All(u32),
}

impl Missed {
    /// Only the latest, if it was due no longer ago than an hour.
    pub const DEFAULT: Self = Self::Skip { tolerance: Duration::from_secs(3_600) };
    /// The most that [`All`](Self::All) makes good.
    pub(crate) const MOST: u32 = 1_000;
}

impl Default for Missed {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What becomes of a tick while the job of the tick before it has not ended: it runs, waits for its turn or for a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overlap {
    /// It is carried out all the same. Default.
    #[default]
    Allow,
    /// It is left out, and counted as [skipped](crate::ScheduleFacts::skipped).
    Skip,
    /// The job before it is cancelled, so its call can't be [unique](crate::Unique) until it has ended: one that runs is asked to stop, and ends beside the new one, for as long as its
    /// worker's [grace](crate::WorkerBuilder::cancel_grace) lets it.
    CancelRunning,
}

/// Durations as stored: whole microseconds.
pub(crate) mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}
