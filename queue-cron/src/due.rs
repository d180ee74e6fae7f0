//! When a pattern is due on the wall clock of a zone, whose clock leaps ahead and is put back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::ToSpan;

use crate::pattern::Pattern;
use crate::zone::{TimeZone, civil, seconds};

/// A pattern on the wall clock of a zone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due<'a> {
    pub(crate) pattern: &'a Pattern,
    pub(crate) zone: &'a TimeZone,
    /// Whether it goes by the clock as it is (`*` in the time) or by fixed times.
    pub(crate) wild: bool,
}

impl Due<'_> {
    pub(crate) fn after(self, moment: SystemTime) -> Option<SystemTime> {
        let passed = floor(moment)?;
        system(if self.wild { self.wild_from(passed.checked_add(1)?) } else { self.fixed_after(passed) }?)
    }

    pub(crate) fn before(self, moment: SystemTime) -> Option<SystemTime> {
        let last = ceil(moment)? - 1;
        system(if self.wild { self.wild_until(last) } else { self.fixed_until(last) }?)
    }

    /// Between two changes the clock runs evenly, so each such stretch is searched by itself.
    fn wild_from(self, mut from: i64) -> Option<i64> {
        loop {
            let offset = self.zone.offset(from)?;
            let end = self.zone.change_after(from).unwrap_or(i64::MAX);
            let found = seconds(self.pattern.from(civil(from + offset)?)?)? - offset;
            if found < end {
                return Some(found);
            }
            from = end;
        }
    }

    fn wild_until(self, mut until: i64) -> Option<i64> {
        loop {
            let offset = self.zone.offset(until)?;
            let start = self.zone.change_until(until).unwrap_or(i64::MIN);
            let found = seconds(self.pattern.until(civil(until + offset)?)?)? - offset;
            if found >= start {
                return Some(found);
            }
            until = start - 1;
        }
    }

    /// Each time on the clock's face counts once: when it is first reached, or leapt over.
    fn fixed_after(self, passed: i64) -> Option<i64> {
        let mut reached = self.zone.reached(passed)?;
        loop {
            let shown = self.pattern.from(reached.checked_add(1.second()).ok()?)?;
            match self.zone.first(shown)? {
                found if found > passed => return Some(found),
                _ => reached = shown,
            }
        }
    }

    fn fixed_until(self, last: i64) -> Option<i64> {
        let mut reached = self.zone.reached(last)?;
        loop {
            let shown = self.pattern.until(reached)?;
            match self.zone.first(shown)? {
                found if found <= last => return Some(found),
                _ => reached = shown.checked_sub(1.second()).ok()?,
            }
        }
    }
}

/// The whole second that a moment lies in.
fn floor(moment: SystemTime) -> Option<i64> {
    match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).ok(),
        Err(before) => i64::try_from(rounded_up(before.duration())).ok().map(|seconds| -seconds),
    }
}

/// The first whole second that is not before a moment.
fn ceil(moment: SystemTime) -> Option<i64> {
    match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(rounded_up(since)).ok(),
        Err(before) => i64::try_from(before.duration().as_secs()).ok().map(|seconds| -seconds),
    }
}

fn rounded_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

fn system(seconds: i64) -> Option<SystemTime> {
    let away = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(away) } else { UNIX_EPOCH.checked_add(away) }
}
