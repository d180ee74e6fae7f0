//! One entry of a list, read, and what is said about one that is wrong.

use std::ops::Range;

use crate::error::Fault;
use crate::kinds::{DAY, Item, Kind, MONTHS, WEEKDAY, WEEKDAYS};

/// An entry of a list as it is written.
pub(crate) struct Entry<'a> {
    pub(crate) kind: &'static Kind,
    pub(crate) text: &'a str,
    pub(crate) at: usize,
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

    pub(crate) fn item(&self) -> Result<Item, Fault> {
        if self.text.is_empty() {
            return Err(self
                .fault("an entry of the list is empty")
                .hint("take the extra comma out; a list has no spaces"));
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
        let nth = ["1", "2", "3", "4", "5"].iter().position(|nth| *nth == &self.text[hash + 1..]);
        Some(value(hash).and_then(|weekday| {
            match nth {
                Some(nth) => Ok(Item::Nth { weekday, nth: nth as u8 + 1 }),
                None => Err(self
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
        if let Some(name) = named(kind.names) {
            return fault.hint(format!("names have three letters: `{name}`"));
        }
        match &*upper {
            _ if named(&MONTHS).is_some() => fault.hint("that is a month: its field is the last but one"),
            _ if named(&WEEKDAYS).is_some() => fault.hint("that is a weekday: its field is the last"),
            "L" => fault.hint("`L` is for the days: the last of the month, or `5L` for its last Friday"),
            _ if text.contains('*') => fault.hint("`*` stands alone or before a step: `*/5`"),
            _ if kind.is(WEEKDAY) && text.len() > 3 && text.bytes().all(|b| b.is_ascii_alphabetic()) => {
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
