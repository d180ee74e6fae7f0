//! Against a walk over each minute, by another reading of the expression and of the rule for clock changes.

use std::collections::BTreeSet;

use fastrand::Rng;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::{cron, moment, unix};

/// Zones with the days around which their clocks change, and some without.
const PLACES: [(&str, &[&str]); 12] = [
    ("UTC", &["2024-02-28", "2026-12-30"]),
    ("Asia/Kolkata", &["2023-10-29"]),
    ("America/New_York", &["2024-03-09", "2024-11-02"]),
    ("Europe/Berlin", &["2025-03-29", "2025-10-25"]),
    ("Australia/Lord_Howe", &["2024-10-05", "2025-04-05"]),
    ("Antarctica/Troll", &["2024-03-30", "2024-10-26"]),
    ("America/Sao_Paulo", &["2018-11-03", "2018-02-17"]),
    ("Asia/Beirut", &["2024-03-30", "2024-10-26"]),
    ("Pacific/Auckland", &["2024-09-28", "2025-04-05"]),
    ("Africa/Cairo", &["2024-04-25", "2024-10-31"]),
    ("America/Havana", &["2024-03-09", "2024-11-02"]),
    ("Pacific/Apia", &["2011-12-29"]),
];

/// The values that a field matches, without `L`, `W`, `#` or names, read naively.
fn values(field: &str, min: i8, max: i8) -> BTreeSet<i8> {
    let item = |item: &str| {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (low, high) = match range.split_once('-') {
            _ if range == "*" => (min, max),
            Some((low, high)) => (low.parse().unwrap(), high.parse().unwrap()),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        (low..=high).step_by(step.parse().unwrap())
    };
    field.split(',').flat_map(item).collect()
}

struct Walker {
    seconds: BTreeSet<i8>,
    minutes: BTreeSet<i8>,
    hours: BTreeSet<i8>,
    days: BTreeSet<i8>,
    months: BTreeSet<i8>,
    weekdays: BTreeSet<i8>,
    fixed: bool,
    both: bool,
}

impl Walker {
    fn new(text: &str) -> Self {
        let text = if text.split(' ').count() == 5 { format!("0 {text}") } else { text.to_owned() };
        let [second, minute, hour, day, month, weekday] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
        Self {
            seconds: values(second, 0, 59),
            minutes: values(minute, 0, 59),
            hours: values(hour, 0, 23),
            days: values(day, 1, 31),
            months: values(month, 1, 12),
            weekdays: values(weekday, 0, 7),
            fixed: ![second, minute, hour].iter().any(|field| field.contains('*')),
            both: day.contains('*') || weekday.contains('*'),
        }
    }

    fn date_matches(&self, date: Date) -> bool {
        let by_day = self.days.contains(&date.day());
        let weekday = date.weekday().to_sunday_zero_offset();
        let by_weekday = self.weekdays.contains(&weekday) || (weekday == 0 && self.weekdays.contains(&7));
        self.months.contains(&date.month()) && if self.both { by_day && by_weekday } else { by_day || by_weekday }
    }

    fn shown_matches(&self, shown: DateTime) -> bool {
        self.seconds.contains(&shown.second())
            && self.minutes.contains(&shown.minute())
            && self.hours.contains(&shown.hour())
            && self.date_matches(shown.date())
    }

    /// All that is due after `from` and up to `to`, both whole steps: step for step, with the face of the clock in sight
    /// four hours before.
    fn due(&self, zone: &TimeZone, from: i64, to: i64, step: usize) -> Vec<i64> {
        let shown = |unix| zone.to_datetime(Timestamp::from_second(unix).unwrap());
        let early = from - 4 * 3600;
        let mut latest = shown(early);
        let mut due = BTreeSet::new();
        for unix in (early..=to).step_by(step).skip(1) {
            let now = shown(unix);
            // The faces that count at this step: its own, and if times are fixed those just leapt over.
            let mut face = if self.fixed { latest + (step as i64).seconds() } else { now };
            while face <= now {
                if self.shown_matches(face) {
                    due.insert(unix);
                }
                face += (step as i64).seconds();
            }
            latest = latest.max(now);
        }
        due.into_iter().filter(|unix| *unix > from).collect()
    }
}

fn item(rng: &mut Rng, min: u8, max: u8) -> String {
    let (a, b) = (rng.u8(min..=max), rng.u8(min..=max));
    let (low, high) = (a.min(b), a.max(b));
    match rng.u8(0..6) {
        0 => format!("*/{}", rng.u8(1..=(max - min) / 2)),
        1 if high > low => format!("{low}-{high}/{}", rng.u8(1..=high - low)),
        2 => format!("{low}-{high}"),
        _ => low.to_string(),
    }
}

fn field(rng: &mut Rng, min: u8, max: u8, stars: u8) -> String {
    if rng.u8(0..10) < stars {
        return "*".to_owned();
    }
    let items: Vec<_> = (0..rng.u8(1..=3)).map(|_| item(rng, min, max)).collect();
    if items.iter().any(|item| item == "*/1") { "*".to_owned() } else { items.join(",") }
}

fn expression(rng: &mut Rng) -> String {
    let minute = field(rng, 0, 59, 2);
    // Mostly at night, when clocks change.
    let hour = if rng.bool() { field(rng, 0, 4, 0) } else { field(rng, 0, 23, 4) };
    let (day, weekday) = (field(rng, 1, 31, 6), field(rng, 0, 7, 6));
    format!("{minute} {hour} {day} {} {weekday}", field(rng, 1, 12, 8))
}

fn walk(text: &str, zone: &str, from: i64, to: i64, step: usize) {
    let Ok(ours) = text.parse::<queue_cron::Cron>() else {
        assert!(never(text), "{text} is refused, but there are dates");
        return;
    };
    let ours = ours.in_tz(zone).unwrap();
    let walked = Walker::new(text).due(&TimeZone::get(zone).unwrap(), from, to, step);
    let found: Vec<_> = ours.upcoming(moment(from)).map(unix).take_while(|unix| *unix <= to).collect();
    assert_eq!(found, walked, "{text} in {zone} from {from} to {to}");

    let steps = std::iter::successors(ours.previous(moment(to + 1)), |last| ours.previous(*last));
    let mut back: Vec<_> = steps.map(unix).take_while(|unix| *unix > from).collect();
    back.reverse();
    assert_eq!(back, walked, "{text} in {zone} backwards from {to} to {from}");
}

/// A zone, and the midnight before the clocks there change.
fn place(n: usize) -> (&'static str, i64) {
    let (zone, days) = PLACES[n % PLACES.len()];
    let day: Date = days[n / PLACES.len() % days.len()].parse().unwrap();
    (zone, day.in_tz(zone).unwrap().timestamp().as_second())
}

/// Whether none of the dates of a calendar's cycle matches.
fn never(text: &str) -> bool {
    let walker = Walker::new(text);
    let start = jiff::civil::date(2000, 1, 1);
    !start.series(1.day()).take(146_097).any(|date| walker.date_matches(date))
}

#[test]
fn a_walk_over_each_minute_finds_the_same() {
    let mut rng = Rng::with_seed(20_240_310);
    for n in 0..3_000 {
        let (zone, midnight) = place(n);
        let from = midnight + rng.i64(0..28 * 60) * 60;
        let to = from + rng.i64(6..30) * 3600;
        walk(&expression(&mut rng), zone, from, to, 60);
    }
}

#[test]
fn a_walk_over_each_second_finds_the_same() {
    let mut rng = Rng::with_seed(60);
    for n in 0..120 {
        let (zone, midnight) = place(n);
        let from = midnight + rng.i64(21 * 3600..28 * 3600);
        let text =
            format!("{} {} {} * * *", field(&mut rng, 0, 59, 2), field(&mut rng, 0, 59, 2), field(&mut rng, 0, 4, 2));
        walk(&text, zone, from, from + rng.i64(1..7_200), 1);
    }
}

#[test]
fn a_walk_over_each_day_finds_the_same() {
    let mut rng = Rng::with_seed(29_021_900);
    for _ in 0..2_000 {
        let dates = format!("{} {} {}", field(&mut rng, 1, 31, 3), field(&mut rng, 1, 12, 3), field(&mut rng, 0, 7, 3));
        let text = format!("30 12 {dates}");
        let walker = Walker::new(&text);
        if text.parse::<queue_cron::Cron>().is_err() {
            assert!(never(&text), "{text} is refused, but there are dates");
            continue;
        }
        let start = jiff::civil::date(rng.i16(1890..2110), 1, 1);
        let walked = start.series(1.day()).take(900).filter(|date| walker.date_matches(*date));
        let walked: Vec<_> =
            walked.map(|date| date.at(12, 30, 0, 0).in_tz("UTC").unwrap().timestamp().as_second()).collect();
        let from = start.in_tz("UTC").unwrap().timestamp().as_second();
        let found: Vec<_> =
            cron(&text).upcoming(moment(from)).map(unix).take_while(|unix| *unix < from + 900 * 86_400).collect();
        assert_eq!(found, walked, "{text} from {start}");
    }
}
