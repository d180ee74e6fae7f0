//! What is measured and printed, and not judged: machines differ.

use std::fmt;
use std::time::Duration;

/// Durations, shown as their median and their end.
pub struct Spread(Vec<Duration>);

impl Spread {
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<_> = durations.into_iter().collect();
        sorted.sort();
        Self(sorted)
    }

    pub fn median(&self) -> Duration {
        self.at(50)
    }

    pub fn longest(&self) -> Duration {
        self.at(100)
    }

    fn at(&self, percent: usize) -> Duration {
        let place = self.0.len().saturating_sub(1) * percent / 100;
        self.0.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p95, longest) = (self.median(), self.at(95), self.longest());
        write!(f, "p50 {p50:.2?}, p95 {p95:.2?}, longest {longest:.2?} of {}", self.0.len())
    }
}
