//! The wall clock of a zone, and instants as whole seconds since the epoch.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{self, AmbiguousOffset, Offset};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time zone of the IANA database, as `Europe/Berlin`.
///
/// The database is that of the machine (`/usr/share/zoneinfo`), so that its updates count; where there is none, it is
/// the one this library was built with. Upper and lower case do not matter in names; [`name`](Self::name) is as the
/// database has it.
///
/// ```
/// use queue_cron::TimeZone;
///
/// assert_eq!(TimeZone::new("europe/berlin")?.name(), "Europe/Berlin");
/// let error = TimeZone::new("Berlin").unwrap_err();
/// assert_eq!(error.to_string(), "no time zone is called `Berlin`: do you mean `Europe/Berlin`?");
/// # Ok::<(), queue_cron::TimeZoneError>(())
/// ```
#[derive(Clone)]
pub struct TimeZone(tz::TimeZone);

/// No time zone has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no time zone is called `{name}`: {hint}")]
pub struct TimeZoneError {
    name: String,
    hint: String,
}

impl TimeZone {
    /// The zone without any jumps, and the default.
    pub const UTC: Self = Self(tz::TimeZone::UTC);

    /// Looks a zone up by its name.
    ///
    /// # Errors
    ///
    /// If the database has no such name. Offsets (`+02:00`) are not zones: they don't know when clocks change.
    pub fn new(name: &str) -> Result<Self, TimeZoneError> {
        match tz::TimeZone::get(name) {
            Ok(zone) if !zone.is_unknown() && zone.iana_name().is_some() => Ok(Self(zone)),
            _ => Err(TimeZoneError { name: name.to_owned(), hint: hint(name) }),
        }
    }

    /// The name in the database.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// What its clock shows at a moment, with its offset and name, to the microsecond (RFC 9557).
    ///
    /// ```
    /// use queue_cron::TimeZone;
    ///
    /// let paris = TimeZone::new("Europe/Paris")?;
    /// assert_eq!(paris.show(std::time::UNIX_EPOCH), "1970-01-01T01:00:00+01:00[Europe/Paris]");
    /// # Ok::<(), queue_cron::TimeZoneError>(())
    /// ```
    #[must_use]
    pub fn show(&self, moment: SystemTime) -> String {
        match Timestamp::try_from(moment) {
            Ok(moment) => moment.to_zoned(self.0.clone()).to_string(),
            Err(_) => format!("beyond what a calendar tells [{self}]"),
        }
    }

    /// What the wall clock shows at an instant.
    pub(crate) fn shown(&self, instant: i64) -> Option<DateTime> {
        Some(self.0.to_datetime(Timestamp::from_second(instant).ok()?))
    }

    pub(crate) fn offset(&self, instant: i64) -> Option<i64> {
        Some(self.0.to_offset(Timestamp::from_second(instant).ok()?).seconds().into())
    }

    /// When the clock is changed next, after an instant.
    pub(crate) fn change_after(&self, instant: i64) -> Option<i64> {
        self.0.following(Timestamp::from_second(instant).ok()?).next().map(|change| change.timestamp().as_second())
    }

    /// When the clock was changed last, up to an instant.
    pub(crate) fn change_until(&self, instant: i64) -> Option<i64> {
        let after = Timestamp::from_second(instant.checked_add(1)?).ok()?;
        self.0.preceding(after).next().map(|change| change.timestamp().as_second())
    }

    /// When the wall clock first shows a time, or has leapt over it.
    pub(crate) fn first(&self, shown: DateTime) -> Option<i64> {
        let as_utc = seconds(shown)?;
        match self.0.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some(as_utc - i64::from(offset.seconds())),
            AmbiguousOffset::Fold { before, .. } => Some(as_utc - i64::from(before.seconds())),
            AmbiguousOffset::Gap { before, .. } => self.change_until(as_utc - i64::from(before.seconds())),
        }
    }

    /// The latest time that the wall clock has shown up to an instant: later than what it shows once it was put back.
    pub(crate) fn reached(&self, instant: i64) -> Option<DateTime> {
        let shown = self.shown(instant)?;
        match self.0.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Fold { before, .. } if i64::from(before.seconds()) != self.offset(instant)? => {
                civil(self.change_until(instant)? - 1 + i64::from(before.seconds()))
            }
            _ => Some(shown),
        }
    }
}

/// A time of a wall clock, as if it were one of UTC.
pub(crate) fn seconds(shown: DateTime) -> Option<i64> {
    Offset::UTC.to_timestamp(shown).ok().map(Timestamp::as_second)
}

/// The inverse of [`seconds`].
pub(crate) fn civil(seconds: i64) -> Option<DateTime> {
    Some(Offset::UTC.to_datetime(Timestamp::from_second(seconds).ok()?))
}

fn hint(name: &str) -> String {
    let city = name.replace(' ', "_");
    let known = tz::db().available().map(|known| known.to_string()).find(|known| {
        known.rsplit_once('/').is_some_and(|(_, last)| last.eq_ignore_ascii_case(&city) && !known.starts_with("posix"))
    });
    match known {
        Some(known) => format!("do you mean `{known}`?"),
        None if name.bytes().any(|b| b.is_ascii_digit()) => {
            "an offset does not know when clocks change: use a name as `Europe/Berlin`, or `UTC`".to_owned()
        }
        None => "names are those of the IANA database, as `Europe/Berlin` or `UTC`".to_owned(),
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self::UTC
    }
}

impl PartialEq for TimeZone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for TimeZone {}

impl std::hash::Hash for TimeZone {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeZone({:?})", self.name())
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TimeZone {
    type Err = TimeZoneError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl Serialize for TimeZone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for TimeZone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

/// To jiff's own type.
#[cfg(feature = "jiff")]
impl From<TimeZone> for tz::TimeZone {
    fn from(zone: TimeZone) -> Self {
        zone.0
    }
}

/// From jiff's own type, by its name: one made of an offset or of rules has none and is refused.
#[cfg(feature = "jiff")]
impl TryFrom<tz::TimeZone> for TimeZone {
    type Error = TimeZoneError;

    fn try_from(zone: tz::TimeZone) -> Result<Self, Self::Error> {
        Self::new(zone.iana_name().unwrap_or("a zone without a name"))
    }
}
