//! What holds a job back for the sake of others: limits on how many run at once and how fast they start, and uniqueness.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::Key;
use super::time::{Timestamp, micros};

/// The most limits of a job.
pub const MAX_LIMITS: usize = 4;

/// Something that must have room before a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// At most so many jobs under this key run at once, on all workers together. A job holds its slot as long as it
    /// runs: the slot is its lease, so a worker that vanishes leaves none taken.
    Slots {
        /// Whose slots.
        key: Key,
        /// How many there are, by the word of this job; at least 1.
        most: u32,
        /// What becomes of a job that comes to run while none is free.
        full: WhenFull,
    },
    /// Jobs under this key start no faster than this, on all workers together.
    Rate {
        /// Whose rate.
        key: Key,
        /// How fast.
        rate: Rate,
        /// How many starts this job counts for; at least 1, at most the rate's burst.
        cost: u32,
    },
}

/// What becomes of a job that comes to run while no slot is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenFull {
    /// It is parked until one is.
    #[default]
    Wait,
    /// It is cancelled, with [`EndReason::Full`](super::EndReason::Full).
    Cancel,
}

impl Limit {
    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Slots { key, .. } | Self::Rate { key, .. } => key,
        }
    }

    /// What is wrong with it, for people.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Slots { key, most: 0, .. } => Some(format!("no slots for `{key}`: nothing could ever run")),
            Self::Rate { key, rate, .. } if rate.fault().is_some() => {
                rate.fault().map(|fault| format!("the rate of `{key}` {fault}"))
            }
            Self::Rate { key, rate, cost } if *cost == 0 || *cost > rate.burst => {
                Some(format!("a cost of {cost} under the rate of `{key}`: give it 1 to the burst, {}", rate.burst))
            }
            _ => None,
        }
    }
}

/// A rate of starts, by the generic cell rate algorithm (ITU-T I.371, annex A): in any span of time t there are at most
/// `burst + t / every` starts.
///
/// The state of a key is one moment, its theoretical arrival time: when everything that has started would have been
/// paid for.
///
/// ```
/// use std::time::Duration;
/// use queue_storage::model::Rate;
///
/// let rate = Rate::per(Duration::from_secs(1), 100).burst(5);
/// assert_eq!(rate.every, Duration::from_millis(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rate {
    /// The time that one start pays for; whole microseconds.
    #[serde(with = "micros")]
    pub every: Duration,
    /// How many may start at one moment after a rest.
    pub burst: u32,
}

impl Rate {
    /// So many starts in each period, evenly spread: a burst of 1. No starts count as one: what is to stand still is
    /// paused.
    #[must_use]
    pub const fn per(period: Duration, starts: u32) -> Self {
        let starts = if starts == 0 { 1 } else { starts };
        let micros = period.as_micros() / starts as u128;
        let micros = if micros == 0 { 1 } else { micros };
        let micros = if micros > u64::MAX as u128 { u64::MAX as u128 } else { micros };
        #[expect(clippy::cast_possible_truncation, reason = "it fits, being no more than the most")]
        Self { every: Duration::from_micros(micros as u64), burst: 1 }
    }

    /// Sets how many may start at one moment after a rest.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// What is wrong with it, for people: behind a subject.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        // A storage holds no moment beyond the year 2255: past that everything would seem to be paid for.
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
        if self.burst == 0 || self.every.as_micros() == 0 {
            return Some(format!("is {self:?}: give it a burst of at least 1, and at least a microsecond a start"));
        }
        let too_long = self.of(self.burst) > LONGEST;
        too_long.then(|| format!("is {self:?}: its burst would take longer to pay for than 100 years"))
    }

    /// The time that so many starts pay for.
    fn of(&self, starts: u32) -> Duration {
        self.every.saturating_mul(starts)
    }

    /// What a start of this cost makes of the key's moment at `now`, if it may start.
    #[must_use]
    pub fn admits(&self, arrival: Timestamp, now: Timestamp, cost: u32) -> Option<Timestamp> {
        let paid = arrival.max(now) + self.of(cost);
        (paid <= now + self.of(self.burst)).then_some(paid)
    }

    /// The earliest moment at which a start of this cost is admitted.
    #[must_use]
    pub fn opens_at(&self, arrival: Timestamp, cost: u32) -> Timestamp {
        arrival + self.of(cost) - self.of(self.burst)
    }

    /// How many starts of this cost are admitted at `now`, one after the other.
    #[must_use]
    pub fn room(&self, arrival: Timestamp, now: Timestamp, cost: u32) -> u32 {
        let left = (now + self.of(self.burst)) - arrival.max(now);
        let each = self.of(cost).as_micros().max(1);
        u32::try_from(left.as_micros() / each).unwrap_or(u32::MAX)
    }

    /// When to look again after `back` jobs of this cost came back into line at `now`: once one more has room beside them,
    /// or, of a fast rate, as many as make a look every 5 ms, up to half the burst. So whoever looks somewhat late loses
    /// nothing, and nobody looks for ever.
    #[must_use]
    pub fn look_after(&self, arrival: Timestamp, now: Timestamp, cost: u32, back: u32) -> Timestamp {
        const GRAIN: u128 = 5_000;
        let paid = arrival.max(now) + self.of(cost).saturating_mul(back);
        let in_grain = u32::try_from(GRAIN / self.every.as_micros().max(1)).unwrap_or(u32::MAX);
        self.opens_at(paid, cost.max(in_grain.min(self.burst.div_ceil(2))))
    }

    /// The key's moment after which nothing is admitted for `hold`, and then one start.
    #[must_use]
    pub fn held(&self, arrival: Timestamp, now: Timestamp, hold: Duration) -> Timestamp {
        arrival.max(now + hold + self.of(self.burst.saturating_sub(1)))
    }
}

/// What makes a job the only one of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unique {
    /// What there may be one of.
    pub key: Key,
    /// For how long it keeps others out.
    pub window: Window,
    /// What becomes of another that comes meanwhile.
    pub conflict: Conflict,
}

impl Unique {
    /// One of this key.
    #[must_use]
    pub const fn new(key: Key, window: Window, conflict: Conflict) -> Self {
        Self { key, window, conflict }
    }
}

/// For how long a job keeps others of its key out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Window {
    /// Until it is first claimed, or ends unclaimed.
    Started,
    /// Until it has ended.
    Finished,
    /// For so long from when it is taken in, whatever becomes of it.
    For(#[serde(with = "micros")] Duration),
    /// For ever, whatever becomes of it, until it is deleted.
    Forever,
}

/// What becomes of a job that comes while another of its key keeps it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Conflict {
    /// It is left out, and whoever enqueued it gets the other.
    #[default]
    Existing,
    /// It is refused.
    Reject,
    /// The other takes over its envelope and priority, unless it runs or has ended.
    Replace,
    /// The other takes over its envelope and its time, unless it runs or has ended: each comer pushes the start out.
    Debounce,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    #[test]
    fn a_rate_admits_its_burst_and_then_its_pace() {
        let rate = Rate::per(Duration::from_secs(1), 100).burst(5);
        let mut arrival = Timestamp::EPOCH;
        let mut starts = Vec::new();
        for now in 1_000..1_200 {
            while let Some(next) = rate.admits(arrival, at(now), 1) {
                arrival = next;
                starts.push(now);
            }
        }
        assert_eq!(starts[..8], [1_000, 1_000, 1_000, 1_000, 1_000, 1_010, 1_020, 1_030]);
        assert_eq!(starts.len(), 5 + 19);
    }

    #[test]
    fn it_opens_when_it_says() {
        let rate = Rate::per(Duration::from_secs(1), 10).burst(3);
        let arrival = rate.admits(Timestamp::EPOCH, at(5_000), 3).unwrap();
        assert_eq!((rate.opens_at(arrival, 1), rate.opens_at(arrival, 3)), (at(5_100), at(5_300)));
        assert!(rate.admits(arrival, at(5_099), 1).is_none() && rate.admits(arrival, at(5_100), 1).is_some());
        assert_eq!([5_000, 5_100, 5_250, 9_000].map(|now| rate.room(arrival, at(now), 1)), [0, 1, 2, 3]);
    }

    #[test]
    fn a_held_key_admits_nothing_and_then_one() {
        let rate = Rate::per(Duration::from_secs(1), 100).burst(5);
        let arrival = rate.held(Timestamp::EPOCH, at(1_000), Duration::from_secs(2));
        assert_eq!((rate.room(arrival, at(2_999), 1), rate.room(arrival, at(3_000), 1)), (0, 1));
    }
}
