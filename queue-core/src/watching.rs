//! Hearing of what happens, in whatever process.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, Stream, StreamExt};
use queue_storage::model::JobId;
use queue_storage::storage::{Heard, StorageError, Watch};

use crate::client::Client;
use crate::events::{Event, EventKind, IntoKinds, Tap, decode};

impl Client {
    /// Hears of what happens on this storage, in whatever process: awaited it is an [`EventStream`].
    ///
    /// Nothing is told while nobody listens. What one client and its workers tell of a job comes in order; where a job passes from
    /// one process to another at once, the second may be heard first. They are kept for nobody: who comes later hears of what happens from then on, and who
    /// does not take them for long is told so by an [`EventKind::Missed`].
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, EventKind, Task, TaskError, tasks};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
    /// # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
    /// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::immediate(tasks![Add]).build()?;
    /// let mut events = client.events().of([EventKind::Started, EventKind::Succeeded]).await?;
    /// let job = Call::new(Add { a: 1, b: 2 }).enqueue(&client).await?;
    /// for kind in [EventKind::Started, EventKind::Succeeded] {
    ///     let event = events.next().await.ok_or("the storage is closed")?;
    ///     assert_eq!((event.kind, event.job), (kind, Some(job.id())));
    /// }
    /// # Ok(()) }
    /// ```
    pub fn events(&self) -> Events {
        Events { client: self.clone(), filter: Filter::default() }
    }

    /// Calls `act` for each event of these kinds, one or several, that this client makes happen, or a clone of it, or a
    /// worker on it: at once, before whoever made it happen goes on. For counting; what takes time, or waits, is for
    /// [`WorkerBuilder::on`](crate::WorkerBuilder::on).
    ///
    /// It misses nothing, however fast events come, but what upkeep does to jobs (what expires, is taken back, or called
    /// off at rest) is asked of the storage first and told behind that: ten thousand of those may wait. Nothing is said of
    /// the order: a job may have started before it is told of as stored. One that panics is logged. It stays as long as the
    /// client, or a clone of it, lives.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, EventKind, Task, TaskError};
    /// # use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
    /// # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
    /// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// let client = Client::memory();
    /// let enqueued = Arc::new(AtomicU64::new(0));
    /// let count = enqueued.clone();
    /// client.observe(EventKind::Enqueued, move |_| drop(count.fetch_add(1, Ordering::Relaxed)));
    /// Call::new(Add { a: 1, b: 2 }).enqueue(&client).await?;
    /// assert_eq!(enqueued.load(Ordering::Relaxed), 1);
    /// # Ok(()) }
    /// ```
    pub fn observe(&self, kinds: impl IntoKinds, act: impl Fn(&Event) + Send + Sync + 'static) {
        self.teller().tap(Tap::new(&kinds.into_kinds(), act));
    }
}

/// What to hear of: [`Client::events`]. Awaiting it begins to listen.
#[derive(Debug)]
#[must_use = "nothing is heard until it is awaited"]
pub struct Events {
    client: Client,
    filter: Filter,
}

/// What of all events is heard; what is empty lets everything through.
#[derive(Clone, Debug, Default)]
struct Filter {
    kinds: BTreeSet<EventKind>,
    queues: BTreeSet<String>,
    tasks: BTreeSet<String>,
    jobs: BTreeSet<JobId>,
}

impl Filter {
    fn fits(&self, event: &Event) -> bool {
        fn among<T: Ord>(chosen: &BTreeSet<T>, it: Option<&T>) -> bool {
            chosen.is_empty() || it.is_some_and(|it| chosen.contains(it))
        }
        event.kind == EventKind::Missed
            || among(&self.kinds, Some(&event.kind))
                && among(&self.queues, event.queue.as_ref())
                && among(&self.tasks, event.task.as_ref())
                && among(&self.jobs, event.job.as_ref())
    }
}

impl Events {
    /// Only of these kinds: one, or several. Kinds of several calls add up.
    pub fn of(mut self, kinds: impl IntoKinds) -> Self {
        self.filter.kinds.extend(kinds.into_kinds());
        self
    }

    /// Only of this queue and of its jobs. Several calls add up.
    pub fn in_queue(mut self, queue: impl Into<String>) -> Self {
        self.filter.queues.insert(queue.into());
        self
    }

    /// Only of jobs of the task with this name. Several calls add up.
    pub fn of_task(mut self, task: impl Into<String>) -> Self {
        self.filter.tasks.insert(task.into());
        self
    }

    /// Only of this job. Several calls add up.
    pub fn of_job(mut self, id: JobId) -> Self {
        self.filter.jobs.insert(id);
        self
    }

    /// Begins to listen: whatever happens once this returns is heard.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn open(self) -> Result<EventStream, StorageError> {
        let watch = self.client.storage().watch().await?;
        let state = State { watch, filter: self.filter, ready: VecDeque::new(), client: self.client };
        Ok(EventStream(Box::pin(stream::unfold(state, State::next).fuse())))
    }
}

impl IntoFuture for Events {
    type Output = Result<EventStream, StorageError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

struct State {
    client: Client,
    watch: Watch,
    filter: Filter,
    ready: VecDeque<Event>,
}

impl State {
    async fn next(mut self) -> Option<(Event, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((event, self));
            }
            let events = match self.watch.next().await? {
                Heard::News(batch) => decode(&batch),
                _ => vec![Event::new(EventKind::Missed, self.client.clock().now().into())],
            };
            self.ready.extend(events.into_iter().filter(|event| self.filter.fits(event)));
        }
    }
}

/// What happens: a [`Stream`], with a [`next`](Self::next) of its own for whoever has no crate for streams. It goes on
/// through outages, and ends when the storage is closed.
pub struct EventStream(Pin<Box<dyn Stream<Item = Event> + Send>>);

impl EventStream {
    /// Waits for the next event; `None` when the storage is closed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        StreamExt::next(&mut self.0).await
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}
