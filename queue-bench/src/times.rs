//! Times, counted.

use std::time::Duration;

use hdrhistogram::Histogram;
use queue::BoxError;

/// Times, counted.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Result<Self, BoxError> {
        // Three digits, and as many powers of two as it takes.
        Ok(Self(Histogram::new(3)?))
    }

    pub(crate) fn add(&mut self, time: Duration) {
        // It grows as it must, so nothing is refused.
        self.0 += u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The time below which this share of them is, in milliseconds.
    pub(crate) fn at(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_milliseconds() {
        let mut times = Times::new().unwrap();
        (1..=100).for_each(|ms| times.add(Duration::from_millis(ms)));
        assert_eq!(times.len(), 100);
        assert!((times.at(0.5) - 50.0).abs() < 0.1 && (times.at(0.99) - 99.0).abs() < 0.1);
    }
}
