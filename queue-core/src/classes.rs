//! What a worker says of errors by their type, where nobody else has said anything.

use std::error::Error;
use std::fmt;

use queue_storage::model::Verdict;

use crate::task_error::TaskError;

type Judge = Box<dyn Fn(&(dyn Error + 'static)) -> Option<Verdict> + Send + Sync>;

/// Verdicts by type of error.
#[derive(Default)]
pub(crate) struct Classes(Vec<Judge>);

impl Classes {
    pub(crate) fn add<E: Error + 'static>(&mut self, judge: fn(&E) -> Verdict) {
        self.0.push(Box::new(move |error| error.downcast_ref::<E>().map(judge)));
    }

    /// The error with the verdict of its outermost source that is of a class, unless it has one already.
    pub(crate) fn judge(&self, error: TaskError) -> TaskError {
        error.or(|error| error.chain().find_map(|error| self.0.iter().find_map(|judge| judge(error))))
    }
}

impl fmt::Debug for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Classes").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::num::ParseIntError;

    use super::*;
    use crate::task_error::BoxError;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] BoxError);

    fn classes() -> Classes {
        let mut classes = Classes::default();
        classes.add::<io::Error>(|error| match error.kind() {
            io::ErrorKind::NotFound => Verdict::Fatal,
            _ => Verdict::Policy,
        });
        classes.add::<io::Error>(|_| Verdict::Cancel);
        classes.add::<ParseIntError>(|_| Verdict::Cancel);
        classes
    }

    fn verdict(error: impl Into<TaskError>) -> Option<Verdict> {
        classes().judge(error.into()).verdict()
    }

    fn not_found() -> io::Error {
        io::ErrorKind::NotFound.into()
    }

    #[test]
    fn the_outermost_error_of_a_class_decides() {
        assert_eq!(verdict(not_found()), Some(Verdict::Fatal));
        assert_eq!(verdict(Outer(not_found().into())), Some(Verdict::Fatal));
        let number = "x".parse::<u8>().unwrap_err();
        assert_eq!(verdict(Outer(number.clone().into())), Some(Verdict::Cancel));
        // A file that holds no number: the file is outside, and the first that was said of files counts.
        assert_eq!(verdict(io::Error::other(Outer(number.into()))), Some(Verdict::Policy));
        assert_eq!(verdict("text"), None);
    }

    #[test]
    fn what_was_said_before_stays() {
        assert_eq!(verdict(TaskError::cancel(not_found())), Some(Verdict::Cancel));
    }
}
