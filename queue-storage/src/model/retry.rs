//! Retry arithmetic: how often, and how long between.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
        let hour = Duration::from_secs(3_600);
        let cap = if base.as_secs() < hour.as_secs() { hour } else { base };
        Self::Exponential { base, factor: 2.0, cap }
    }

    /// The delay after the `attempt`-th failure (from 1).
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        match *self {
            Self::Fixed(delay) => delay,
            Self::Exponential { base, factor, cap } => {
                let growth = factor.max(1.0).powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX));
                Duration::try_from_secs_f64(base.as_secs_f64() * growth).map_or(cap, |delay| delay.min(cap))
            }
        }
    }
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
