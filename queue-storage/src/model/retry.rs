//! Retry arithmetic: how often, and how long between.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::delays::Delays;
use super::time::micros;

/// How often a failed job runs again, and after what delays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Runs after the first that failed: 3 means at most four runs by failure. Default 0.
    pub retries: u32,
    /// The delay before each of them.
    pub backoff: Backoff,
    /// How the delay is spread.
    pub jitter: Jitter,
}

impl RetryPolicy {
    /// One run, no retries; the backoff and jitter that apply once [`retries`](Self::retries) is set.
    pub const DEFAULT: Self = Self { retries: 0, backoff: Backoff::DEFAULT, jitter: Jitter::Equal };

    /// The delay before the next run after `attempts` runs by failure (from 1), or `None` when there is to be none.
    ///
    /// `random` is in `[0, 1)`; the caller draws it, so that this stays pure.
    #[must_use]
    pub fn delay_after(&self, attempts: u32, random: f64) -> Option<Duration> {
        (attempts <= self.retries).then(|| self.jitter.spread(self.backoff.delay(attempts), random))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The delay between attempts, before [`Jitter`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Backoff {
    /// The same delay each time.
    Fixed(#[serde(with = "micros")] Duration),
    /// `base`, then `base × factor`, then `base × factor²`, …, and never more than `cap`.
    Exponential {
        /// The first delay.
        #[serde(with = "micros")]
        base: Duration,
        /// What each delay is multiplied by to give the next; values below 1 count as 1.
        factor: f64,
        /// The longest delay.
        #[serde(with = "micros")]
        cap: Duration,
    },
    /// `base`, then `base + step`, then `base + 2 × step`, …, and never more than `cap`.
    Linear {
        /// The first delay.
        #[serde(with = "micros")]
        base: Duration,
        /// What each delay is longer than the one before.
        #[serde(with = "micros")]
        step: Duration,
        /// The longest delay.
        #[serde(with = "micros")]
        cap: Duration,
    },
    /// These, one after the other; the last is repeated.
    List(Delays),
}

impl Backoff {
    /// 1 s, 2 s, 4 s, … up to an hour.
    pub const DEFAULT: Self =
        Self::Exponential { base: Duration::from_secs(1), factor: 2.0, cap: Duration::from_secs(3_600) };

    /// The same delay each time.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self::Fixed(delay)
    }

    /// Doubles from `base` up to an hour, or stays at `base` when that is longer.
    #[must_use]
    pub const fn exponential(base: Duration) -> Self {
        Self::Exponential { base, factor: 2.0, cap: an_hour_or(base) }
    }

    /// Grows from `base` by `step` up to an hour, or stays at `base` when that is longer.
    #[must_use]
    pub const fn linear(base: Duration, step: Duration) -> Self {
        Self::Linear { base, step, cap: an_hour_or(base) }
    }

    /// These delays, one after the other; the last is repeated.
    ///
    /// ```
    /// use std::time::Duration;
    /// use queue_storage::model::Backoff;
    ///
    /// const SECOND: Duration = Duration::from_secs(1);
    /// const BACKOFF: Backoff = Backoff::list(&[SECOND, Duration::from_secs(30)]);
    /// assert_eq!([1, 2, 3].map(|attempt| BACKOFF.delay(attempt).as_secs()), [1, 30, 30]);
    /// ```
    ///
    /// # Panics
    /// There is no delay, or there are more than [`Delays::MAX`]. In a constant that is a compile error.
    #[must_use]
    pub const fn list(delays: &[Duration]) -> Self {
        Self::List(Delays::new(delays))
    }

    /// The delay after the `attempt`-th failure (from 1).
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        match *self {
            Self::Fixed(delay) => delay,
            Self::Exponential { base, factor, cap } => {
                let growth = factor.max(1.0).powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX));
                // Nothing times without end is no number, and still nothing.
                let grown = if base.is_zero() { 0.0 } else { base.as_secs_f64() * growth };
                Duration::try_from_secs_f64(grown).map_or(cap, |delay| delay.min(cap))
            }
            Self::Linear { base, step, cap } => {
                base.saturating_add(step.saturating_mul(attempt.saturating_sub(1))).min(cap)
            }
            Self::List(delays) => delays.after(attempt),
        }
    }
}

/// The cap of a backoff that names none.
const fn an_hour_or(base: Duration) -> Duration {
    let hour = Duration::from_secs(3_600);
    if base.as_secs() < hour.as_secs() { hour } else { base }
}

/// How a delay is spread, so that jobs that failed together do not come back together.
///
/// Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Jitter {
    /// The delay as computed.
    None,
    /// Anything from zero to the delay.
    Full,
    /// Half the delay, plus anything up to the other half.
    #[default]
    Equal,
}

impl Jitter {
    /// `delay`, spread by `random` in `[0, 1)`.
    #[must_use]
    pub fn spread(self, delay: Duration, random: f64) -> Duration {
        let random = random.clamp(0.0, 1.0);
        match self {
            Self::None => delay,
            Self::Full => delay.mul_f64(random),
            Self::Equal => delay.mul_f64(0.5 + random / 2.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn three_retries_are_four_runs() {
        let policy = RetryPolicy { retries: 3, backoff: Backoff::fixed(secs(5)), jitter: Jitter::None };
        let delays: Vec<_> = (1..=5).map(|attempt| policy.delay_after(attempt, 0.0)).collect();
        assert_eq!(delays, [Some(secs(5)), Some(secs(5)), Some(secs(5)), None, None]);
        assert_eq!(RetryPolicy::DEFAULT.delay_after(1, 0.0), None);
    }

    #[test]
    fn exponential_doubles_to_its_cap() {
        let backoff = Backoff::Exponential { base: secs(2), factor: 2.0, cap: secs(20) };
        let delays: Vec<_> = [1, 2, 3, 4, 5, 1_000, u32::MAX].map(|attempt| backoff.delay(attempt)).to_vec();
        assert_eq!(delays, [secs(2), secs(4), secs(8), secs(16), secs(20), secs(20), secs(20)]);
    }

    #[test]
    fn linear_grows_by_its_step_to_its_cap() {
        let backoff = Backoff::Linear { base: secs(2), step: secs(3), cap: secs(10) };
        let delays = [1, 2, 3, 4, 1_000, u32::MAX].map(|attempt| backoff.delay(attempt));
        assert_eq!(delays, [secs(2), secs(5), secs(8), secs(10), secs(10), secs(10)]);
        assert_eq!(Backoff::linear(secs(7_200), secs(1)).delay(9), secs(7_200));
        assert_eq!(Backoff::linear(secs(1), Duration::MAX).delay(3), secs(3_600));
    }

    #[test]
    fn a_list_is_followed_to_its_last() {
        let backoff = Backoff::list(&[secs(2), secs(10), secs(5)]);
        let delays = [1, 2, 3, 4, u32::MAX].map(|attempt| backoff.delay(attempt).as_secs());
        assert_eq!(delays, [2, 10, 5, 5, 5]);
    }

    /// The case of the guide: five retries after 2, 4, 8, 16 and 32 seconds.
    #[test]
    fn two_to_the_fifth() {
        let policy = RetryPolicy { retries: 5, backoff: Backoff::exponential(secs(2)), jitter: Jitter::None };
        let delays: Vec<_> = (1..=6).map(|attempt| policy.delay_after(attempt, 0.7)).collect();
        assert_eq!(delays, [2, 4, 8, 16, 32].map(|n| Some(secs(n))).into_iter().chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn a_base_longer_than_the_cap_is_the_cap() {
        assert_eq!(Backoff::exponential(secs(7_200)).delay(1), secs(7_200));
        assert_eq!(Backoff::exponential(secs(7_200)).delay(9), secs(7_200));
    }

    #[test]
    fn jitter_stays_in_its_range() {
        for random in [0.0, 0.25, 0.999_999] {
            assert_eq!(Jitter::None.spread(secs(8), random), secs(8));
            assert!(Jitter::Full.spread(secs(8), random) < secs(8));
            let equal = Jitter::Equal.spread(secs(8), random);
            assert!(equal >= secs(4) && equal < secs(8));
        }
    }
}
