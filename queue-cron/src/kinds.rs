//! The fields there are, and what may stand in one.

use std::fmt;
use std::ops::Range;

use crate::error::Fault;

/// What a field of a kind takes.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    allowed: &'static str,
    pub(crate) min: u8,
    pub(crate) max: u8,
    /// Three letters each; the first stands for `min`.
    pub(crate) names: &'static [&'static str],
}

pub(crate) const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
pub(crate) const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

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

pub(crate) const DAY: usize = 3;
pub(crate) const WEEKDAY: usize = 5;

impl Kind {
    pub(crate) fn is(&self, index: usize) -> bool {
        std::ptr::eq(self, &KINDS[index])
    }

    pub(crate) fn fault(&self, span: Range<usize>, problem: impl Into<String>) -> Fault {
        Fault { field: Some((self.name, self.allowed)), ..Fault::new(span, problem) }
    }

    /// 7 is Sunday in a range's end only, so that `5-7` is one; by itself it is 0.
    pub(crate) fn folded(&self, value: u8) -> u8 {
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
