//! A task with its arguments and options, not yet stored.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use queue_storage::model::{
    Backoff, Envelope, Jitter, JobId, NameError, NewJob, Overrides, QueueName, Shard, TaskName, When,
};
use serde::Serialize;

use crate::codec;
use crate::step::{After, IntoStep, Pipeline};
use crate::task::Task;

/// A task with its arguments and options: what `send_email::new(..)` returns. Modifiers build it; one verb ends it:
/// [`enqueue`](Self::enqueue).
///
/// Its id is made with it, so that enqueueing the same call again, after a lost answer say, makes one job. A clone is
/// the same call with the same id; [`renewed`](Self::renewed) makes it another.
#[must_use = "a call does nothing until `.enqueue(&client).await`"]
pub struct Call<T> {
    pub(crate) draft: Draft,
    task: PhantomData<fn() -> T>,
}

impl<T: Task> Call<T> {
    /// A call of `T` with these arguments and the task's own options. The arguments are encoded here; if that fails,
    /// [`enqueue`](Self::enqueue) says so.
    pub fn new(args: T) -> Self {
        Self { draft: Draft::new::<T>(&args), task: PhantomData }
    }

    /// Another call with the same arguments and options: it has an id of its own and makes a job of its own.
    pub fn renewed(mut self) -> Self {
        self.draft.id = JobId::new(&self.draft.shard());
        self
    }

    /// Adds a step that runs when this one has completed, with its output: `.then(next::after(rest..))`.
    pub fn then<S: IntoStep<T::Output>>(self, step: S) -> Pipeline<S::Task> {
        Pipeline::start(self.draft, step.into_draft())
    }
}

impl<T> Clone for Call<T> {
    fn clone(&self) -> Self {
        Self { draft: self.draft.clone(), task: PhantomData }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.draft, f)
    }
}

/// The modifiers that calls and steps share.
macro_rules! modifiers {
    ($type:ident<$($param:ident),+>) => {
        impl<$($param),+> $type<$($param),+> {
            /// The job's id. It changes with [`queue`](Self::queue), since an id tells where its job lives.
            #[must_use]
            pub fn id(&self) -> JobId {
                self.draft.id
            }

            /// Starts it no earlier than `delay` from when the storage takes it in (a step: from when it is reached).
            pub fn delay(mut self, delay: Duration) -> Self {
                self.draft.when = When::In(delay);
                self
            }

            /// Starts it no earlier than `eta`: a moment, or a [`Duration`] from now.
            pub fn schedule(mut self, eta: impl Into<Eta>) -> Self {
                self.draft.when = eta.into().0;
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
                self.draft.set_queue(QueueName::new(name));
                self
            }

            /// How often it runs again after a failure: 3 means at most four runs. Default the task's, else 0.
            pub fn retries(mut self, retries: u32) -> Self {
                self.draft.overrides.retries = Some(retries);
                self
            }

            /// The delay between attempts. Default the task's, else 1 s, doubling up to an hour.
            pub fn backoff(mut self, backoff: Backoff) -> Self {
                self.draft.overrides.backoff = Some(backoff);
                self
            }

            /// How that delay is spread. Default the task's, else [`Jitter::Equal`].
            pub fn jitter(mut self, jitter: Jitter) -> Self {
                self.draft.overrides.jitter = Some(jitter);
                self
            }

            /// The longest an attempt may take. Default the task's, else no limit.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.draft.overrides.timeout = Some(timeout);
                self
            }

            /// How long the completed job and its result are kept. Default the task's, else 1 h with a result and 60 s
            /// without.
            pub fn keep(mut self, keep: Duration) -> Self {
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

modifiers!(Call<T>);
modifiers!(After<T, In>);

/// When a job may start: a moment ([`SystemTime`]) or a time from now ([`Duration`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eta(pub(crate) When);

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

    fn set_queue(&mut self, queue: Result<QueueName, NameError>) {
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
        let envelope = Envelope {
            headers: self.headers.clone(),
            overrides: self.overrides,
            input: self.input.clone(),
            args,
        };
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
