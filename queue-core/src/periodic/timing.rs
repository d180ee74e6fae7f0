//! When a schedule is due.

use std::fmt;
use std::time::{Duration, SystemTime};

#[cfg(feature = "cron")]
use queue_cron::Quartz;
use queue_cron::{Cron, Every, TimeZone};
use queue_storage::model::Timestamp;
use serde::{Deserialize, Serialize};

/// The least time between two moments of a clock.
pub(super) const MOMENT: Duration = Duration::from_micros(1);

/// When a schedule is due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Timing {
    /// By an expression, on the clock of a zone.
    Cron(Cron),
    /// Each so many microseconds from a moment on.
    Every { micros: u64, from: Timestamp },
    /// By a `cron::Schedule`.
    #[cfg(feature = "cron")]
    Quartz(Quartz),
}

impl Timing {
    /// The first tick after a moment.
    pub(crate) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let moment = SystemTime::from(moment);
        let next = match self {
            Self::Cron(cron) => cron.next_after(moment),
            Self::Every { .. } => self.every()?.next_after(moment),
            #[cfg(feature = "cron")]
            Self::Quartz(quartz) => quartz.next_after(moment),
        };
        next.map(Timestamp::from)
    }

    /// The last tick at a moment or before it.
    pub(crate) fn up_to(&self, moment: Timestamp) -> Option<Timestamp> {
        let beyond = SystemTime::from(moment + MOMENT);
        let last = match self {
            Self::Cron(cron) => cron.previous(beyond),
            Self::Every { .. } => self.every()?.previous(beyond),
            #[cfg(feature = "cron")]
            Self::Quartz(quartz) => quartz.previous(beyond),
        };
        last.map(Timestamp::from)
    }

    /// The last tick before a moment.
    pub(crate) fn before(&self, moment: Timestamp) -> Option<Timestamp> {
        if moment == Timestamp::EPOCH { None } else { self.up_to(moment - MOMENT) }
    }

    /// Whether it goes by no clock of a zone.
    pub(crate) fn is_interval(&self) -> bool {
        matches!(self, Self::Every { .. })
    }

    /// The zone on whose clock it goes.
    pub(crate) fn zone(&self) -> TimeZone {
        match self {
            Self::Cron(cron) => cron.zone().clone(),
            Self::Every { .. } => TimeZone::UTC,
            #[cfg(feature = "cron")]
            Self::Quartz(quartz) => quartz.zone().clone(),
        }
    }

    fn every(&self) -> Option<Every> {
        let Self::Every { micros, from } = self else { return None };
        Some(Every::new(Duration::from_micros(*micros)).ok()?.anchored((*from).into()))
    }
}

/// `CRON_TZ=Europe/Paris 0 3 * * *`, `every 5m`
impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron(cron) => cron.fmt(f),
            Self::Every { micros, .. } => write!(f, "every {}", Spelt(Duration::from_micros(*micros))),
            #[cfg(feature = "cron")]
            Self::Quartz(quartz) => write!(f, "{quartz} (Quartz)"),
        }
    }
}

/// A duration in the units that people write: `1h30m`.
struct Spelt(Duration);

impl fmt::Display for Spelt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        if self.0.subsec_micros() != 0 || secs == 0 {
            return write!(f, "{:?}", self.0);
        }
        let parts = [(secs / 86_400, "d"), (secs / 3_600 % 24, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
        parts.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    #[test]
    fn ticks_before_at_and_after_a_moment() {
        let minutely = Timing::Cron(Cron::new("* * * * *").unwrap());
        let every = Timing::Every { micros: 60_000_000, from: Timestamp::EPOCH };
        for timing in [minutely, every] {
            assert_eq!(timing.after(at(60)), Some(at(120)));
            assert_eq!((timing.up_to(at(60)), timing.before(at(60))), (Some(at(60)), Some(at(0))));
            assert_eq!((timing.up_to(at(119)), timing.before(Timestamp::EPOCH)), (Some(at(60)), None));
        }
    }

    #[test]
    fn it_is_told_as_people_write_it() {
        let every = |secs: u64| Timing::Every { micros: secs * 1_000_000, from: Timestamp::EPOCH }.to_string();
        assert_eq!(
            [every(300), every(5_400), every(86_400), every(90_061)],
            ["every 5m", "every 1h30m", "every 1d", "every 1d1h1m1s"]
        );
        let cron = Cron::new("0 3 * * *").unwrap().in_tz("Europe/Paris").unwrap();
        assert_eq!(Timing::Cron(cron).to_string(), "CRON_TZ=Europe/Paris 0 3 * * *");
    }
}
