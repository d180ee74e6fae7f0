//! A cron expression as people hold it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::due::Due;
use crate::error::CronError;
use crate::fields::Fields;
use crate::parse::{self, Parsed};
use crate::pattern::Pattern;
use crate::zone::{TimeZone, TimeZoneError};

/// A cron expression in a time zone: when something is due.
///
/// What an expression may say, and what becomes of it when clocks change, is told by [the crate](crate). The zone is UTC
/// unless told otherwise by [`in_tz`](Self::in_tz) or by `CRON_TZ=` in front of the expression.
///
/// Its text is always written in the same way: numbers for names, lists in order, one space between fields, no second
/// where it is 0, the zone in front unless it is UTC. Two are equal if these texts are. With serde it is this text.
///
/// Moments are whole seconds, and there are some from the year -9999 to 9999.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
///
/// use queue_cron::Cron;
///
/// let nightly: Cron = "30 2 * * MON-FRI".parse()?;
/// assert_eq!(nightly.to_string(), "30 2 * * 1-5");
///
/// let thursday = UNIX_EPOCH; // 1970-01-01T00:00Z
/// let due = nightly.next_after(thursday).unwrap();
/// assert_eq!(due, UNIX_EPOCH + Duration::from_secs(2 * 3600 + 30 * 60));
/// # Ok::<(), queue_cron::CronError>(())
/// ```
#[derive(Clone)]
pub struct Cron {
    says: Arc<Says>,
    zone: TimeZone,
}

struct Says {
    text: String,
    pattern: Pattern,
    wild: bool,
}

impl Cron {
    /// Reads an expression; the same as `"…".parse()`.
    ///
    /// # Errors
    ///
    /// If the expression is wrong, or no date will ever match (31 February). The error marks the place.
    pub fn new(expression: &str) -> Result<Self, CronError> {
        parse::parse(expression).map(Self::of)
    }

    /// Says the fields one by one; those left out are `*`, and the second is 0.
    ///
    /// ```
    /// use queue_cron::Cron;
    ///
    /// let every_two_hours = Cron::fields().minute(0).hour("*/2").build()?;
    /// assert_eq!(every_two_hours, "0 */2 * * *".parse()?);
    /// # Ok::<(), queue_cron::CronError>(())
    /// ```
    #[must_use]
    pub fn fields() -> Fields {
        Fields::default()
    }

    pub(crate) fn of(parsed: Parsed) -> Self {
        let Parsed { zone, text, pattern, wild } = parsed;
        Self { says: Arc::new(Says { text, pattern, wild }), zone }
    }

    /// The same expression on the wall clock of another zone, by its name: `Europe/Berlin`.
    ///
    /// ```
    /// use queue_cron::Cron;
    ///
    /// let berlin = Cron::new("0 9 * * *")?.in_tz("Europe/Berlin")?;
    /// assert_eq!(berlin.to_string(), "CRON_TZ=Europe/Berlin 0 9 * * *");
    /// assert_eq!(berlin, "CRON_TZ=Europe/Berlin 0 9 * * *".parse()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the database has no such zone.
    pub fn in_tz(self, name: &str) -> Result<Self, TimeZoneError> {
        Ok(self.in_zone(TimeZone::new(name)?))
    }

    /// The same expression on the wall clock of another zone.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    /// The zone on whose wall clock it goes.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first moment after another at which it is due.
    ///
    /// `None` once there are no more years, after 9999. It looks at most 400 years ahead, which misses nothing since the
    /// calendar repeats then.
    #[must_use]
    pub fn next_after(&self, moment: SystemTime) -> Option<SystemTime> {
        self.due().after(moment)
    }

    /// The last moment before another at which it was due; `None` before the year -9999, and as far beyond 9999.
    #[must_use]
    pub fn previous(&self, moment: SystemTime) -> Option<SystemTime> {
        self.due().before(moment)
    }

    /// All moments after another at which it is due, in order. They go on for as long as there are years.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// use queue_cron::Cron;
    ///
    /// let quarters = Cron::new("*/15 * * * *")?;
    /// let minutes = quarters.upcoming(UNIX_EPOCH).take(3).map(|due| due.duration_since(UNIX_EPOCH).unwrap());
    /// assert_eq!(minutes.map(|since| since.as_secs() / 60).collect::<Vec<_>>(), [15, 30, 45]);
    /// # Ok::<(), queue_cron::CronError>(())
    /// ```
    pub fn upcoming(&self, from: SystemTime) -> impl Iterator<Item = SystemTime> + use<'_> {
        std::iter::successors(self.next_after(from), |last| self.next_after(*last))
    }

    /// Whether each time on the clock's face counts once, when clocks change; see [the crate](crate#when-clocks-change).
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        !self.says.wild
    }

    fn due(&self) -> Due<'_> {
        Due { pattern: &self.says.pattern, zone: &self.zone, wild: self.says.wild }
    }
}

impl Fields {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// As [`Cron::new`]; the error shows the fields as one expression. A field of more than one word is refused.
    pub fn build(self) -> Result<Cron, CronError> {
        self.parse().map(Cron::of)
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(expression: &str) -> Result<Self, Self::Err> {
        Self::new(expression)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.zone != TimeZone::UTC {
            write!(f, "CRON_TZ={} ", self.zone)?;
        }
        f.write_str(&self.says.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron(\"{self}\")")
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.says.text == other.says.text && self.zone == other.zone
    }
}

impl Eq for Cron {}

impl Hash for Cron {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.says.text.hash(state);
        self.zone.hash(state);
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expression = String::deserialize(deserializer)?;
        Self::new(&expression).map_err(serde::de::Error::custom)
    }
}
