//! What happened: told to handlers in this process, and to whoever watches, in whatever process.

mod announcer;
mod handlers;
mod kind;
mod taps;
mod teller;
mod wire;

use std::time::{Duration, SystemTime};

use queue_storage::model::{EndReason, Failure, FailureKind, JobId, Progress, WorkerId};
use serde::{Deserialize, Serialize};

pub(crate) use handlers::Handler;
pub use kind::{EventKind, EventKindError, IntoKinds};
pub(crate) use taps::Tap;
pub(crate) use teller::{Fate, News, Teller};
pub(crate) use wire::{MAX_BATCH_BYTES, decode, encode};

/// Something that happened to a job, a worker or a queue.
///
/// What its kind says nothing of is `None`. Serialised it is a flat map, without what is `None`: durations as seconds,
/// moments as RFC 3339 in UTC, to the microsecond (as whole microseconds since the epoch in formats that people do not
/// read, such as `MessagePack`).
///
/// Events tell what is true already: a job of which [`EventKind::Succeeded`] is told has its result stored. They are told
/// at most once and kept for nobody, so that they cost nothing while nobody listens; what must not be missed is asked of
/// the [client](crate::Client).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When, by the clock of whoever tells it, read when he tells it: not an exact order of what several processes tell,
    /// nor of what happened at once.
    #[serde(with = "wire::moment")]
    pub at: SystemTime,
    /// The queue, of jobs and queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Its task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Which attempt it was, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The worker: who ran the job, who lost it ([`Reclaimed`](EventKind::Reclaimed)), or whom the event is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// When the job is due ([`Scheduled`](EventKind::Scheduled), [`Retrying`](EventKind::Retrying),
    /// [`Snoozed`](EventKind::Snoozed)), or until when the queue is paused.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::moment_option")]
    pub due: Option<SystemTime>,
    /// How long the job was ready, or due, before its run began ([`Started`](EventKind::Started)).
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::seconds")]
    pub waited: Option<Duration>,
    /// How long the run took, of whatever ends one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::seconds")]
    pub took: Option<Duration>,
    /// Why the job ended, of ends other than success.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::reason")]
    pub reason: Option<EndReason>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<EventError>,
    /// How far the run got ([`Progressed`](EventKind::Progressed)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

impl Event {
    pub(crate) fn new(kind: EventKind, at: SystemTime) -> Self {
        Self {
            kind,
            at,
            queue: None,
            job: None,
            task: None,
            attempt: None,
            worker: None,
            due: None,
            waited: None,
            took: None,
            reason: None,
            error: None,
            progress: None,
        }
    }
}

/// What went wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventError {
    /// What sort of failure it was.
    #[serde(with = "wire::failure_kind")]
    pub kind: FailureKind,
    /// The Rust type of the error, where there was one and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// The error with its sources; at most [`MAX_MESSAGE`](Self::MAX_MESSAGE) bytes.
    pub message: String,
}

impl EventError {
    /// The longest message told, in bytes.
    pub const MAX_MESSAGE: usize = 1_024;
}

impl From<&Failure> for EventError {
    fn from(failure: &Failure) -> Self {
        let Failure { kind, message, error_type, .. } = failure.cut_to(Self::MAX_MESSAGE);
        Self { kind, error_type, message }
    }
}
