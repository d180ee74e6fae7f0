//! A call without its type: what the engine works with.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use queue_storage::model::{Envelope, JobId, NameError, NewJob, Overrides, QueueName, Shard, TaskName, When};
use serde::Serialize;

use crate::codec;
use crate::task::Task;

/// When a job may start: a moment ([`SystemTime`]) or a time from now ([`Duration`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eta(When);

impl Eta {
    pub(crate) fn when(self) -> When {
        self.0
    }
}

impl From<SystemTime> for Eta {
    fn from(time: SystemTime) -> Self {
        Self(When::At(time.into()))
    }
}

impl From<Duration> for Eta {
    fn from(delay: Duration) -> Self {
        Self(When::In(delay))
    }
}

/// A call without its type: what the engine works with.
#[doc(hidden)]
#[derive(Clone)]
pub struct Draft {
    pub(crate) id: JobId,
    pub(crate) task: &'static str,
    queue: Result<QueueName, NameError>,
    pub(crate) priority: i32,
    pub(crate) when: When,
    pub(crate) at_most_once: bool,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) overrides: Overrides,
    pub(crate) input: Option<String>,
    args: Result<Bytes, String>,
}

/// Why a draft can't become a job.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DraftError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the arguments of `{task}` can't be stored: {why}")]
    Args { task: &'static str, why: String },
    #[error(
        "the arguments of `{task}` take {bytes} bytes, the limit is {limit}: store what is large elsewhere and pass its \
         key, or raise the limit with `ClientBuilder::payload_limit`"
    )]
    TooLarge { task: &'static str, bytes: usize, limit: usize },
}

impl Draft {
    pub(crate) fn new<T: Task>(args: &impl Serialize) -> Self {
        let options = T::OPTIONS;
        let queue = QueueName::new(options.queue);
        let shard = Shard::of(queue.clone().unwrap_or_default());
        Self {
            id: JobId::new(&shard),
            task: T::NAME,
            queue,
            priority: options.priority,
            when: When::Now,
            at_most_once: options.at_most_once,
            headers: BTreeMap::new(),
            overrides: Overrides::default(),
            input: None,
            args: codec::encode(args),
        }
    }

    pub(crate) fn shard(&self) -> Shard {
        Shard::of(self.queue.clone().unwrap_or_default())
    }

    pub(crate) fn set_queue(&mut self, queue: Result<QueueName, NameError>) {
        self.queue = queue;
        self.id = self.id.at_home(&self.shard());
    }

    /// The job, checked against the limit on the size of its arguments.
    pub(crate) fn to_job(&self, limit: usize) -> Result<(Shard, NewJob), DraftError> {
        let shard = Shard::of(self.queue.clone()?);
        let task = TaskName::new(self.task)?;
        let fail = |why| DraftError::Args { task: self.task, why };
        let args = self.args.clone().map_err(fail)?;
        if args.len() > limit {
            return Err(DraftError::TooLarge { task: self.task, bytes: args.len(), limit });
        }
        let envelope =
            Envelope { headers: self.headers.clone(), overrides: self.overrides, input: self.input.clone(), args };
        let bytes = envelope.encode().map_err(|error| fail(error.to_string()))?;
        let mut job = NewJob::new(self.id, task, bytes);
        job.priority = self.priority;
        job.when = self.when;
        job.at_most_once = self.at_most_once;
        Ok((shard, job))
    }

    /// The size of the encoded arguments, in bytes.
    pub(crate) fn args_len(&self) -> usize {
        self.args.as_ref().map_or(0, Bytes::len)
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("task", &self.task)
            .field("id", &self.id)
            .field("queue", &self.queue)
            .field("priority", &self.priority)
            .field("when", &self.when)
            .field("args", &format_args!("{} bytes", self.args_len()))
            .finish_non_exhaustive()
    }
}

/// The modifiers that calls and steps share.
macro_rules! modifiers {
    ($type:ident<$($param:ident),+>) => {
        impl<$($param),+> $type<$($param),+> {
            /// The job's id. It changes with [`queue`](Self::queue), since an id tells where its job lives.
            #[must_use]
            pub fn id(&self) -> queue_storage::model::JobId {
                self.draft.id
            }

            /// Starts it no earlier than `delay` from when the storage takes it in (a step: from when it is reached).
            pub fn delay(mut self, delay: std::time::Duration) -> Self {
                self.draft.when = queue_storage::model::When::In(delay);
                self
            }

            /// Starts it no earlier than `eta`: a moment, or a [`Duration`](std::time::Duration) from now.
            pub fn schedule(mut self, eta: impl Into<crate::draft::Eta>) -> Self {
                self.draft.when = eta.into().when();
                self
            }

            /// Higher runs first. Default the task's, else 0.
            pub fn priority(mut self, priority: i32) -> Self {
                self.draft.priority = priority;
                self
            }

            /// Puts it in another queue. Default the task's, else `default`. A name that is refused is reported by
            /// `enqueue`.
            pub fn queue(mut self, name: impl AsRef<str>) -> Self {
                self.draft.set_queue(queue_storage::model::QueueName::new(name));
                self
            }

            /// How often it runs again after a failure: 3 means at most four runs. Default the task's, else 0.
            pub fn retries(mut self, retries: u32) -> Self {
                self.draft.overrides.retries = Some(retries);
                self
            }

            /// The delay between attempts. Default the task's, else 1 s, doubling up to an hour.
            pub fn backoff(mut self, backoff: queue_storage::model::Backoff) -> Self {
                self.draft.overrides.backoff = Some(backoff);
                self
            }

            /// How that delay is spread. Default the task's, else [`Jitter::Equal`](queue_storage::model::Jitter::Equal).
            pub fn jitter(mut self, jitter: queue_storage::model::Jitter) -> Self {
                self.draft.overrides.jitter = Some(jitter);
                self
            }

            /// The longest an attempt may take. Default the task's, else no limit.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.draft.overrides.timeout = Some(timeout);
                self
            }

            /// How long the completed job and its result are kept. Default the task's, else 1 h with a result and 60 s
            /// without.
            pub fn keep(mut self, keep: std::time::Duration) -> Self {
                self.draft.overrides.keep = Some(keep);
                self
            }

            /// Ends the job when its worker vanishes instead of running it again.
            pub fn at_most_once(mut self) -> Self {
                self.draft.at_most_once = true;
                self
            }

            /// Adds a short text that travels with the job; the task reads it with `ctx.header(name)`.
            pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
                self.draft.headers.insert(name.into(), value.into());
                self
            }
        }
    };
}
pub(crate) use modifiers;
