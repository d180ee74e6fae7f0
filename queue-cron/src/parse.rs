//! An expression's text: its zone, its nickname, its fields.

use std::ops::Range;

use crate::days::Days;
use crate::error::{CronError, Fault};
use crate::items::Field;
use crate::kinds::KINDS;
use crate::pattern::Pattern;
use crate::zone::TimeZone;

/// No expression that says something is longer.
const LONGEST: usize = 512;

/// The second of an expression that names none: 0 alone.
const FULL_MINUTE: u64 = 1;

/// What an expression says.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) zone: TimeZone,
    /// The fields as they are always written.
    pub(crate) text: String,
    pub(crate) pattern: Pattern,
    /// Whether an item of second, minute or hour starts with `*`.
    pub(crate) wild: bool,
}

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

pub(crate) fn parse(expression: &str) -> Result<Parsed, CronError> {
    if expression.len() > LONGEST {
        let problem = format!("it has {} bytes, more than {LONGEST}", expression.len());
        let shown: String = expression.chars().take(40).collect();
        return Err(Fault::new(0..0, problem).of(&shown));
    }
    read(expression).map_err(|fault| fault.of(expression))
}

fn read(expression: &str) -> Result<Parsed, Fault> {
    let mut words = words(expression);
    let zone = match words.first() {
        Some(word) if expression[word.clone()].starts_with("CRON_TZ=") => named_zone(expression, words.remove(0))?,
        Some(word) if expression[word.clone()].starts_with("TZ=") => {
            return Err(Fault::new(word.clone(), "the zone is given in another way").hint("write `CRON_TZ=` for `TZ=`"));
        }
        _ => TimeZone::UTC,
    };
    let parsed = match words.first() {
        Some(word) if expression[word.clone()].starts_with('@') => nickname(expression, &words)?,
        _ => fields(expression, &words)?,
    };
    Ok(Parsed { zone, ..parsed })
}

fn named_zone(expression: &str, word: Range<usize>) -> Result<TimeZone, Fault> {
    let name = word.start + "CRON_TZ=".len()..word.end;
    TimeZone::new(&expression[name.clone()]).map_err(|error| Fault::new(name, error.to_string()))
}

fn nickname(expression: &str, words: &[Range<usize>]) -> Result<Parsed, Fault> {
    let word = &expression[words[0].clone()];
    if let Some(more) = words.get(1).filter(|_| !word.eq_ignore_ascii_case("@every")) {
        let hint = "a nickname stands for all the fields";
        return Err(Fault::new(more.clone(), format!("nothing follows `{word}`")).hint(hint));
    }
    match NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        Some((_, meant)) => fields(meant, &self::words(meant)),
        None => {
            let hint = match word.to_ascii_lowercase().as_str() {
                "@every" => "use an interval (`Every`): it is no cron expression",
                "@reboot" => "enqueue the job where the program starts",
                _ => "there are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly",
            };
            Err(Fault::new(words[0].clone(), format!("`{word}` is not known")).hint(hint))
        }
    }
}

/// Where the words of a text stand.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                words.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn fields(expression: &str, words: &[Range<usize>]) -> Result<Parsed, Fault> {
    let kinds = match words.len() {
        5 => &KINDS[1..],
        6 => &KINDS,
        _ => &[],
    };
    let read = kinds.iter().zip(words).map(|(kind, at)| Field::read(kind, &expression[at.clone()], at.start));
    let read = read.collect::<Result<Vec<_>, _>>()?;
    let Some((second, rest)) = read.split_last_chunk() else {
        return Err(wrong_number(expression, words));
    };
    combine(second.first(), rest, &words[words.len() - 3])
}

fn wrong_number(expression: &str, words: &[Range<usize>]) -> Fault {
    let order = "minute, hour, day of month, month, day of week";
    match words.len() {
        0 => Fault::new(0..expression.len(), "it is empty").hint("write `0 3 * * *` for 3 o'clock each day"),
        7 => Fault::new(words[6].clone(), "it has seven fields").hint(format!(
            "there is no field for the year; six fields are second, {order}, and weekdays count from 0 = Sunday",
        )),
        n if n > 7 => Fault::new(words[6].start..expression.trim_end().len(), format!("it has {n} fields"))
            .hint("the user and the command of a crontab line are no part of an expression"),
        n => Fault::new(words[0].start..words[n - 1].end, format!("it has {n} of five fields"))
            .hint(format!("the fields are {order}; `*` is every value")),
    }
}

/// Makes one of the fields; `at` is where the day of month stands.
fn combine(second: Option<&Field>, rest: &[Field; 5], at: &Range<usize>) -> Result<Parsed, Fault> {
    let [minute, hour, day, month, weekday] = rest;
    let days = Days::new(day, month, weekday);
    // Any year will do: the calendar repeats, and a search sees all of it.
    if days.from(jiff::civil::date(2000, 1, 1)).is_none() {
        return Err(KINDS[3].fault(at.clone(), "there is no such date, in no year").hint(
            "February has 28 or 29 days; April, June, September and November have 30; `L` is the last day of any month",
        ));
    }
    let second = second.filter(|second| second.values() != FULL_MINUTE);
    let seconds = second.map_or(String::new(), |second| format!("{second} "));
    Ok(Parsed {
        zone: TimeZone::UTC,
        text: format!("{seconds}{minute} {hour} {day} {month} {weekday}"),
        wild: second.into_iter().chain([minute, hour]).any(Field::starred),
        pattern: Pattern {
            days,
            hours: hour.values(),
            minutes: minute.values(),
            seconds: second.map_or(FULL_MINUTE, Field::values),
        },
    })
}

/// The same of fields that were given one by one.
pub(crate) fn parse_fields(values: &[String]) -> Result<Parsed, CronError> {
    let expression = values.join(" ");
    let mut at = 0;
    for (value, kind) in values.iter().zip(&KINDS[KINDS.len() - values.len()..]) {
        if value.is_empty() || value.contains(char::is_whitespace) {
            let problem =
                format!("the {} is {}", kind.name, if value.is_empty() { "empty" } else { "more than one word" });
            let fault = kind.fault(at..at + value.len(), problem).hint("`*` is every value; a list has commas: `1,2`");
            return Err(fault.of(&expression));
        }
        at += value.len() + 1;
    }
    parse(&expression)
}
