//! The options of a task.

use std::time::Duration;

use queue_storage::model::{Backoff, Jitter, RetryPolicy};

use crate::limits::{Limit, Unique};
use crate::policies::{Missed, Overlap};

/// The options of a task, which each call may override.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskOptions {
    /// The queue its jobs go to. Default `default`.
    pub queue: &'static str,
    /// Higher runs first. Default 0.
    pub priority: i32,
    /// How often a failed job runs again, and after what delays. Default never.
    pub policy: RetryPolicy,
    /// A function that says the delay instead of the policy's backoff. Default none.
    pub backoff_fn: Option<DelayFn>,
    /// For how long after the start of its first run a job is retried. Default as long as there are retries.
    pub retry_for: Option<Duration>,
    /// The longest an attempt may take. Default no limit.
    pub timeout: Option<Duration>,
    /// How long after it is due its first run must have started. Default whenever.
    pub expires: Option<Duration>,
    /// How long after it is due a job must have ended. Default whenever.
    pub deadline: Option<Duration>,
    /// Labels of its jobs. Default none.
    pub tags: &'static [&'static str],
    /// How long a completed job is kept. Default 1 h with a result, 60 s without.
    pub keep: Option<Duration>,
    /// Whether a job is the only one of its sort, and for how long. Default any number.
    pub unique: Option<&'static Unique>,
    /// What must have room before a job runs. Default nothing.
    pub limits: &'static [Limit],
    /// Whether a lost lease ends the job instead of running it again. Default no.
    pub at_most_once: bool,
    /// When its job is enqueued by itself, on a worker that knows the task. Default never.
    pub periodic: Option<Periodic>,
}

impl TaskOptions {
    /// One run, priority 0, on the queue `default`.
    pub const DEFAULT: Self = Self {
        queue: "default",
        priority: 0,
        policy: RetryPolicy::DEFAULT,
        backoff_fn: None,
        retry_for: None,
        timeout: None,
        expires: None,
        deadline: None,
        tags: &[],
        keep: None,
        unique: None,
        limits: &[],
        at_most_once: false,
        periodic: None,
    };

    /// Sets the queue.
    #[must_use]
    pub const fn queue(mut self, queue: &'static str) -> Self {
        self.queue = queue;
        self
    }

    /// Sets the priority; higher runs first.
    #[must_use]
    pub const fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how often a failed job runs again: 3 means at most four runs by failure.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.policy.retries = retries;
        self
    }

    /// Sets the delay between attempts.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy.backoff = backoff;
        self.backoff_fn = None;
        self
    }

    /// Sets the delay between attempts by a function of the number of the attempt that failed, from 1. The jitter is
    /// applied to what it says; a call's own backoff goes before it. Should it panic, the policy's backoff counts.
    #[must_use]
    pub const fn backoff_fn(mut self, delay: fn(u32) -> Duration) -> Self {
        self.backoff_fn = Some(DelayFn(delay));
        self
    }

    /// Sets for how long after the start of its first run a job is retried: no retry is due later than that.
    #[must_use]
    pub const fn retry_for(mut self, time: Duration) -> Self {
        self.retry_for = Some(time);
        self
    }

    /// Sets how that delay is spread.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.policy.jitter = jitter;
        self
    }

    /// Sets the longest an attempt may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how long after it is due the first run of a job must have started; else it is expired.
    #[must_use]
    pub const fn expires(mut self, time: Duration) -> Self {
        self.expires = Some(time);
        self
    }

    /// Sets how long after it is due a job must have ended: a run is cut short then, and no other starts.
    #[must_use]
    pub const fn deadline(mut self, time: Duration) -> Self {
        self.deadline = Some(time);
        self
    }

    /// Sets the labels to find its jobs by; at most 8, of 1 to 128 bytes of letters, digits and `_-.:/`.
    #[must_use]
    pub const fn tags(mut self, tags: &'static [&'static str]) -> Self {
        self.tags = tags;
        self
    }

    /// Sets how long a completed job is kept.
    #[must_use]
    pub const fn keep(mut self, keep: Duration) -> Self {
        self.keep = Some(keep);
        self
    }

    /// Makes each job the only one of its sort.
    #[must_use]
    pub const fn unique(mut self, unique: &'static Unique) -> Self {
        self.unique = Some(unique);
        self
    }

    /// Sets what must have room before a job runs; at most four.
    #[must_use]
    pub const fn limits(mut self, limits: &'static [Limit]) -> Self {
        self.limits = limits;
        self
    }

    /// Enqueues a job of the task by itself, under a schedule with the name of the task. Its arguments must all have
    /// defaults.
    #[must_use]
    pub const fn periodic(mut self, periodic: Periodic) -> Self {
        self.periodic = Some(periodic);
        self
    }

    /// Makes a lost lease end the job instead of running it again.
    #[must_use]
    pub const fn at_most_once(mut self) -> Self {
        self.at_most_once = true;
        self
    }
}

/// When a job of a task is enqueued by itself: what `cron`, `every` and the options beside them say in `#[task]`. Each means
/// what it does on a [`Schedule`](crate::Schedule).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Periodic {
    /// The times of an expression, or an interval.
    pub timing: PeriodicTiming,
    /// The zone on whose clock an expression goes. Default what the expression says, else UTC.
    pub tz: Option<&'static str>,
    /// What becomes of ticks that nobody carried out in time.
    pub missed: Missed,
    /// What becomes of a tick while the job before has not ended.
    pub overlap: Overlap,
    /// The most by which a job starts later than its tick. Default nothing.
    pub jitter: Duration,
    /// The number of this definition. Default 0.
    pub revision: u32,
}

/// See [`Periodic::timing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeriodicTiming {
    /// A cron expression.
    Cron(&'static str),
    /// An interval.
    Every(Duration),
}

impl Periodic {
    /// At the times of a cron expression.
    #[must_use]
    pub const fn cron(expression: &'static str) -> Self {
        Self::of(PeriodicTiming::Cron(expression))
    }

    /// Each so often.
    #[must_use]
    pub const fn every(period: Duration) -> Self {
        Self::of(PeriodicTiming::Every(period))
    }

    const fn of(timing: PeriodicTiming) -> Self {
        Self { timing, tz: None, missed: Missed::DEFAULT, overlap: Overlap::Allow, jitter: Duration::ZERO, revision: 0 }
    }

    /// Sets the zone.
    #[must_use]
    pub const fn tz(mut self, name: &'static str) -> Self {
        self.tz = Some(name);
        self
    }

    /// Sets what becomes of missed ticks.
    #[must_use]
    pub const fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Sets what becomes of ticks that overlap.
    #[must_use]
    pub const fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Sets by how much its jobs are spread.
    #[must_use]
    pub const fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// Sets the number of this definition.
    #[must_use]
    pub const fn revision(mut self, revision: u32) -> Self {
        self.revision = revision;
        self
    }
}

/// A function from the number of the attempt that failed, from 1, to the delay before the next.
#[derive(Clone, Copy, Debug)]
pub struct DelayFn(pub fn(u32) -> Duration);

/// By address, as far as that tells functions apart.
impl PartialEq for DelayFn {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}
