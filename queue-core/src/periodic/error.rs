//! Why something could not be done with a schedule.

use std::fmt;

use queue_storage::model::QueueName;
use queue_storage::storage::StorageError;

/// Why something could not be done with a schedule. Unless the storage could not be asked, nothing was changed.
pub struct ScheduleError {
    name: String,
    kind: Box<Kind>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// What was said of it can't be.
    Invalid(String),
    /// No such schedule, in this queue or in any.
    Unknown {
        location: String,
        queue: Option<String>,
    },
    /// There are several of this name.
    Ambiguous(Vec<QueueName>),
    /// What is stored of it is not read by this program.
    Unreadable(String),
    /// Others changed it again and again meanwhile.
    Contended,
    Storage(StorageError),
}

impl ScheduleError {
    pub(crate) fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind: Box::new(kind) }
    }

    pub(crate) fn invalid(name: &str, why: String) -> Self {
        Self::new(name, Kind::Invalid(why))
    }

    /// The name of the schedule, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether what was said of the schedule can't be: its name, its expression, its zone, its call.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        match &*self.kind {
            Kind::Invalid(_) | Kind::Ambiguous(_) => true,
            Kind::Storage(error) => error.is_invalid(),
            _ => false,
        }
    }

    /// Whether there is no such schedule.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(*self.kind, Kind::Unknown { .. })
    }

    /// Whether what is stored of it is not read by this program.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(*self.kind, Kind::Unreadable(_))
    }

    /// Whether the storage could not be asked, or its answer was lost: it may have been done.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(&*self.kind, Kind::Storage(error) if error.is_unavailable())
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedule `{}`: ", self.name)?;
        match &*self.kind {
            Kind::Invalid(why) => f.write_str(why),
            Kind::Unknown { location, queue: Some(queue) } => {
                write!(f, "there is none of this name in queue {queue} of {location}")
            }
            Kind::Unknown { location, queue: None } => write!(
                f,
                "there is none of this name in {location}; it is there once a worker that defines it was started, or a \
                 client has put it"
            ),
            Kind::Ambiguous(queues) => {
                let queues: Vec<_> = queues.iter().map(ToString::to_string).collect();
                let (all, one) = (queues.join(", "), queues.first().map_or("", String::as_str));
                write!(f, "there is one in each of the queues {all}: say which, with `.in_queue({one:?})`")
            }
            Kind::Unreadable(why) => {
                write!(
                    f,
                    "what is stored of it can't be read ({why}): build this program anew, with the version and the features \
                     of the one that stored it, or remove the schedule"
                )
            }
            Kind::Contended => f.write_str("others changed it again and again meanwhile: try again"),
            Kind::Storage(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        queue_storage::debug_as_text("ScheduleError", self, f)
    }
}

impl std::error::Error for ScheduleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.kind {
            Kind::Storage(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}
