//! A worker: claims jobs and runs them on tokio.

mod banner;
mod builder;
mod courier;
mod drain;
mod error;
mod hooks;
mod lane;
mod line;
mod outbox;
mod readiness;
mod renewer;
mod running;
mod slots;
mod suspects;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use queue_storage::model::{Shard, WorkerId};
use queue_storage::storage::StorageError;

pub use banner::Description;
pub use builder::{BuildError, WorkerBuilder};
pub use error::WorkerError;
pub use hooks::WorkerContext;
pub use readiness::Readiness;

use crate::client::Client;
use crate::engine::{Backoff, Engine, Lingering};
use crate::events::EventKind;
use crate::keeper::reconciler::Defined;
use courier::Desk;
use hooks::Hooks;
use line::Line;
use readiness::Progress;
use renewer::Renewer;
use running::Running;
use slots::Slots;

/// Claims jobs and runs them, beside a web server or alone.
///
/// ```
/// # use queue_core::{Client, Context, Task, TaskError, TaskList, Worker, Call};
/// # use std::time::Duration;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
/// # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
/// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
/// let client = Client::memory();
/// let worker = Worker::builder(&client).tasks(TaskList::new().with::<Add>()).build()?;
/// let job = Call::new(Add { a: 1, b: 2 }).enqueue(&client).await?;
/// // Stops when the future does: here, when the result has come.
/// worker.run_until(async { assert_eq!(job.wait(Duration::from_secs(5)).await.unwrap(), 3) }).await?;
/// # Ok(()) }
/// ```
pub struct Worker {
    engine: Arc<Engine>,
    lines: Vec<Line>,
    slots: Arc<Slots>,
    /// One for each line.
    desks: Arc<[Desk]>,
    /// What its code defines.
    schedules: Arc<[Defined]>,
    progress: Progress,
    hooks: Hooks,
}

impl Worker {
    /// Builds a worker on the client's storage.
    pub fn builder(client: &Client) -> WorkerBuilder {
        WorkerBuilder::new(client.clone())
    }

    /// The id of this incarnation.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.engine.id
    }

    /// A count, which outlives the call that runs the worker, of threads that go on although their attempt is over.
    ///
    /// A task that is not async runs on a thread, which can't be stopped. When its attempt has taken too long, the attempt
    /// fails, the job goes its way (a retry may start elsewhere while the thread still runs), and the thread keeps its
    /// slot until it ends.
    ///
    /// ```
    /// # use queue_core::{BoxError, Worker};
    /// # async fn run(worker: Worker) -> Result<(), BoxError> {
    /// let lingering = worker.lingering();
    /// tokio::spawn(worker.run());
    /// println!("{} threads are overdue", lingering.count());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn lingering(&self) -> Lingering {
        self.engine.lingering.clone()
    }

    /// How far it has come, to be asked while it runs: whether the storage knows it, whether it stops.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.progress.readiness()
    }

    /// What it is: its storage, its queues, its tasks and its schedules, in lines for people.
    ///
    /// ```
    /// # use queue_core::{Client, Context, Task, TaskError, TaskList, Worker};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Add;
    /// # impl Task for Add { type Output = (); const NAME: &'static str = "add";
    /// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
    /// let worker = Worker::builder(&Client::memory()).tasks(TaskList::new().with::<Add>()).build()?;
    /// assert!(worker.description().to_string().contains("  task add (queue default, "));
    /// # Ok::<(), queue_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn description(&self) -> Description<'_> {
        Description::new(&self.engine, &self.lines, &self.schedules)
    }

    /// Runs jobs until the process is asked to stop: SIGTERM or ctrl-c.
    ///
    /// From then on the process does not end by these signals any more, for tokio keeps them once anyone has listened: a
    /// process that has more to stop than this worker uses [`run_until`](Self::run_until) with a shutdown of its own.
    ///
    /// # Errors
    /// As [`run_until`](Self::run_until).
    ///
    /// # Cancel safety
    /// As [`run_until`](Self::run_until).
    pub async fn run(self) -> Result<(), WorkerError> {
        self.run_until(shutdown_signal()).await
    }

    /// Runs jobs until there is nothing left to do ([`drained`](Self::drained)) or the process is asked to stop, as
    /// [`run`](Self::run) is; then stops well.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError, TaskList, Worker};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
    /// # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
    /// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// let client = Client::memory();
    /// let job = Call::new(Add { a: 1, b: 2 }).enqueue(&client).await?;
    /// Worker::builder(&client).tasks(TaskList::new().with::<Add>()).build()?.run_until_drained().await?;
    /// assert_eq!(job.result().await?, Some(3));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`run_until`](Self::run_until).
    ///
    /// # Cancel safety
    /// As [`run_until`](Self::run_until).
    pub async fn run_until_drained(self) -> Result<(), WorkerError> {
        let drained = self.drained();
        let ended = async {
            tokio::select! {
                () = drained => tracing::info!("nothing is left to do"),
                () = shutdown_signal() => {}
            }
        };
        self.run_until(ended).await
    }

    /// Waits until the queues this worker serves hold nothing that is ready, due or running, on whatever worker, and nothing
    /// that is to be handed on to other queues: to be given to [`run_until`](Self::run_until), alone or beside another reason to stop.
    ///
    /// Jobs for later, retries for later among them, are not waited for, nor those that are parked since this worker can't
    /// run them or their task is paused. Jobs of a paused queue are ready and do not run: it waits until that is resumed.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + 'static {
        let (engine, slots, desks) = (Arc::clone(&self.engine), Arc::clone(&self.slots), Arc::clone(&self.desks));
        let shards: Vec<Shard> = self.lines.iter().map(|line| line.shard.clone()).collect();
        async move { drain::drained(&engine, &slots, &desks, &shards).await }
    }

    /// Runs jobs until `shutdown` is ready, then stops well: claims no more, lets jobs finish within the grace, gives
    /// back what is left (at once claimable by others, no attempt burnt).
    ///
    /// While the storage does not answer it goes on trying.
    ///
    /// # Errors
    /// The system gives no thread for renewing leases, the storage refuses the worker for good, or what is to be done
    /// [when it starts](WorkerBuilder::on_start) failed.
    ///
    /// # Panics
    /// A part of the worker panicked, be it in code of yours that runs in it: a `tracing` layer. It ends as if its process
    /// had died, for it could not go on whole. What a task does, or middleware or a hook, never gets here.
    ///
    /// # Cancel safety
    /// Dropping the future drops running jobs where they are. Their leases run out, and others take them over as if the
    /// process had died. To stop well, let `shutdown` become ready instead.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), WorkerError> {
        self.run_until_or(shutdown, std::future::pending()).await
    }

    /// The same, with a way to cut the grace short: when `at_once` is ready after `shutdown`, what still runs is dropped
    /// at its next await and given back, as if the grace were over. Alone, `at_once` changes nothing.
    ///
    /// ```
    /// # use queue_core::{BoxError, Worker};
    /// # async fn run(worker: Worker) -> Result<(), BoxError> {
    /// let asked = async || { let _ = tokio::signal::ctrl_c().await; };
    /// // Asked once it lets jobs finish, asked twice it stops.
    /// worker.run_until_or(asked(), asked()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`run_until`](Self::run_until).
    ///
    /// # Cancel safety
    /// As [`run_until`](Self::run_until).
    pub async fn run_until_or(
        self,
        shutdown: impl Future<Output = ()>,
        at_once: impl Future<Output = ()>,
    ) -> Result<(), WorkerError> {
        banner::show(&self.engine, &self.lines, &self.schedules);
        tokio::pin!(shutdown);
        let about = WorkerContext::new(&self.engine, self.lines.iter().map(|line| line.shard.clone()));
        tokio::select! {
            biased;
            started = self.hooks.started(&about) => started?,
            () = &mut shutdown => return Ok(()),
        }
        let ended = self.serve(shutdown, at_once).await;
        self.hooks.stopped(&about).await;
        ended
    }

    async fn serve(
        &self,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
        at_once: impl Future<Output = ()>,
    ) -> Result<(), WorkerError> {
        if self.engine.client.is_immediate() {
            tracing::info!("immediate mode: jobs run inside `enqueue`, this worker only waits to be stopped");
            self.progress.ready();
            shutdown.await;
            return Ok(());
        }
        let shards: Arc<[Shard]> = self.lines.iter().map(|line| line.shard.clone()).collect();
        let _staying = self.engine.client.teller().stay_here(self.engine.id);
        tokio::select! {
            // In this order: whoever sees the worker may ask it to stop, so by then it listens for that.
            biased;
            () = &mut shutdown => {
                self.progress.draining();
                self.forget().await;
                return Ok(());
            }
            registered = self.register(&shards) => registered?,
        }
        let no_thread = |error| StorageError::unavailable("no thread for renewing leases").because(error);
        let renewer = Renewer::start(Arc::clone(&self.engine), &shards).map_err(no_thread)?;
        self.engine.tell_worker(EventKind::WorkerStarted, None);
        let mut running = Running::start(&self.engine, &self.slots, &self.desks, &shards);
        if self.engine.config.periodic {
            running.keep_time(&self.engine, &shards, &self.schedules);
        }
        self.progress.ready();
        tokio::select! {
            () = shutdown => {}
            () = self.engine.broken.panicked() => {}
        }
        self.progress.draining();
        running.stop(&self.engine, at_once).await;
        drop(renewer);
        Ok(())
    }

    /// Takes back what may have made it known, if the storage answers soon.
    async fn forget(&self) {
        tokio::select! {
            _ = self.engine.storage().deregister(self.engine.id) => {}
            () = self.engine.sleep(self.engine.config.last_words) => {}
        }
    }

    /// Makes itself known, however long the storage takes.
    async fn register(&self, shards: &[Shard]) -> Result<(), StorageError> {
        let mut backoff = Backoff::new();
        while let Err(error) = self.engine.register(shards.to_vec()).await {
            if !error.is_unavailable() {
                return Err(error);
            }
            let pause = backoff.pause();
            tracing::warn!(%error, storage = %self.engine.client.location(), ?pause, "can't register: trying again");
            self.engine.sleep(pause).await;
        }
        Ok(())
    }
}

impl Drop for Worker {
    /// However it ends, or if it was never run: its handlers are told no more. In immediate mode it lives on in its client.
    fn drop(&mut self) {
        if !self.engine.client.is_immediate() {
            self.engine.client.teller().forget(self.engine.id);
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("id", &self.engine.id).field("lines", &self.lines).finish_non_exhaustive()
    }
}

/// Waits for SIGTERM or ctrl-c.
async fn shutdown_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
