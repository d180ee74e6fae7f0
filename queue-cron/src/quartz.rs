//! A `cron::Schedule` as it is.

use std::fmt;
use std::time::SystemTime;

use cron::{Schedule, TimeUnitSpec};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::days::Days;
use crate::due::Due;
use crate::pattern::Pattern;
use crate::zone::{TimeZone, TimeZoneError};

/// A schedule of the crate [`cron`](https://docs.rs/cron), with the meaning it has there.
///
/// That is Quartz's meaning, and not that of [`Cron`](crate::Cron):
///
/// | | here | `Cron` |
/// |---|---|---|
/// | fields | six or seven: the second in front, the year behind | five, or six with the second |
/// | weekdays | 1 = Sunday to 7 = Saturday | 0 and 7 = Sunday, 1 = Monday |
/// | `1-5` as weekday | Sunday to Thursday | Monday to Friday |
/// | both days given | both must match | either |
/// | `5/15` as minute | 5, 20, 35, 50 | refused |
/// | `L`, `W`, `#` | refused | known |
/// | impossible dates | never due | refused |
///
/// Only the schedule's fields are taken over, not the crate's arithmetic, which loses days and goes back in time when
/// clocks change: zones and clock changes are as with `Cron`. Years end with 2100, after which it is due no more.
///
/// ```
/// use std::str::FromStr;
///
/// use queue_cron::{Cron, Quartz};
///
/// let quartz = Quartz::from(cron::Schedule::from_str("0 30 9 * * 2-6").unwrap());
/// let same: Cron = "30 9 * * MON-FRI".parse()?;
/// let from = std::time::UNIX_EPOCH;
/// assert!(quartz.upcoming(from).take(50).eq(same.upcoming(from).take(50)));
/// # Ok::<(), queue_cron::CronError>(())
/// ```
#[derive(Clone)]
pub struct Quartz {
    source: String,
    pattern: Pattern,
    wild: bool,
    zone: TimeZone,
}

impl Quartz {
    /// The same schedule on the wall clock of another zone, by its name: `Europe/Berlin`.
    ///
    /// # Errors
    ///
    /// If the database has no such zone.
    pub fn in_tz(self, name: &str) -> Result<Self, TimeZoneError> {
        Ok(self.in_zone(TimeZone::new(name)?))
    }

    /// The same schedule on the wall clock of another zone.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    /// The zone on whose wall clock it goes; UTC unless told otherwise.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first moment after another at which it is due.
    #[must_use]
    pub fn next_after(&self, moment: SystemTime) -> Option<SystemTime> {
        self.due().after(moment)
    }

    /// The last moment before another at which it was due.
    #[must_use]
    pub fn previous(&self, moment: SystemTime) -> Option<SystemTime> {
        self.due().before(moment)
    }

    /// All moments after another at which it is due, in order.
    pub fn upcoming(&self, from: SystemTime) -> impl Iterator<Item = SystemTime> + use<'_> {
        std::iter::successors(self.next_after(from), |last| self.next_after(*last))
    }

    fn due(&self) -> Due<'_> {
        Due { pattern: &self.pattern, zone: &self.zone, wild: self.wild }
    }
}

/// The values of a field as bits.
fn bits(field: &impl TimeUnitSpec) -> u64 {
    field.iter().filter(|value| *value < 64).fold(0, |bits, value| bits | 1 << value)
}

/// The schedule itself tells values only: whether a time is fixed stands in its source.
fn wild(source: &str) -> bool {
    source.eq_ignore_ascii_case("@hourly")
        || source.split_whitespace().take(3).any(|field| field.split(',').any(|item| item.starts_with(['*', '?'])))
}

impl From<Schedule> for Quartz {
    fn from(schedule: Schedule) -> Self {
        let years = schedule.years().iter().filter_map(|year| i16::try_from(year).ok()).collect();
        // From 1 = Sunday to 0 = Sunday.
        let weekdays = bits(schedule.days_of_week()) >> 1;
        Self {
            pattern: Pattern {
                days: Days::plain(years, bits(schedule.months()), bits(schedule.days_of_month()), weekdays),
                hours: bits(schedule.hours()),
                minutes: bits(schedule.minutes()),
                seconds: bits(schedule.seconds()),
            },
            wild: wild(schedule.source()),
            source: schedule.into(),
            zone: TimeZone::UTC,
        }
    }
}

impl fmt::Display for Quartz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.zone != TimeZone::UTC {
            write!(f, "CRON_TZ={} ", self.zone)?;
        }
        f.write_str(&self.source)
    }
}

impl fmt::Debug for Quartz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quartz(\"{self}\")")
    }
}

impl PartialEq for Quartz {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, &self.zone) == (&other.source, &other.zone)
    }
}

impl Eq for Quartz {}

/// As a text: `CRON_TZ=Europe/Berlin 0 30 9 * * 2-6`, the zone left out where it is UTC.
impl Serialize for Quartz {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quartz {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (zone, source) = match text.strip_prefix("CRON_TZ=").and_then(|rest| rest.split_once(' ')) {
            Some((zone, source)) => (TimeZone::new(zone).map_err(serde::de::Error::custom)?, source),
            None => (TimeZone::UTC, text.as_str()),
        };
        let schedule: Schedule = source.parse().map_err(serde::de::Error::custom)?;
        Ok(Self::from(schedule).in_zone(zone))
    }
}
