//! Which times of a wall clock match.

use jiff::civil::{DateTime, Time};

use crate::days::Days;

/// The times of a wall clock that match, whatever the zone.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) days: Days,
    pub(crate) hours: u64,
    pub(crate) minutes: u64,
    pub(crate) seconds: u64,
}

/// The lowest value of a set from a value on.
fn above(set: u64, value: i8) -> Option<i8> {
    let rest = set.checked_shr(value as u32)?;
    (rest != 0).then(|| value + rest.trailing_zeros() as i8)
}

/// The highest value of a set up to a value.
fn below(set: u64, value: i8) -> Option<i8> {
    let rest = set & (u64::MAX >> (63 - u32::try_from(value).ok()?));
    (rest != 0).then(|| 63 - rest.leading_zeros() as i8)
}

fn has(set: u64, value: i8) -> bool {
    set >> value & 1 == 1
}

impl Pattern {
    /// The first match from a time on, which is a whole second.
    pub(crate) fn from(&self, from: DateTime) -> Option<DateTime> {
        let date = self.days.from(from.date())?;
        if date == from.date()
            && let Some(time) = self.time_from(from.time())
        {
            return Some(date.to_datetime(time));
        }
        let date = if date == from.date() { self.days.from(date.tomorrow().ok()?)? } else { date };
        Some(date.to_datetime(self.time_from(Time::midnight())?))
    }

    /// The last match up to a time, which is a whole second.
    pub(crate) fn until(&self, until: DateTime) -> Option<DateTime> {
        let date = self.days.until(until.date())?;
        if date == until.date()
            && let Some(time) = self.time_until(until.time())
        {
            return Some(date.to_datetime(time));
        }
        let date = if date == until.date() { self.days.until(date.yesterday().ok()?)? } else { date };
        Some(date.to_datetime(self.time_until(jiff::civil::time(23, 59, 59, 0))?))
    }

    fn time_from(&self, from: Time) -> Option<Time> {
        let (hour, minute) = (from.hour(), from.minute());
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = above(self.seconds, from.second())
            {
                return time(hour, minute, second);
            }
            if let Some(minute) = above(self.minutes, minute + 1) {
                return time(hour, minute, above(self.seconds, 0)?);
            }
        }
        time(above(self.hours, hour + 1)?, above(self.minutes, 0)?, above(self.seconds, 0)?)
    }

    fn time_until(&self, until: Time) -> Option<Time> {
        let (hour, minute) = (until.hour(), until.minute());
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = below(self.seconds, until.second())
            {
                return time(hour, minute, second);
            }
            if let Some(minute) = below(self.minutes, minute - 1) {
                return time(hour, minute, below(self.seconds, 59)?);
            }
        }
        time(below(self.hours, hour - 1)?, below(self.minutes, 59)?, below(self.seconds, 59)?)
    }
}

fn time(hour: i8, minute: i8, second: i8) -> Option<Time> {
    Time::new(hour, minute, second, 0).ok()
}
