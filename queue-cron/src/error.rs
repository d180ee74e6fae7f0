//! What is wrong with an expression, and where.

use std::fmt;
use std::ops::Range;

/// A fault of an expression that is not yet named.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) span: Range<usize>,
    /// The field's name and what it takes.
    pub(crate) field: Option<(&'static str, &'static str)>,
    pub(crate) problem: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(span: Range<usize>, problem: impl Into<String>) -> Self {
        Self { span, field: None, problem: problem.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn of(self, expression: &str) -> CronError {
        CronError(Box::new(Refused { expression: expression.to_owned(), fault: self }))
    }
}

/// Why a cron expression was refused.
///
/// Its text shows the expression with what is wrong marked, the field, what the field takes, and what to write instead
/// where that can be guessed.
///
/// ```
/// let error = "0 24 * * *".parse::<queue_cron::Cron>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "bad cron expression: the hour goes from 0 to 23, not 24
///   0 24 * * *
///     ^^ hour
/// allowed: 0-23, `*`, ranges `9-17`, steps `*/2` and `9-17/2`, lists `9,12,17`
/// hint: midnight is hour 0"
/// );
/// ```
#[derive(Clone)]
pub struct CronError(Box<Refused>);

#[derive(Clone)]
struct Refused {
    expression: String,
    fault: Fault,
}

impl CronError {
    /// The expression as it was given.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.0.expression
    }

    /// Which bytes of the expression are wrong. Empty where something is missing.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.0.fault.span.clone()
    }

    /// The field that is wrong, as `day of month`; `None` when it is the expression as a whole.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        self.0.fault.field.map(|(name, _)| name)
    }

    /// What is wrong, in one sentence.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.0.fault.problem
    }

    /// What to write instead, where that can be guessed.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.fault.hint.as_deref()
    }
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused { expression, fault } = &*self.0;
        writeln!(f, "bad cron expression: {}", fault.problem)?;
        // A tab or a line break would move the mark.
        let shown: String = expression.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
        let before = expression[..fault.span.start].chars().count();
        let marked = expression[fault.span.clone()].chars().count().max(1);
        write!(f, "  {shown}\n  {:before$}{:^>marked$}", "", "")?;
        if let Some((name, allowed)) = fault.field {
            write!(f, " {name}\nallowed: {allowed}")?;
        }
        fault.hint.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl fmt::Debug for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CronError")
            .field("expression", &self.0.expression)
            .field("span", &self.0.fault.span)
            .field("problem", &self.0.fault.problem)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for CronError {}
