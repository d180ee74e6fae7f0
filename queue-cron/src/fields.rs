//! An expression, field by field.

use std::fmt::Display;

use crate::error::CronError;
use crate::parse::{self, Parsed};

/// The fields of a cron expression, said one by one: [`Cron::fields`](crate::Cron::fields).
///
/// Each takes what the field takes in an expression, as text or as a number. What is left out is `*`, so a minute left
/// out means each minute of the hours that are given.
#[derive(Debug, Clone)]
pub struct Fields {
    second: Option<String>,
    rest: [String; 5],
}

impl Default for Fields {
    fn default() -> Self {
        Self { second: None, rest: std::array::from_fn(|_| "*".to_owned()) }
    }
}

impl Fields {
    /// 0-59; left out, 0.
    #[must_use]
    pub fn second(self, second: impl Display) -> Self {
        Self { second: Some(second.to_string()), ..self }
    }

    /// 0-59.
    #[must_use]
    pub fn minute(self, minute: impl Display) -> Self {
        self.with(0, &minute)
    }

    /// 0-23.
    #[must_use]
    pub fn hour(self, hour: impl Display) -> Self {
        self.with(1, &hour)
    }

    /// The day of month: 1-31, `L`, `LW`, `15W`.
    #[must_use]
    pub fn day(self, day: impl Display) -> Self {
        self.with(2, &day)
    }

    /// 1-12 or JAN-DEC.
    #[must_use]
    pub fn month(self, month: impl Display) -> Self {
        self.with(3, &month)
    }

    /// 0-7 (0 and 7 are Sunday) or SUN-SAT, `5#2`, `5L`.
    #[must_use]
    pub fn day_of_week(self, day_of_week: impl Display) -> Self {
        self.with(4, &day_of_week)
    }

    fn with(mut self, index: usize, value: &dyn Display) -> Self {
        self.rest[index] = value.to_string();
        self
    }

    pub(crate) fn parse(self) -> Result<Parsed, CronError> {
        let values: Vec<String> = self.second.into_iter().chain(self.rest).collect();
        parse::parse_fields(&values)
    }
}
