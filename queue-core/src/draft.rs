//! A call without its type: what the engine works with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use queue_storage::model::{
    Envelope, Intake, JobId, MAX_LIMITS, MAX_TAGS, NameError, NewJob, Overrides, QueueName, Shard, Tag, TaskName,
    Timestamp, When,
};
use serde::Serialize;

use crate::codec;
use crate::limits::{Arguments, KeyError, Limit, Unique};
use crate::task::Task;

/// When a job may start, or must have: a moment ([`SystemTime`]) or a time from now ([`Duration`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eta(When);

impl Eta {
    pub(crate) fn when(self) -> When {
        self.0
    }

    /// The moment meant, by the clock of whoever asks.
    pub(crate) fn moment(self, now: Timestamp) -> Timestamp {
        self.0.resolve(now)
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
#[derive(Clone, PartialEq)]
pub struct Draft {
    pub(crate) id: JobId,
    pub(crate) task: &'static str,
    queue: Result<QueueName, NameError>,
    pub(crate) priority: i32,
    pub(crate) when: When,
    pub(crate) at_most_once: bool,
    pub(crate) expires: Option<When>,
    pub(crate) deadline: Option<When>,
    /// Each once; checked when it becomes a job.
    tags: BTreeSet<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) overrides: Overrides,
    /// How often a job of its task is retried.
    retries: u32,
    pub(crate) unique: Option<Unique>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) input: Option<String>,
    pub(crate) intake: Intake,
    args: Result<Bytes, String>,
}

/// The most bytes that the names and values of a call's headers take together.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Why a draft can't become a job.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DraftError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("a call of `{task}` has {tags} tags, the most is {MAX_TAGS}: keep those that jobs are looked for by")]
    Tags { task: &'static str, tags: usize },
    #[error("the arguments of `{task}` can't be stored: {why}")]
    Args { task: &'static str, why: String },
    #[error(
        "the arguments of `{task}` take {bytes} bytes, the limit is {limit}: store what is large elsewhere and pass its \
         key, or raise the limit with `ClientBuilder::payload_limit`"
    )]
    TooLarge { task: &'static str, bytes: usize, limit: usize },
    #[error(
        "the headers of a call of `{task}` take {bytes} bytes, the limit is {MAX_HEADER_BYTES}: they are for what goes with any \
         job, as a trace or a tenant; put the rest into the arguments"
    )]
    Headers { task: &'static str, bytes: usize },
    #[error("`{task}` can't be enqueued: {why}")]
    Limit { task: &'static str, why: KeyError },
    #[error("`{task}` can't be retried for {time:?}, having no retries: say how often at most, with `.retries(10)`")]
    RetryFor { task: &'static str, time: Duration },
    #[error("a job of `{task}` would have {count} limits; the most is {MAX_LIMITS}")]
    TooManyLimits { task: &'static str, count: usize },
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
            expires: options.expires.map(When::In),
            deadline: options.deadline.map(When::In),
            tags: options.tags.iter().map(|tag| (*tag).to_owned()).collect(),
            headers: BTreeMap::new(),
            overrides: Overrides::default(),
            retries: options.policy.retries,
            unique: options.unique.cloned(),
            limits: options.limits.to_vec(),
            input: None,
            intake: Intake::default(),
            args: codec::encode(args),
        }
    }

    pub(crate) fn shard(&self) -> Shard {
        Shard::of(self.queue.clone().unwrap_or_default())
    }

    pub(crate) fn tag(&mut self, tag: impl Into<String>) {
        self.tags.insert(tag.into());
    }

    pub(crate) fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(String::as_str)
    }

    pub(crate) fn set_queue(&mut self, queue: Result<QueueName, NameError>) {
        self.queue = queue;
        self.id = self.id.at_home(&self.shard());
    }

    /// Makes its first argument of what the jobs before it hand on, if it has one to be made so; `none` says that there are
    /// no such jobs, which makes an empty list.
    pub(crate) fn take(&mut self, intake: Intake, none: bool) {
        if !none {
            self.intake = intake;
        } else if let Some(name) = self.input.take() {
            const EMPTY_LIST: &[u8] = &[0x90];
            let args = std::mem::replace(&mut self.args, Ok(Bytes::new()));
            self.args = args.and_then(|args| codec::with_first(&name, Some(EMPTY_LIST), &args));
        }
    }

    /// The job, checked against the limit on the size of its arguments.
    pub(crate) fn to_job(&self, limit: usize) -> Result<(Shard, NewJob), DraftError> {
        let shard = Shard::of(self.queue.clone()?);
        let task = TaskName::new(self.task)?;
        if self.tags.len() > MAX_TAGS {
            return Err(DraftError::Tags { task: self.task, tags: self.tags.len() });
        }
        if let Some(time) = self.overrides.retry_for.filter(|_| self.overrides.retries.unwrap_or(self.retries) == 0) {
            return Err(DraftError::RetryFor { task: self.task, time });
        }
        let fail = |why| DraftError::Args { task: self.task, why };
        let args = self.args.clone().map_err(fail)?;
        if args.len() > limit {
            return Err(DraftError::TooLarge { task: self.task, bytes: args.len(), limit });
        }
        let bytes = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MAX_HEADER_BYTES {
            return Err(DraftError::Headers { task: self.task, bytes });
        }
        let (headers, overrides) = (self.headers.clone(), self.overrides);
        let envelope = Envelope { headers, overrides, input: self.input.clone(), intake: self.intake, args };
        let bytes = envelope.encode().map_err(|error| fail(error.to_string()))?;
        let mut job = NewJob::new(self.id, task, bytes);
        job.priority = self.priority;
        job.when = self.when;
        job.at_most_once = self.at_most_once;
        (job.expires, job.deadline) = (self.expires, self.deadline);
        job.tags = self.tags.iter().map(Tag::new).collect::<Result<_, _>>()?;
        self.limit(&mut job)?;
        Ok((shard, job))
    }

    /// Tells the job what it is limited by.
    fn limit(&self, job: &mut NewJob) -> Result<(), DraftError> {
        let Ok(args) = &self.args else { return Ok(()) };
        let args = Arguments::new(args, self.input.as_deref());
        let fail = |why| DraftError::Limit { task: self.task, why };
        if let Some(unique) = &self.unique {
            let (unique, alone) = unique.resolve(self.task, &args).map_err(fail)?;
            (job.unique, job.limits) = (Some(unique), alone.into_iter().collect());
        }
        for limit in &self.limits {
            job.limits.push(limit.resolve(self.task, &args).map_err(fail)?);
        }
        match job.limits.len() {
            count if count > MAX_LIMITS => Err(DraftError::TooManyLimits { task: self.task, count }),
            _ => Ok(()),
        }
    }

    /// The encoded arguments.
    pub(crate) fn args(&self) -> Result<&Bytes, String> {
        self.args.as_ref().map_err(String::clone)
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

            /// For how long after the start of its first run it is retried: of its [`retries`](Self::retries), of which it
            /// must have some, none is due later than that. Default the task's, else as long as there are retries.
            pub fn retry_for(mut self, time: std::time::Duration) -> Self {
                self.draft.overrides.retry_for = Some(time);
                self
            }

            /// The longest an attempt may take. Default the task's, else no limit.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.draft.overrides.timeout = Some(timeout);
                self
            }

            /// By when its first run must have started: a moment, or a [`Duration`](std::time::Duration) from when it is
            /// due. Else it is expired. Retries do not move it. Default the task's, else never.
            pub fn expires(mut self, eta: impl Into<crate::draft::Eta>) -> Self {
                self.draft.expires = Some(eta.into().when());
                self
            }

            /// By when it must have ended: a moment, or a [`Duration`](std::time::Duration) from when it is due. An
            /// attempt that runs then is cut short, and the job is dead; one that waits is expired. Default the task's,
            /// else never.
            pub fn deadline(mut self, eta: impl Into<crate::draft::Eta>) -> Self {
                self.draft.deadline = Some(eta.into().when());
                self
            }

            /// Adds a label to find it by, to those of the task; at most 8, of 1 to 128 bytes of letters, digits and
            /// `_-.:/`. What is refused is reported by `enqueue`.
            pub fn tag(mut self, tag: impl Into<String>) -> Self {
                self.draft.tag(tag);
                self
            }

            /// How long the completed job and its result are kept. Default the task's, else 1 h with a result and 60 s
            /// without.
            pub fn keep(mut self, keep: std::time::Duration) -> Self {
                self.draft.overrides.keep = Some(keep);
                self
            }

            /// Makes it the only one of its sort, instead of what its task says.
            pub fn unique(mut self, unique: crate::limits::Unique) -> Self {
                self.draft.unique = Some(unique);
                self
            }

            /// Adds something that must have room before it runs, to what its task says; at most four.
            pub fn limit(mut self, limit: crate::limits::Limit) -> Self {
                self.draft.limits.push(limit);
                self
            }

            /// Runs it under a lock: one at a time of all jobs of its queue that name it.
            pub fn lock(self, name: impl Into<String>) -> Self {
                self.limit(crate::limits::Limit::lock_named(name))
            }

            /// Ends the job when its worker vanishes instead of running it again.
            pub fn at_most_once(mut self) -> Self {
                self.draft.at_most_once = true;
                self
            }

            /// Adds a short text that travels with the job; the task reads it with `ctx.header(name)`. Names and values take
            /// 16 KiB together at most; a call with more is refused when it is enqueued.
            pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
                self.draft.headers.insert(name.into(), value.into());
                self
            }
        }
    };
}
pub(crate) use modifiers;
