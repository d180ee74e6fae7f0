//! What can happen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Every kind by its name.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)+) => {
        /// What happened. The names are for logs and other languages: `succeeded`, `worker.lost`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[$doc])* $kind,)+
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Its name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }
        }
    };
}

kinds! {
    /// A job was stored, or an ended one is run again. Jobs that wait for others are told of as well, and those of a schedule's tick.
    Enqueued = "enqueued",
    /// It was stored for a time that is yet to come: told behind `Enqueued`.
    Scheduled = "scheduled",
    /// A run of it begins.
    Started = "started",
    /// A run said how far it got.
    Progressed = "progressed",
    /// It has completed.
    Succeeded = "succeeded",
    /// An attempt failed: an error, a panic, a timeout. What becomes of the job is told behind it.
    Failed = "failed",
    /// It will be tried again.
    Retrying = "retrying",
    /// It is a dead letter.
    Died = "died",
    /// It was called off.
    Cancelled = "cancelled",
    /// It was not started in time.
    Expired = "expired",
    /// Its task asked to run later; no attempt is used up.
    Snoozed = "snoozed",
    /// Its worker stops and gave it back; no attempt is used up.
    Interrupted = "interrupted",
    /// Its worker vanished, and it is ready again.
    Reclaimed = "reclaimed",
    /// A worker that still runs it learnt that its lease was lost: the run is dropped, or came too late.
    Stalled = "stalled",
    /// A worker is known to the storage, and is about to claim jobs.
    WorkerStarted = "worker.started",
    /// It was asked to stop, and claims no more.
    WorkerDraining = "worker.draining",
    /// It has stopped well.
    WorkerStopped = "worker.stopped",
    /// It has not been heard of for a minute, or for longer than its leases last.
    WorkerLost = "worker.lost",
    /// A queue was paused.
    QueuePaused = "queue.paused",
    /// It was resumed.
    QueueResumed = "queue.resumed",
    /// Events may have been missed before this one: a connection was lost, or they came faster than they were taken. No filter
    /// holds it back.
    Missed = "missed",
    /// An event of a newer program, of a kind that this one does not know.
    Unknown = "unknown",
}

impl EventKind {
    /// Its place in a set of kinds.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no kind of event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of event; `EventKind::ALL` lists them: enqueued, started, succeeded, died, worker.lost, …")]
pub struct EventKindError(String);

impl FromStr for EventKind {
    type Err = EventKindError;
    fn from_str(text: &str) -> Result<Self, EventKindError> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or_else(|| EventKindError(text.to_owned()))
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(name.parse().unwrap_or(Self::Unknown))
    }
}

/// One kind of event or several: what handlers and streams are given.
pub trait IntoKinds {
    /// The kinds.
    fn into_kinds(self) -> Vec<EventKind>;
}

impl IntoKinds for EventKind {
    fn into_kinds(self) -> Vec<EventKind> {
        vec![self]
    }
}

impl<const N: usize> IntoKinds for [EventKind; N] {
    fn into_kinds(self) -> Vec<EventKind> {
        self.into()
    }
}

impl IntoKinds for &[EventKind] {
    fn into_kinds(self) -> Vec<EventKind> {
        self.to_vec()
    }
}

impl IntoKinds for Vec<EventKind> {
    fn into_kinds(self) -> Vec<EventKind> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_text_and_each_has_its_bit() {
        let mut all = 0;
        for kind in EventKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
            assert_eq!(all & kind.bit(), 0, "{kind}");
            all |= kind.bit();
        }
        assert!("suceeded".parse::<EventKind>().unwrap_err().to_string().contains("`suceeded`"));
    }
}
