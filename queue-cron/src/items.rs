//! One field: the items of its list, read and written.

use std::fmt;
use std::ops::Range;

use crate::error::Fault;

/// What a field of a kind takes.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    allowed: &'static str,
    min: u8,
    max: u8,
    /// Three letters each; the first stands for `min`.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The fields, in the order in which they are written.
pub(crate) static KINDS: [Kind; 6] = [
    Kind {
        name: "second",
        allowed: "0-59, `*`, ranges `0-29`, steps `*/10` and `0-29/5`, lists `0,30`",
        min: 0,
        max: 59,
        names: &[],
    },
    Kind {
        name: "minute",
        allowed: "0-59, `*`, ranges `0-29`, steps `*/15` and `0-29/5`, lists `0,30`",
        min: 0,
        max: 59,
        names: &[],
    },
    Kind {
        name: "hour",
        allowed: "0-23, `*`, ranges `9-17`, steps `*/2` and `9-17/2`, lists `9,12,17`",
        min: 0,
        max: 23,
        names: &[],
    },
    Kind {
        name: "day of month",
        allowed: "1-31, `*`, ranges `1-7`, steps `*/2` and `1-15/2`, lists `1,15`, \
                  `L` (last day), `LW` (last workday), `15W` (workday nearest to the 15th)",
        min: 1,
        max: 31,
        names: &[],
    },
    Kind {
        name: "month",
        allowed: "1-12 or JAN-DEC, `*`, ranges `6-8`, steps `*/3` and `1-6/2`, lists `3,9`",
        min: 1,
        max: 12,
        names: &MONTHS,
    },
    Kind {
        name: "day of week",
        allowed: "0-7 (0 and 7 are Sunday) or SUN-SAT, `*`, ranges `MON-FRI`, steps `*/2` and `1-5/2`, lists `1,3`, \
                  `5#2` (second Friday), `5L` (last Friday)",
        min: 0,
        max: 7,
        names: &WEEKDAYS,
    },
];

const DAY: usize = 3;
const WEEKDAY: usize = 5;

impl Kind {
    fn is(&self, index: usize) -> bool {
        std::ptr::eq(self, &KINDS[index])
    }

    pub(crate) fn fault(&self, span: Range<usize>, problem: impl Into<String>) -> Fault {
        Fault { field: Some((self.name, self.allowed)), ..Fault::new(span, problem) }
    }

    /// 7 is Sunday in a range's end only, so that `5-7` is one; by itself it is 0.
    fn folded(&self, value: u8) -> u8 {
        if self.is(WEEKDAY) { value % 7 } else { value }
    }
}

/// One entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    Star { step: u8 },
    Span { from: u8, to: u8, step: u8 },
    Nearest(u8),
    Nth { weekday: u8, nth: u8 },
    LastOf(u8),
    Last,
    LastWorkday,
}

/// A field, its items in order and each once.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    kind: &'static Kind,
    pub(crate) items: Vec<Item>,
}

impl Field {
    /// Reads a field that stands at a byte of the expression.
    pub(crate) fn read(kind: &'static Kind, text: &str, at: usize) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(kind.fault(at..at, format!("the {} is empty", kind.name)).hint("`*` is every value"));
        }
        let mut items = Vec::new();
        let mut start = at;
        for entry in text.split(',') {
            items.push(Entry { kind, text: entry, at: start }.item()?);
            start += entry.len() + 1;
        }
        if items.len() > 1 && items.contains(&Item::Star { step: 1 }) {
            return Err(kind
                .fault(at..at + text.len(), "`*` is every value, so the rest of the list says nothing")
                .hint("leave `*` alone, or take it out"));
        }
        items.sort_unstable();
        items.dedup();
        Ok(Self { kind, items })
    }

    /// Whether one of its items starts with `*`.
    pub(crate) fn starred(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Star { .. }))
    }

    /// The plain values as bits; Sunday is bit 0.
    pub(crate) fn values(&self) -> u64 {
        let bits = |from: u8, to: u8, step: u8| {
            (from..=to).step_by(usize::from(step)).fold(0, |bits, value| bits | 1 << self.kind.folded(value))
        };
        self.items.iter().fold(0, |all, item| match *item {
            Item::Star { step } => all | bits(self.kind.min, self.kind.max, step),
            Item::Span { from, to, step } => all | bits(from, to, step),
            _ => all,
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, item) in self.items.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{item}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Star { step: 1 } => write!(f, "*"),
            Self::Star { step } => write!(f, "*/{step}"),
            Self::Span { from, to, .. } if from == to => write!(f, "{from}"),
            Self::Span { from, to, step: 1 } => write!(f, "{from}-{to}"),
            Self::Span { from, to, step } => write!(f, "{from}-{to}/{step}"),
            Self::Nearest(day) => write!(f, "{day}W"),
            Self::Nth { weekday, nth } => write!(f, "{weekday}#{nth}"),
            Self::LastOf(weekday) => write!(f, "{weekday}L"),
            Self::Last => write!(f, "L"),
            Self::LastWorkday => write!(f, "LW"),
        }
    }
}

/// An entry of a list as it is written.
struct Entry<'a> {
    kind: &'static Kind,
    text: &'a str,
    at: usize,
}

impl Entry<'_> {
    fn span(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn fault(&self, problem: impl Into<String>) -> Fault {
        self.kind.fault(self.span(), problem)
    }

    /// A part of this entry as an entry of its own.
    fn part<'b>(&self, part: &'b str, offset: usize) -> Entry<'b> {
        Entry { kind: self.kind, text: part, at: self.at + offset }
    }

    fn item(&self) -> Result<Item, Fault> {
        if self.text.is_empty() {
            return Err(self.fault("an entry of the list is empty").hint("take the extra comma out; a list has no spaces"));
        }
        if self.text.contains('?') {
            return Err(self.fault("`?` is Quartz's sign for any day").hint(
                "write `*`; mind that Quartz counts weekdays from 1 = Sunday, and here 1 is Monday, 0 and 7 are Sunday",
            ));
        }
        match self.text.split_once('/') {
            Some((body, step)) => self.stepped(body, &self.part(step, body.len() + 1)),
            None if self.text == "*" => Ok(Item::Star { step: 1 }),
            None => match self.special() {
                Some(item) => item,
                None => self.range(),
            },
        }
    }

    fn stepped(&self, body: &str, step: &Entry<'_>) -> Result<Item, Fault> {
        let by = step.step()?;
        let item = match body {
            "*" => Item::Star { step: by },
            "" => {
                let hint = format!("write `*/{by}`");
                return Err(self.fault("a step needs something to step through").hint(hint));
            }
            _ if body.contains('-') => match self.part(body, 0).range()? {
                Item::Span { from, to, .. } => Item::Span { from, to, step: by },
                other => other,
            },
            _ => return Err(self.lone_step(body, by)),
        };
        let (from, to) = match item {
            Item::Span { from, to, .. } => (from, to),
            // As few as seven weekdays: 0 and 7 are one.
            _ => (self.kind.min, if self.kind.is(WEEKDAY) { 6 } else { self.kind.max }),
        };
        if by > to - from && by > 1 {
            let problem = format!("a step of {by} never gets beyond {from} within {from}-{to}");
            return Err(step.fault(problem).hint(format!("write `{from}`; what is due every so often is an interval")));
        }
        Ok(item)
    }

    /// `5/15`, which Vixie's cron reads as `5` and Quartz as `5-59/15`.
    fn lone_step(&self, body: &str, by: u8) -> Fault {
        match self.part(body, 0).value() {
            Ok(from) => self
                .fault("a step after a single value means different things to different crons")
                .hint(format!("write `{from}-{}/{by}`", self.kind.max)),
            Err(fault) => fault,
        }
    }

    fn step(&self) -> Result<u8, Fault> {
        if self.text.is_empty() || !self.text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self
                .fault(format!("the step `{}` is not a number", self.text))
                .hint("a step is a number, as in `*/5`"));
        }
        match self.text.parse() {
            Ok(0) => Err(self.fault("a step of 0 goes nowhere").hint("a step is at least 1; every value is `*`")),
            Ok(step) if step <= self.kind.max => Ok(step),
            _ => Err(self
                .fault(format!("a step of {} is longer than the {} goes", self.text, self.kind.name))
                .hint("cron starts counting anew in each hour, day and month: use an interval for a longer one")),
        }
    }

    /// `L`, `LW`, `15W`, `5#2`, `5L`; `None` for what is none of them.
    fn special(&self) -> Option<Result<Item, Fault>> {
        let day = self.kind.is(DAY);
        let weekday = self.kind.is(WEEKDAY);
        let last = self.text.len().saturating_sub(1);
        let upper = self.text.to_ascii_uppercase();
        match &*upper {
            "L" if day => return Some(Ok(Item::Last)),
            "LW" | "WL" if day => return Some(Ok(Item::LastWorkday)),
            "L" if weekday => {
                return Some(Err(self.fault("`L` does not say which weekday").hint("write `5L` for the last Friday")));
            }
            _ if day && upper.starts_with("L-") => {
                return Some(Err(self.fault("days can't be counted back from the end").hint("`L` is the last day")));
            }
            _ => {}
        }
        let value = |end: usize| self.part(&self.text[..end], 0).value().map(|value| self.kind.folded(value));
        if day && upper.ends_with('W') {
            return Some(value(last).map(Item::Nearest));
        }
        if weekday && upper.ends_with('L') {
            return Some(value(last).map(Item::LastOf));
        }
        let hash = self.text.find('#').filter(|_| weekday)?;
        Some(value(hash).and_then(|weekday| {
            match self.text[hash + 1..].parse() {
                Ok(nth @ 1..=5) => Ok(Item::Nth { weekday, nth }),
                _ => Err(self
                    .fault("a month has a first to a fifth of each weekday")
                    .hint("`5#2` is the second Friday, `5L` the last")),
            }
        }))
    }

    fn range(&self) -> Result<Item, Fault> {
        let Some((low, high)) = self.text.split_once('-') else {
            let value = self.kind.folded(self.value()?);
            return Ok(Item::Span { from: value, to: value, step: 1 });
        };
        if low.is_empty() || high.is_empty() {
            return Err(self.fault("a range needs both its ends").hint("write it as `2-5`"));
        }
        let from = self.part(low, 0).value()?;
        let mut to = self.part(high, low.len() + 1).value()?;
        if self.kind.is(WEEKDAY) && high.eq_ignore_ascii_case("SUN") && from > 0 {
            to = 7;
        }
        if from > to {
            let Kind { min, max, .. } = *self.kind;
            let max = if self.kind.is(WEEKDAY) { 6 } else { max };
            let hint =
                if from <= max { format!("write `{min}-{to},{from}-{max}`") } else { format!("write `{min}-{to}`") };
            return Err(self.fault("the range runs backwards").hint(hint));
        }
        let single = from == to;
        let fold = |value| if single { self.kind.folded(value) } else { value };
        Ok(Item::Span { from: fold(from), to: fold(to), step: 1 })
    }

    fn value(&self) -> Result<u8, Fault> {
        let Kind { name, min, max, names, .. } = *self.kind;
        if let Some(position) = names.iter().position(|name| name.eq_ignore_ascii_case(self.text)) {
            return Ok(min + position as u8);
        }
        if self.text.is_empty() || !self.text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.no_value());
        }
        match self.text.parse() {
            Ok(value) if (min..=max).contains(&value) => Ok(value),
            _ => {
                let fault = self.fault(format!("the {name} goes from {min} to {max}, not {}", self.text));
                Err(match self.out_of_range_hint() {
                    Some(hint) => fault.hint(hint),
                    None => fault,
                })
            }
        }
    }

    fn out_of_range_hint(&self) -> Option<&'static str> {
        match (self.kind.name, self.text) {
            ("second", "60") => Some("the full minute is second 0"),
            ("minute", "60") => Some("the full hour is minute 0"),
            ("hour", "24") => Some("midnight is hour 0"),
            ("day of month" | "month", "0") => Some("days and months count from 1"),
            ("day of week", text) if text.len() == 4 => {
                Some("there is no field for the year, and six fields begin with the second")
            }
            _ => None,
        }
    }

    /// Something that is neither a number nor a name of this field.
    fn no_value(&self) -> Fault {
        let text = self.text;
        let kind = self.kind;
        let fault = self.fault(format!("`{text}` is no {}", kind.name));
        let upper = text.to_ascii_uppercase();
        let named = |names: &[&'static str]| {
            names.iter().copied().find(|name| upper.starts_with(name) && upper.bytes().all(|b| b.is_ascii_alphabetic()))
        };
        let (own, whose) = (named(kind.names), |names: &[&'static str]| named(names).is_some());
        match &*upper {
            _ if let Some(name) = own => fault.hint(format!("names have three letters: `{name}`")),
            _ if whose(&MONTHS) => fault.hint("that is a month: its field is the last but one"),
            _ if whose(&WEEKDAYS) => fault.hint("that is a weekday: its field is the last"),
            "L" => fault.hint("`L` is for the days: the last of the month, or `5L` for its last Friday"),
            _ if text.contains('*') => fault.hint("`*` stands alone or before a step: `*/5`"),
            _ if kind.is(WEEKDAY) && text.bytes().all(|b| b.is_ascii_alphabetic()) => {
                fault.hint("the user and the command of a crontab line are no part of an expression")
            }
            _ if text.contains('#') => fault.hint("`#` is for weekdays: `5#2` is the second Friday"),
            _ if upper.contains('W') => {
                fault.hint("`W` is for the day of month: `15W` is the workday nearest to the 15th")
            }
            _ => fault,
        }
    }
}
