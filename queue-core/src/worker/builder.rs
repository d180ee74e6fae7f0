//! Builds a worker, and says everything that is wrong with it at once.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use queue_storage::model::{Verdict, WorkerId};
use queue_storage::storage::LeaseTerms;

use super::Worker;
use super::courier::Desk;
use super::hooks::{Hooks, WorkerContext};
use super::line;
use super::readiness::Progress;
use super::slots::Slots;
use crate::call::Call;
use crate::classes::Classes;
use crate::client::Client;
use crate::context::Context;
use crate::data::{Data, DataMap};
use crate::engine::{DeathHook, Engine, Immediate, Registry, WorkerConfig};
use crate::events::{Event, Handler, IntoKinds};
use crate::facts::DeadLetter;
use crate::handler::Registered;
use crate::keeper::reconciler::Defined;
use crate::list::TaskList;
use crate::middleware::{After, Before, Middleware, RunEnd};
use crate::periodic::{IntoCron, Schedule};
use crate::redact::Redact;
use crate::task::Task;
use crate::task_error::{BoxError, TaskError};

/// Builds a [`Worker`].
#[must_use = "a builder does nothing until `.build()`"]
pub struct WorkerBuilder {
    client: Client,
    config: WorkerConfig,
    tasks: Vec<Registered>,
    data: DataMap,
    classes: Classes,
    /// Types of data that were given more than once.
    twice: Vec<&'static str>,
    queues: Vec<(String, Option<u32>)>,
    hook: DeathHook,
    handlers: Vec<Handler>,
    schedules: Vec<Schedule>,
    hooks: Hooks,
}

impl WorkerBuilder {
    pub(super) fn new(client: Client) -> Self {
        let (config, data, classes) = (WorkerConfig::default(), DataMap::default(), Classes::default());
        Self {
            client,
            config,
            tasks: Vec::new(),
            data,
            classes,
            twice: Vec::new(),
            queues: Vec::new(),
            hook: DeathHook::default(),
            handlers: Vec::new(),
            schedules: Vec::new(),
            hooks: Hooks::default(),
        }
    }

    /// Adds tasks it can run: `tasks![send_email, reports::build]`. Lists add up.
    pub fn tasks(mut self, list: TaskList) -> Self {
        self.tasks.extend(list.tasks);
        self
    }

    /// Hands a value to every task that takes a `Data<T>`.
    pub fn data<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.data_arc(Arc::new(value))
    }

    /// Hands a shared value to every task that takes a `Data<T>`; the way to a `Data<dyn Trait>`.
    pub fn data_arc<T: ?Sized + Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        if self.data.insert(Data::from_arc(value)) {
            self.twice.push(std::any::type_name::<T>());
        }
        self
    }

    /// Says what errors of type `E` mean, wherever one is found among the sources of what a task returns. It counts where
    /// the error says nothing itself and its task has no `retry_if`; of several that fit, the outermost error decides,
    /// and of several calls for one type the first.
    ///
    /// Within an `anyhow::Error` the outermost error's own type is seen with the feature `anyhow` only.
    ///
    /// ```
    /// # use queue_core::{Client, Verdict, Worker};
    /// use std::io::{Error, ErrorKind};
    ///
    /// let builder = Worker::builder(&Client::memory()).classify::<Error>(|error| match error.kind() {
    ///     ErrorKind::NotFound => Verdict::Fatal,
    ///     _ => Verdict::Policy,
    /// });
    /// # let _ = builder;
    /// ```
    pub fn classify<E: std::error::Error + 'static>(mut self, verdict: fn(&E) -> Verdict) -> Self {
        self.classes.add(verdict);
        self
    }

    /// Serves this queue. Queues are served in strict order of these calls: a later one only while the earlier are
    /// empty. Without any, the worker serves `default`.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queues.push((name.into(), None));
        self
    }

    /// Serves this queue beside the weighted ones named next to it: of slots that free up while all of them hold jobs,
    /// each gets its weight's share. At least 1.
    pub fn queue_weighted(mut self, name: impl Into<String>, weight: u32) -> Self {
        self.queues.push((name.into(), Some(weight)));
        self
    }

    /// Forgets the queues it was told so far, so that those named from here on are all it serves: for settings that come
    /// after those of the code, from a command line say.
    pub fn no_queues(mut self) -> Self {
        self.queues.clear();
        self
    }

    /// Enqueues a call at the times of a cron expression, under a schedule of this name. Whatever more is to be said of it is
    /// said with [`schedule`](Self::schedule).
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError, Worker};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Cleanup { keep_days: u32 }
    /// # impl Task for Cleanup { type Output = (); const NAME: &'static str = "cleanup";
    /// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
    /// let client = Client::memory();
    /// let builder = Worker::builder(&client).cron("nightly-cleanup", "0 3 * * *", Call::new(Cleanup { keep_days: 30 }));
    /// # let _ = builder;
    /// ```
    pub fn cron<T: Task>(self, name: impl Into<String>, expression: impl IntoCron, call: Call<T>) -> Self {
        self.schedule(Schedule::new(name, call).cron(expression))
    }

    /// Enqueues a call each `period`, under a schedule of this name: at whole periods after the epoch.
    pub fn every<T: Task>(self, name: impl Into<String>, period: Duration, call: Call<T>) -> Self {
        self.schedule(Schedule::new(name, call).every(period))
    }

    /// Defines a schedule: it is stored when the worker starts, unless what is stored of it
    /// [stands](Schedule::revision), and each of its ticks is carried out once, by whichever worker serves its queue.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// Whether it carries out ticks of schedules, and stores those that its code defines. Default yes.
    pub fn periodic(mut self, periodic: bool) -> Self {
        self.config.periodic = periodic;
        self
    }

    /// The version of the program, `env!("CARGO_PKG_VERSION")` say: kept with each failure, and told of the worker.
    /// Default none.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.config.version = Some(version.into().into());
        self
    }

    /// How many jobs it runs at once. Default ten for each core.
    pub fn concurrency(mut self, jobs: u32) -> Self {
        self.config.concurrency = jobs;
        self
    }

    /// How long a claim lasts without being renewed: after a crash, its jobs run elsewhere this long after the last
    /// renewal. Renewed three times within it, from a thread of its own. Default 10 s.
    pub fn lease(mut self, length: Duration) -> Self {
        let terms = LeaseTerms::of(length);
        (self.config.lease.length, self.config.lease.renew_every) = (terms.length, terms.renew_every);
        self
    }

    /// How often a job may lose its worker before it is dead as crashed; `None` for any number. Default 3.
    ///
    /// With a limit, a process runs at most one job at a time whose last worker vanished.
    pub fn crash_limit(mut self, crashes: Option<u32>) -> Self {
        self.config.lease.crash_limit = crashes;
        self
    }

    /// How long running jobs may go on once the worker is asked to stop. What is left then is given back, and others
    /// run it. Default 25 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self
    }

    /// The longest an idle worker goes without looking for jobs; hints wake it earlier. Default 10 s.
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.config.poll_every = interval;
        self
    }

    /// Results above this many bytes are not stored, and their jobs die as unstorable. Default 1 MiB.
    pub fn result_limit(mut self, bytes: usize) -> Self {
        self.config.result_limit = bytes;
        self
    }

    /// How long completed jobs that returned something are kept, where neither task nor call says. Default 1 h.
    pub fn keep_results(mut self, keep: Duration) -> Self {
        self.config.keep_result = keep;
        self
    }

    /// How long completed jobs that returned nothing are kept, where neither task nor call says. Default 60 s.
    pub fn keep_traces(mut self, keep: Duration) -> Self {
        self.config.keep_trace = keep;
        self
    }

    /// How long dead letters are kept. Default 90 days.
    pub fn keep_dead(mut self, keep: Duration) -> Self {
        (self.config.lease.keep_dead, self.config.retention.keep_dead) = (keep, keep);
        self
    }

    /// How many dead letters each queue keeps at most; those that died first go first. Default 10,000.
    pub fn dead_letters_kept(mut self, letters: u64) -> Self {
        self.config.retention.dead = letters;
        self
    }

    /// How long jobs are kept that this worker finds expired or revoked, or that fail once they have been cancelled. Jobs
    /// that someone cancels are kept as long as their client says
    /// ([`ClientBuilder::keep_cancelled`](crate::ClientBuilder::keep_cancelled)). Default 1 h.
    pub fn keep_cancelled(mut self, keep: Duration) -> Self {
        self.config.lease.keep_ended = keep;
        self
    }

    /// How many runs of a job are remembered beside its last. Default 10.
    pub fn keep_attempts(mut self, runs: u32) -> Self {
        self.config.lease.keep_attempts = runs;
        self
    }

    /// How long a job may wait for a worker that knows its task before it is dead; `None` for any time. Default 7 days.
    pub fn unknown_limit(mut self, limit: Option<Duration>) -> Self {
        self.config.retention.unknown = limit;
        self
    }

    /// How long a run may go on once its job was cancelled: it learns so from
    /// [`Context::cancelled`](crate::Context::cancelled). Then it is dropped at its next await. Default 5 s.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.config.cancel_grace = grace;
        self
    }

    /// Calls `act` for each job that dies by this worker's doing: its last run failed here, this worker took its lease
    /// back once too often, or found that nobody has known its task for too long. To write to someone, say.
    ///
    /// Only when the death is written, on a task of its own, at most once for each death: a worker that is killed in
    /// between calls nobody, and what must not be missed is read from [`Client::dead_letters`](crate::Client::dead_letters)
    /// instead. A panic in it is logged. A worker that stops waits a few seconds for calls that have not ended.
    ///
    /// ```
    /// # use queue_core::{Client, Worker};
    /// let builder = Worker::builder(&Client::memory()).on_dead(|letter| async move {
    ///     eprintln!("{} of `{}` is dead: {:?}", letter.id, letter.task, letter.error);
    /// });
    /// # let _ = builder;
    /// ```
    pub fn on_dead<F: Future<Output = ()> + Send + 'static>(
        mut self,
        act: impl Fn(DeadLetter) -> F + Send + Sync + 'static,
    ) -> Self {
        self.hook = DeathHook::new(act);
        self
    }

    /// Calls `act` for each event of these kinds, one or several, that this worker makes happen, or its client, clones of that
    /// among them: what they enqueue. To hear of what other processes do, see [`Client::events`](crate::Client::events).
    ///
    /// Only when it is true in the storage, on a task of its own, one event after the other in their order, and never twice;
    /// a worker that is killed in between calls nobody. A handler that panics is logged, one that is slow holds up nobody: once it is
    /// 1,024 events behind it misses the oldest. For what may take long, spawn a task in it. A worker that stops waits a
    /// few seconds for its handlers.
    ///
    /// ```
    /// # use queue_core::{Client, EventKind, Worker};
    /// let builder = Worker::builder(&Client::memory()).on([EventKind::Failed, EventKind::Died], |event| async move {
    ///     eprintln!("{}: {:?} of `{:?}`: {:?}", event.kind, event.job, event.task, event.error);
    /// });
    /// # let _ = builder;
    /// ```
    pub fn on<F: Future<Output = ()> + Send + 'static>(
        mut self,
        kinds: impl IntoKinds,
        act: impl Fn(Event) -> F + Send + Sync + 'static,
    ) -> Self {
        self.handlers.push(Handler::new(&kinds.into_kinds(), act));
        self
    }

    /// Lets each run pass `middleware`, within those that were added before. What tasks enqueue passes those of the
    /// client that the worker is built on ([`Client::with_middleware`]).
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.config.middleware = self.config.middleware.with(middleware);
        self
    }

    /// Acts before each run, within it: an error ends the run, as if the task had returned it. A [`Middleware`] made of
    /// a closure, in one order with the others.
    ///
    /// ```
    /// # use queue_core::{Client, TaskError, Worker};
    /// let builder = Worker::builder(&Client::memory()).before_run(|ctx| async move {
    ///     ctx.header("tenant").map(drop).ok_or_else(|| TaskError::fatal("this job has no tenant"))
    /// });
    /// # let _ = builder;
    /// ```
    pub fn before_run<F: Future<Output = Result<(), TaskError>> + Send + 'static>(
        self,
        act: impl Fn(Context) -> F + Send + Sync + 'static,
    ) -> Self {
        self.middleware(Before(act))
    }

    /// Acts after each run that ended by itself: it succeeded, failed, was refused further in, or panicked. A [`Middleware`]
    /// made of a closure, in one order with the others; so of a run that is cut off (it took too long, its lease is lost,
    /// its worker stops, it was cancelled and went on) it hears nothing.
    ///
    /// ```
    /// # use queue_core::{Client, RunEnd, Worker};
    /// let builder = Worker::builder(&Client::memory()).after_run(|ctx, end| async move {
    ///     if let RunEnd::Failed { failure, .. } = end {
    ///         eprintln!("attempt {} of {}: {failure}", ctx.attempt(), ctx.id());
    ///     }
    /// });
    /// # let _ = builder;
    /// ```
    pub fn after_run<F: Future<Output = ()> + Send + 'static>(
        self,
        act: impl Fn(Context, RunEnd) -> F + Send + Sync + 'static,
    ) -> Self {
        self.middleware(After(act))
    }

    /// Acts when the worker starts: before it is known to anyone, stores schedules and claims its first job. Several act
    /// in order. When one fails or panics the worker does not start, and whoever runs it gets the error
    /// ([`WorkerError::is_start`](crate::WorkerError::is_start)); when the worker is asked to stop meanwhile, it is dropped.
    ///
    /// ```
    /// # use queue_core::{Client, Worker};
    /// let builder = Worker::builder(&Client::memory()).on_start(|worker| async move {
    ///     worker.client().ping().await?;
    ///     println!("worker {} starts", worker.id());
    ///     Ok(())
    /// });
    /// # let _ = builder;
    /// ```
    pub fn on_start<F: Future<Output = Result<(), BoxError>> + Send + 'static>(
        mut self,
        act: impl Fn(WorkerContext) -> F + Send + Sync + 'static,
    ) -> Self {
        self.hooks.at_start(act);
        self
    }

    /// Acts when a worker that had started has stopped: its last job has ended, or was given up, and it has said goodbye.
    /// Several act in order, each whatever became of those before; a failure or a panic is logged. All of them together
    /// have 5 s.
    pub fn on_stop<F: Future<Output = Result<(), BoxError>> + Send + 'static>(
        mut self,
        act: impl Fn(WorkerContext) -> F + Send + Sync + 'static,
    ) -> Self {
        self.hooks.at_stop(act);
        self
    }

    /// Logs what jobs are called with: as field `args` of the event `task_started`, as JSON, cut to 1,024 bytes, without what
    /// `redact` takes out. Default not at all.
    pub fn log_arguments(mut self, redact: Redact) -> Self {
        self.config.log_arguments = Some(redact);
        self
    }

    /// The worker.
    ///
    /// On an immediate client it becomes the one whose tasks run inside `enqueue`.
    ///
    /// # Errors
    /// [`BuildError`] lists *all* problems: tasks of one name, `Data` that tasks take and the worker was not given,
    /// settings and names that can't be.
    pub fn build(self) -> Result<Worker, BuildError> {
        let mut problems = self.config.problems();
        let lines = line::lines(&self.queues, &mut problems);
        let registry = Registry::new(self.tasks, &self.data, &mut problems);
        for name in &self.twice {
            problems
                .push(format!("`.data(..)` was called twice with a `{name}`: wrap one of them in a type of its own"));
        }
        let schedules = defined(self.schedules, &registry, self.client.config().payload_limit, &mut problems);
        if registry.tasks().is_empty() {
            problems.push("it has no tasks: call `.tasks(tasks![…])`".to_owned());
        }
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        let (registry, data) = (Arc::new(registry.judging_by(self.classes)), Arc::new(self.data));
        let engine = Engine::new(WorkerId::generate(), self.client, self.config, registry, data, self.hook);
        engine.client.teller().add(self.handlers.into_iter().map(|handler| handler.of_worker(engine.id)));
        engine.client.attach(Arc::new(Immediate::of(&engine)));
        let slots = Slots::new(engine.config.concurrency, lines.iter().map(|line| (line.tier, line.weight)));
        let desks = lines.iter().map(|_| Desk::default()).collect();
        let progress = Progress::starting();
        let (slots, hooks) = (Arc::new(slots), self.hooks);
        Ok(Worker { engine: Arc::new(engine), lines, slots, desks, schedules, progress, hooks })
    }
}

/// The schedules that are defined, by hand and by tasks, each checked.
fn defined(by_hand: Vec<Schedule>, registry: &Registry, limit: usize, problems: &mut Vec<String>) -> Arc<[Defined]> {
    let mut schedules = by_hand;
    for task in registry.tasks() {
        let Some(periodic) = &task.options.periodic else { continue };
        match (task.alone)() {
            Ok(draft) => schedules.push(Schedule::of_task(task.name, draft, periodic)),
            Err(why) => problems.push(format!(
                "task `{}` has a schedule of its own, and is called without arguments there: {why}; give the argument a \
                 `#[serde(default)]`, or say the call with `.cron(name, expression, call)`",
                task.name
            )),
        }
    }
    let mut defined: Vec<Defined> = Vec::new();
    for schedule in &schedules {
        match schedule.checked(limit) {
            Ok((name, shard, _)) if defined.iter().any(|one| one.name == name && one.shard == shard) => {
                problems.push(format!(
                    "schedule `{name}` of queue {shard} is defined twice: give one of them another name"
                ));
            }
            Ok((name, shard, definition)) => {
                defined.push(Defined { name, shard, definition, revision: schedule.revision });
            }
            Err(fault) => problems.push(format!("schedule `{}`: {fault}", schedule.name())),
        }
    }
    defined.into()
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("config", &self.config)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

/// Everything that keeps a worker from being built.
#[derive(Clone)]
pub struct BuildError {
    problems: Vec<String>,
}

impl BuildError {
    /// The problems, each a sentence.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problems[..] {
            [only] => write!(f, "the worker can't be built: {only}"),
            several => {
                write!(f, "the worker can't be built, for {} reasons:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        queue_storage::debug_as_text("BuildError", self, f)
    }
}

impl std::error::Error for BuildError {}
