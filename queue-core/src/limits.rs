//! What a task or a call says of others of its kind: how many may run at once, how fast they may start, and whether there
//! may be another.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use queue_storage::model::{self, Conflict, Key, NameError, Rate, WhenFull, Window};
use queue_storage::storage::StorageError;
use serde::Serialize;

use crate::canon::Canon;
use crate::codec;

/// Something that must have room before a job runs, on all workers together.
///
/// Whatever its key, it means something within one queue only: a task whose limit is to hold for all its jobs keeps them
/// in one queue. A job that has no room waits without taking a worker's slot, and hinders nobody behind it.
///
/// ```
/// use std::time::Duration;
/// use queue_core::{Limit, Rate};
///
/// let at_once = Limit::concurrency(5).by("tenant");                      // five for each value of the argument `tenant`
/// let api = Limit::rate(Rate::per(Duration::from_secs(1), 100).burst(5)).shared("crm-api");     // tasks that name it
/// let lock = Limit::lock("ledger").or_cancel();
/// # let _ = (at_once, api, lock);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    kind: Kind,
    scope: Scope,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Slots { most: u32, full: WhenFull },
    Rate { rate: Rate, cost: u32 },
}

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq)]
enum Scope {
    /// The task's.
    Task,
    /// That of each value of an argument of the task.
    Argument(&'static str),
    /// That of all who name it.
    Shared(Cow<'static, str>),
    /// A lock's.
    Lock(Cow<'static, str>),
}

impl Limit {
    /// At most so many jobs of the task run at once; at least 1.
    #[must_use]
    pub const fn concurrency(most: u32) -> Self {
        Self { kind: Kind::Slots { most, full: WhenFull::Wait }, scope: Scope::Task }
    }

    /// At most so many jobs of the task run at once for each value of the argument `argument`.
    #[must_use]
    pub const fn concurrency_by(most: u32, argument: &'static str) -> Self {
        Self { kind: Kind::Slots { most, full: WhenFull::Wait }, scope: Scope::Argument(argument) }
    }

    /// Jobs of the task start no faster than this.
    #[must_use]
    pub const fn rate(rate: Rate) -> Self {
        Self { kind: Kind::Rate { rate, cost: 1 }, scope: Scope::Task }
    }

    /// Jobs of the task start no faster than this for each value of the argument `argument`.
    #[must_use]
    pub const fn rate_by(rate: Rate, argument: &'static str) -> Self {
        Self { kind: Kind::Rate { rate, cost: 1 }, scope: Scope::Argument(argument) }
    }

    /// One at a time of all jobs that name this lock, whatever their task. It is held as long as the job runs, under its
    /// lease: a worker that vanishes leaves no lock behind.
    #[must_use]
    pub const fn lock(name: &'static str) -> Self {
        Self { kind: Kind::Slots { most: 1, full: WhenFull::Wait }, scope: Scope::Lock(Cow::Borrowed(name)) }
    }

    /// The same lock under a name made at run time.
    #[must_use]
    pub fn lock_named(name: impl Into<String>) -> Self {
        Self { scope: Scope::Lock(Cow::Owned(name.into())), ..Self::lock("") }
    }

    /// Makes it one for each value of the argument `argument` of the task.
    #[must_use]
    pub fn by(mut self, argument: &'static str) -> Self {
        self.scope = Scope::Argument(argument);
        self
    }

    /// Makes it one for all jobs that share this name, whatever their task. Each goes by the numbers of its own.
    ///
    /// The name may be made at run time, which is the way to a limit for each tenant over several tasks:
    /// `call.limit(Limit::concurrency(5).shared(format!("crm:{tenant}")))`.
    #[must_use]
    pub fn shared(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.scope = Scope::Shared(name.into());
        self
    }

    /// A job that comes to run while there is no room is cancelled, with
    /// [`EndReason::Full`](crate::EndReason::Full), instead of waiting. Says nothing of rates.
    #[must_use]
    pub const fn or_cancel(mut self) -> Self {
        if let Kind::Slots { most, .. } = self.kind {
            self.kind = Kind::Slots { most, full: WhenFull::Cancel };
        }
        self
    }

    /// How many starts of the rate one job counts for. Default 1; at most the rate's burst. Says nothing of concurrency.
    #[must_use]
    pub const fn cost(mut self, cost: u32) -> Self {
        if let Kind::Rate { rate, .. } = self.kind {
            self.kind = Kind::Rate { rate, cost };
        }
        self
    }

    pub(crate) const fn concurrency_shared(most: u32, name: &'static str) -> Self {
        Self { kind: Kind::Slots { most, full: WhenFull::Wait }, scope: Scope::Shared(Cow::Borrowed(name)) }
    }

    pub(crate) const fn rate_shared(rate: Rate, name: &'static str) -> Self {
        Self { kind: Kind::Rate { rate, cost: 1 }, scope: Scope::Shared(Cow::Borrowed(name)) }
    }

    /// The key under which a storage knows the limit for a job of a task with these arguments: for
    /// [`Queue::usage`](crate::Queue::usage), [`Selection::key`](crate::Selection::key) and
    /// [`Revoke::key`](crate::Revoke::key).
    ///
    /// It is `task:pay` for the task `pay`, `arg:pay:tenant:acme` for a value of an argument of it, `key:api` for a shared
    /// name, `lock:ledger` for a lock. Names and values that hold anything but letters, digits and `_-.`, or are long, are
    /// told by the first 128 bits of a SHA-256 of them.
    ///
    /// ```
    /// use queue_core::Limit;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Pay { tenant: &'static str }
    /// let limit = Limit::concurrency_by(5, "tenant");
    /// assert_eq!(limit.key_of("pay", &Pay { tenant: "acme" })?.to_string(), "arg:pay:tenant:acme");
    /// # Ok::<(), queue_core::BoxError>(())
    /// ```
    ///
    /// # Errors
    /// The arguments have none of that name, or can't be encoded.
    pub fn key_of(&self, task: &str, args: &impl Serialize) -> Result<Key, StorageError> {
        let encoded = codec::encode(args).map_err(StorageError::invalid)?;
        let limit = self.resolve(task, &Arguments::new(&encoded, None));
        limit.map(|limit| limit.key().clone()).map_err(|why| StorageError::invalid(why.to_string()))
    }

    /// The limit as it is stored with a job of `task` with these arguments.
    pub(crate) fn resolve(&self, task: &str, args: &Arguments<'_>) -> Result<model::Limit, KeyError> {
        let key = match &self.scope {
            Scope::Task => key("task", task)?,
            Scope::Argument(name) => key("arg", &format!("{task}:{name}:{}", args.get(name)?.key()))?,
            Scope::Shared(name) => key("key", name)?,
            Scope::Lock(name) => key("lock", name)?,
        };
        let limit = match self.kind {
            Kind::Slots { most, full } => model::Limit::Slots { key, most, full },
            Kind::Rate { rate, cost } => model::Limit::Rate { key, rate, cost },
        };
        match limit.fault() {
            Some(fault) => Err(KeyError::Fault(fault)),
            None => Ok(limit),
        }
    }
}

/// What makes a job the only one of its sort in its queue: of which sort, for how long, and what becomes of another that
/// is enqueued meanwhile.
///
/// The key is held by the job's id, and free again in the same step that ends its window: a crash leaves no key behind.
/// A job that is [revived](crate::Client::revive) is unique no more, and one whose arguments are
/// [replaced](crate::JobEdit::arguments) keeps the key it had.
///
/// ```
/// use std::time::Duration;
/// use queue_core::Unique;
///
/// let once = Unique::args();                                         // until it has ended; another gets its handle
/// let report = Unique::by(&["customer"]).until_started().or_replace();
/// let nightly = Unique::key("nightly").within(Duration::from_secs(600)).or_reject();
/// # let _ = (once, report, nightly);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Unique {
    by: By,
    window: Window,
    conflict: OnConflict,
}

#[derive(Clone, Debug, PartialEq)]
enum By {
    Args,
    Arguments(&'static [&'static str]),
    Key(Cow<'static, str>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum OnConflict {
    Stored(Conflict),
    RunAfter,
}

impl Unique {
    const fn of(by: By) -> Self {
        Self { by, window: Window::Finished, conflict: OnConflict::Stored(Conflict::Existing) }
    }

    /// One of each task and all its arguments. What they are is compared, not how they are stored: maps have no order.
    #[must_use]
    pub const fn args() -> Self {
        Self::of(By::Args)
    }

    /// One of each task and these arguments of it.
    #[must_use]
    pub const fn by(arguments: &'static [&'static str]) -> Self {
        Self::of(By::Arguments(arguments))
    }

    /// One of this key, whatever its task.
    #[must_use]
    pub const fn key(key: &'static str) -> Self {
        Self::of(By::Key(Cow::Borrowed(key)))
    }

    /// The same under a key made at run time.
    #[must_use]
    pub fn key_named(key: impl Into<String>) -> Self {
        Self::of(By::Key(Cow::Owned(key.into())))
    }

    /// Keeps others out until it has ended, retries included: the default.
    #[must_use]
    pub const fn until_finished(mut self) -> Self {
        self.window = Window::Finished;
        self
    }

    /// Keeps others out until it starts: whatever is enqueued while it runs makes another job.
    #[must_use]
    pub const fn until_started(mut self) -> Self {
        self.window = Window::Started;
        self
    }

    /// Keeps others out for so long from when it is enqueued, whatever becomes of it.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.window = Window::For(time);
        self
    }

    /// Keeps others out for ever, until it is deleted or revived.
    ///
    /// The key outlives the job: once what has completed is pruned, after its
    /// [`keep`](crate::Call::keep), others are still kept out, the handle they get says that the job is gone, and nothing
    /// frees the key any more. What may have to be done again, or read, says a `keep` as long as that.
    #[must_use]
    pub const fn forever(mut self) -> Self {
        self.window = Window::Forever;
        self
    }

    /// Another is left out, and whoever enqueued it gets this one's handle: the default.
    #[must_use]
    pub const fn or_existing(mut self) -> Self {
        self.conflict = OnConflict::Stored(Conflict::Existing);
        self
    }

    /// Another is refused: [`EnqueueError::is_rejected`](crate::EnqueueError::is_rejected).
    #[must_use]
    pub const fn or_reject(mut self) -> Self {
        self.conflict = OnConflict::Stored(Conflict::Reject);
        self
    }

    /// This one takes over the arguments, options and priority of another, as long as it does not run.
    #[must_use]
    pub const fn or_replace(mut self) -> Self {
        self.conflict = OnConflict::Stored(Conflict::Replace);
        self
    }

    /// This one takes over the arguments, options and time of another, as long as it does not run: with a delay, it runs
    /// once after the last of a row of calls.
    #[must_use]
    pub const fn or_debounce(mut self) -> Self {
        self.conflict = OnConflict::Stored(Conflict::Debounce);
        self
    }

    /// Another that is enqueued while this one runs is run once more afterwards; further ones are left out. No two of
    /// them run at once. Takes the place of a window.
    #[must_use]
    pub const fn or_run_after(mut self) -> Self {
        (self.conflict, self.window) = (OnConflict::RunAfter, Window::Started);
        self
    }

    /// The key under which a storage knows it for a job of a task with these arguments: for
    /// [`Queue::usage`](crate::Queue::usage), which tells the job that holds it, [`Selection::key`](crate::Selection::key)
    /// and [`Revoke::key`](crate::Revoke::key).
    ///
    /// ```
    /// use queue_core::Unique;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Pay { tenant: &'static str, cents: u64 }
    /// let one = |cents| Unique::by(&["tenant"]).key_of("pay", &Pay { tenant: "acme", cents });
    /// assert_eq!(one(5)?, one(7)?);
    /// assert_eq!(Unique::key("nightly").key_of("pay", &Pay { tenant: "acme", cents: 5 })?.to_string(), "key:nightly");
    /// # Ok::<(), queue_core::BoxError>(())
    /// ```
    ///
    /// # Errors
    /// The arguments have none of a name it goes by, or can't be encoded.
    pub fn key_of(&self, task: &str, args: &impl Serialize) -> Result<Key, StorageError> {
        let encoded = codec::encode(args).map_err(StorageError::invalid)?;
        let stored = self.resolve(task, &Arguments::new(&encoded, None));
        stored.map(|(unique, _)| unique.key).map_err(|why| StorageError::invalid(why.to_string()))
    }

    /// As it is stored with a job of `task` with these arguments, and the limit that goes with it.
    pub(crate) fn resolve(
        &self,
        task: &str,
        args: &Arguments<'_>,
    ) -> Result<(model::Unique, Option<model::Limit>), KeyError> {
        let key = match &self.by {
            By::Args => key("args", &format!("{task}:{}", args.all()?.digest()))?,
            By::Arguments(names) => {
                let values = names.iter().map(|name| Ok(args.get(name)?.clone())).collect::<Result<_, KeyError>>()?;
                let names = names.join(".");
                key("args", &format!("{task}:{names}:{}", Canon::List(values).digest()))?
            }
            By::Key(name) => key("key", name)?,
        };
        let (conflict, limit) = match self.conflict {
            OnConflict::Stored(conflict) => (conflict, None),
            OnConflict::RunAfter => {
                let alone = model::Limit::Slots { key: key.clone(), most: 1, full: WhenFull::Wait };
                (Conflict::Existing, Some(alone))
            }
        };
        Ok((model::Unique::new(key, self.window, conflict), limit))
    }
}

/// A key of its sort; a name that is too long or holds what no key may is told by its digest.
fn key(sort: &str, name: &str) -> Result<Key, NameError> {
    Key::new(format!("{sort}:{name}"))
        .or_else(|_| Key::new(format!("{sort}:{}", Canon::Text(name.to_owned()).digest())))
}

/// The arguments of a call, decoded when they are first asked for.
pub(crate) struct Arguments<'a> {
    encoded: &'a [u8],
    /// The argument that the step before is to give.
    input: Option<&'a str>,
    decoded: std::cell::OnceCell<Result<Canon, String>>,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(encoded: &'a [u8], input: Option<&'a str>) -> Self {
        Self { encoded, input, decoded: std::cell::OnceCell::new() }
    }

    fn decoded(&self) -> Result<&Canon, KeyError> {
        let decoded = self.decoded.get_or_init(|| Canon::of(self.encoded));
        decoded.as_ref().map_err(|why| KeyError::Fault(why.clone()))
    }

    fn all(&self) -> Result<&Canon, KeyError> {
        match self.input {
            Some(input) => Err(KeyError::NotYet(input.to_owned())),
            None => self.decoded(),
        }
    }

    fn get(&self, name: &str) -> Result<&Canon, KeyError> {
        if self.input == Some(name) {
            return Err(KeyError::NotYet(name.to_owned()));
        }
        let args = self.decoded()?;
        args.get(name).ok_or_else(|| {
            let names: Vec<String> = args.names().into_iter().map(|name| format!("`{name}`")).collect();
            KeyError::Absent { name: name.to_owned(), names: names.join(", ") }
        })
    }
}

/// Why a limit or a uniqueness can't be told of a call.
#[derive(Clone, Debug)]
pub(crate) enum KeyError {
    Name(NameError),
    Absent { name: String, names: String },
    NotYet(String),
    Fault(String),
}

impl From<NameError> for KeyError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Absent { name, names } => {
                write!(
                    f,
                    "a limit or uniqueness goes by the argument `{name}`, which is not among those stored: {names}"
                )
            }
            Self::NotYet(name) => write!(
                f,
                "a limit or uniqueness goes by the argument `{name}`, which the step before is to give: it is not known \
                 when the pipeline is enqueued; name a key that is, with `.shared(..)` or `Unique::key(..)`"
            ),
            Self::Fault(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Args {
        tenant: &'static str,
        order: u64,
    }

    fn encoded(tenant: &'static str, order: u64) -> bytes::Bytes {
        codec::encode(&Args { tenant, order }).unwrap()
    }

    fn key_of(limit: &Limit, tenant: &'static str) -> String {
        let args = encoded(tenant, 7);
        limit.resolve("pay", &Arguments::new(&args, None)).unwrap().key().to_string()
    }

    #[test]
    fn keys_say_whose_they_are() {
        let second = Rate::per(Duration::from_secs(1), 1);
        assert_eq!(key_of(&Limit::concurrency(5), "acme"), "task:pay");
        assert_eq!(key_of(&Limit::concurrency_by(5, "tenant"), "acme"), "arg:pay:tenant:acme");
        assert_eq!(key_of(&Limit::rate(second).by("order"), "acme"), "arg:pay:order:7");
        assert_eq!(key_of(&Limit::rate(second).shared("api"), "acme"), "key:api");
        assert_eq!(key_of(&Limit::lock("ledger"), "acme"), "lock:ledger");
        let odd = key_of(&Limit::lock_named("two words"), "acme");
        assert!(odd.starts_with("lock:") && odd.len() == 5 + 32, "{odd}");
        assert_ne!(
            key_of(&Limit::concurrency_by(5, "tenant"), "a b"),
            key_of(&Limit::concurrency_by(5, "tenant"), "ab")
        );
    }

    #[test]
    fn unique_keys_follow_what_they_go_by() {
        let key = |unique: &Unique, tenant, order| {
            let args = encoded(tenant, order);
            unique.resolve("pay", &Arguments::new(&args, None)).unwrap().0.key.to_string()
        };
        let (all, tenant) = (Unique::args(), Unique::by(&["tenant"]));
        assert_eq!(key(&all, "acme", 1), key(&all, "acme", 1));
        assert_ne!(key(&all, "acme", 1), key(&all, "acme", 2));
        assert_eq!(key(&tenant, "acme", 1), key(&tenant, "acme", 2));
        assert_ne!(key(&tenant, "acme", 1), key(&tenant, "beta", 1));
        assert_eq!(key(&Unique::key_named("x"), "acme", 1), "key:x");
        for unique in [all, tenant] {
            let shown = unique.key_of("pay", &Args { tenant: "acme", order: 1 }).unwrap();
            assert_eq!(shown.to_string(), key(&unique, "acme", 1), "what is shown is what is stored");
        }
        assert!(Unique::by(&["month"]).key_of("pay", &Args { tenant: "acme", order: 1 }).is_err());
    }

    #[test]
    fn run_after_is_a_window_and_a_slot() {
        let args = encoded("acme", 1);
        let (unique, limit) = Unique::args().or_run_after().resolve("pay", &Arguments::new(&args, None)).unwrap();
        assert_eq!((unique.window, unique.conflict), (Window::Started, Conflict::Existing));
        assert_eq!(limit.unwrap().key(), &unique.key);
    }

    #[test]
    fn what_is_not_known_is_told() {
        let args = encoded("acme", 1);
        let absent = Limit::concurrency_by(1, "user").resolve("pay", &Arguments::new(&args, None)).unwrap_err();
        assert!(absent.to_string().ends_with("not among those stored: `order`, `tenant`"), "{absent}");
        let step = Arguments::new(&args, Some("receipt"));
        let early = Limit::concurrency_by(1, "receipt").resolve("pay", &step).unwrap_err();
        assert!(early.to_string().contains("which the step before is to give"), "{early}");
        assert!(Unique::args().resolve("pay", &step).is_err() && Unique::by(&["tenant"]).resolve("pay", &step).is_ok());
        let none = Limit::concurrency(0).resolve("pay", &step).unwrap_err();
        assert!(none.to_string().contains("nothing could ever run"), "{none}");
    }
}
