//! Which dates match.

use std::collections::BTreeSet;

use jiff::civil::Date;

use crate::items::Field;
use crate::kinds::Item;

/// How day of month and day of week go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Both,
    Either,
}

/// The dates of a pattern.
#[derive(Debug, Clone)]
pub(crate) struct Days {
    rule: Rule,
    /// Every year where there is none.
    years: Option<BTreeSet<i16>>,
    months: u64,
    days: u64,
    weekdays: u64,
    of_month: Vec<Item>,
    of_week: Vec<Item>,
}

/// The calendar of the years repeats after as many, weekdays among it.
const CYCLE: i32 = 400;

impl Days {
    pub(crate) fn new(day: &Field, month: &Field, weekday: &Field) -> Self {
        let moving = |field: &Field| {
            let plain = |item: &Item| matches!(item, Item::Star { .. } | Item::Span { .. });
            field.items.iter().copied().filter(|item| !plain(item)).collect()
        };
        Self {
            rule: if day.starred() || weekday.starred() { Rule::Both } else { Rule::Either },
            years: None,
            months: month.values(),
            days: day.values(),
            weekdays: weekday.values(),
            of_month: moving(day),
            of_week: moving(weekday),
        }
    }

    /// Plain values that must all match.
    #[cfg(feature = "cron")]
    pub(crate) fn plain(years: BTreeSet<i16>, months: u64, days: u64, weekdays: u64) -> Self {
        let years = Some(years);
        Self { rule: Rule::Both, years, months, days, weekdays, of_month: Vec::new(), of_week: Vec::new() }
    }

    /// The first matching date from a date on. It looks through all of the calendar's 400 years: nothing new comes
    /// after.
    pub(crate) fn from(&self, date: Date) -> Option<Date> {
        let mut month = date;
        loop {
            if self.month_matches(month) {
                let mut days = month.day()..=month.days_in_month();
                if let Some(found) = days.find_map(|day| self.matched(month, day)) {
                    return Some(found);
                }
            }
            month = month.last_of_month().tomorrow().ok()?;
            if i32::from(month.year()) > i32::from(date.year()) + CYCLE {
                return None;
            }
        }
    }

    /// The last matching date up to a date.
    pub(crate) fn until(&self, date: Date) -> Option<Date> {
        let mut month = date;
        loop {
            if self.month_matches(month) {
                let mut days = (1..=month.day()).rev();
                if let Some(found) = days.find_map(|day| self.matched(month, day)) {
                    return Some(found);
                }
            }
            month = month.first_of_month().yesterday().ok()?;
            if i32::from(month.year()) < i32::from(date.year()) - CYCLE {
                return None;
            }
        }
    }

    fn month_matches(&self, month: Date) -> bool {
        self.months >> month.month() & 1 == 1 && self.years.as_ref().is_none_or(|years| years.contains(&month.year()))
    }

    fn matched(&self, month: Date, day: i8) -> Option<Date> {
        let date = Date::new(month.year(), month.month(), day).ok()?;
        let by_day = self.days >> day & 1 == 1 || self.of_month.iter().any(|item| of_month(item, date));
        let by_weekday = self.weekdays >> weekday(date) & 1 == 1 || self.of_week.iter().any(|item| of_week(item, date));
        let matches = match self.rule {
            Rule::Both => by_day && by_weekday,
            Rule::Either => by_day || by_weekday,
        };
        matches.then_some(date)
    }
}

fn weekday(date: Date) -> i8 {
    date.weekday().to_sunday_zero_offset()
}

fn of_month(item: &Item, date: Date) -> bool {
    let last = date.days_in_month();
    match *item {
        Item::Last => date.day() == last,
        Item::LastWorkday => date.day() == nearest_workday(date, last),
        Item::Nearest(day) => day as i8 <= last && date.day() == nearest_workday(date, day as i8),
        _ => false,
    }
}

/// The workday nearest to a day, within the day's month.
fn nearest_workday(month: Date, day: i8) -> i8 {
    let last = month.days_in_month();
    // Counted from the month's own weekday: the day of the month is known to exist.
    match (weekday(month) + 70 + day - month.day()) % 7 {
        6 if day == 1 => 3,
        6 => day - 1,
        0 if day == last => day - 2,
        0 => day + 1,
        _ => day,
    }
}

fn of_week(item: &Item, date: Date) -> bool {
    match *item {
        Item::Nth { weekday: wanted, nth } => weekday(date) == wanted as i8 && (date.day() - 1) / 7 + 1 == nth as i8,
        Item::LastOf(wanted) => weekday(date) == wanted as i8 && date.day() + 7 > date.days_in_month(),
        _ => false,
    }
}
