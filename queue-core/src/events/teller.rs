//! Tells of events, in their order: handlers of this process, and whoever watches the storage.
//!
//! Whoever makes something happen hands it in and goes on. A task carries it on from there, as long as there is something
//! to carry, so a handler that is slow, and a storage that is, hold up nobody.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use queue_storage::clock::Clock;
use queue_storage::model::{AttemptEnd, Job, JobId, Shard, State, WorkerId};
use queue_storage::storage::Storage;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::announcer::Announcer;
use super::taps::{Tap, Taps};
use super::{Event, EventError, EventKind, Handler, MAX_BATCH_BYTES, encode};

/// How many events wait at most to be carried on.
const MAX_WAITING: usize = 10_000;
/// How many events of one job wait at most for its being told of as stored.
const MAX_EXPECTED: usize = 64;
/// How many are carried on at once.
const BATCH: usize = 256;

/// What became of a job by upkeep: what else there is to be told of it is asked of the storage.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) shard: Shard,
    pub(crate) id: JobId,
    pub(crate) became: State,
}

/// Something to tell.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events")]
pub(crate) enum News {
    Event(Event),
    Fate(Fate),
}

impl News {
    /// The job it is about, unless it tells of that being stored.
    fn follows(&self) -> Option<JobId> {
        match self {
            Self::Event(event) if matches!(event.kind, EventKind::Enqueued | EventKind::Scheduled) => None,
            Self::Event(event) => event.job,
            Self::Fate(fate) => Some(fate.id),
        }
    }
}

impl From<Event> for News {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// Tells of events.
pub(crate) struct Teller {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    /// Written when a worker is built or has stopped, read when there is something to tell; never across an await.
    handlers: RwLock<Arc<[Arc<Handler>]>>,
    /// The kinds that any handler is for.
    kinds: AtomicU32,
    taps: Taps,
    /// Tells whoever watches the storage.
    announcer: Arc<Announcer>,
    /// Locked for a look or a change at a time, never across an await.
    waiting: Mutex<Waiting>,
    /// Where to carry on from, the last first: the runtimes of workers that run. Leases are renewed elsewhere.
    runtimes: RwLock<Vec<(WorkerId, Handle)>>,
    /// Told when something has been told, and when nobody carries on.
    step: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Each with whether whoever watches the storage is told as well.
    news: VecDeque<(News, bool)>,
    /// What is to be told of jobs once they have been told of as stored: one may have ended before whoever enqueued it has
    /// his answer.
    expected: HashMap<JobId, Vec<(News, bool)>>,
    /// Whether some were dropped since the last were carried on.
    missed: bool,
    /// Whether a task carries on.
    carried: bool,
    /// How many have come since the beginning, and how many of them have been told.
    came: u64,
    told: u64,
}

impl Waiting {
    fn push(&mut self, news: News, far: bool) {
        if self.news.len() < MAX_WAITING {
            self.came += 1;
            self.news.push_back((news, far));
        } else {
            self.missed = true;
        }
    }
}

/// A runtime from which news are carried on. Dropped before it ends.
#[derive(Debug)]
pub(crate) struct Stay {
    teller: Arc<Teller>,
    worker: WorkerId,
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut runtimes = self.teller.runtimes.write().unwrap_or_else(PoisonError::into_inner);
        runtimes.retain(|(worker, _)| *worker != self.worker);
    }
}

/// Jobs that are on their way into the storage. Dropped when that is known, whatever became of it.
#[derive(Debug)]
pub(crate) struct Expected {
    teller: Arc<Teller>,
    ids: Vec<JobId>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut waiting = self.teller.lock();
        for id in &self.ids {
            for (news, far) in waiting.expected.remove(id).into_iter().flatten() {
                waiting.push(news, far);
            }
        }
        self.teller.carry_on(waiting);
    }
}

impl Teller {
    pub(crate) fn new(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>) -> Self {
        let announcer = Arc::new(Announcer::new(Arc::clone(&storage), Arc::clone(&clock)));
        Self {
            storage,
            clock,
            announcer,
            handlers: RwLock::new(Arc::new([])),
            kinds: AtomicU32::new(0),
            taps: Taps::default(),
            waiting: Mutex::default(),
            runtimes: RwLock::default(),
            step: Notify::new(),
        }
    }

    /// Whether anyone is to be told of what happens in this shard.
    pub(crate) fn has_ears(&self, shard: &Shard) -> bool {
        self.kinds.load(Ordering::Relaxed) | self.taps.kinds() != 0 || self.storage.is_watched(shard)
    }

    /// Tells this one at once from now on, as long as the client lives.
    pub(crate) fn tap(&self, tap: Tap) {
        self.taps.add(tap);
    }

    fn handlers(&self) -> Arc<[Arc<Handler>]> {
        Arc::clone(&self.handlers.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_handlers(&self, change: impl FnOnce(&mut Vec<Arc<Handler>>)) {
        let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = handlers.to_vec();
        change(&mut all);
        self.kinds.store(all.iter().fold(0, |kinds, one| kinds | one.kinds()), Ordering::Relaxed);
        *handlers = all.into();
    }

    /// Tells these handlers as well from now on.
    pub(crate) fn add(&self, handlers: impl IntoIterator<Item = Handler>) {
        let mut new = handlers.into_iter().map(Arc::new).peekable();
        if new.peek().is_some() {
            self.set_handlers(|all| all.extend(new));
        }
    }

    /// Tells the handlers of a worker no more.
    pub(crate) fn forget(&self, worker: WorkerId) {
        if self.kinds.load(Ordering::Relaxed) != 0 {
            self.set_handlers(|all| all.retain(|one| !one.is_of(worker)));
        }
    }

    /// News are carried on from the runtime that calls this until what it returns is dropped.
    pub(crate) fn stay_here(self: &Arc<Self>, worker: WorkerId) -> Stay {
        if let Ok(here) = Handle::try_current() {
            self.runtimes.write().unwrap_or_else(PoisonError::into_inner).push((worker, here));
        }
        Stay { teller: Arc::clone(self), worker }
    }

    /// Whether a worker runs on this client: then its program does not end at once.
    pub(crate) fn is_staying(&self) -> bool {
        !self.runtimes.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of what happened in a shard, behind all that came before.
    pub(crate) fn tell_of(self: &Arc<Self>, shard: &Shard, news: impl IntoIterator<Item = News>) {
        self.tell(news, self.storage.is_watched(shard));
    }

    /// Tells of something, whoever watches the storage as well if it is to be told far away.
    pub(crate) fn tell(self: &Arc<Self>, news: impl IntoIterator<Item = News>, far: bool) {
        let handled = self.kinds.load(Ordering::Relaxed);
        let news: Vec<_> = news.into_iter().filter(|one| self.is_to_carry(one, far, handled)).collect();
        let mut waiting = self.lock();
        for one in news {
            match one.follows().and_then(|id| waiting.expected.get_mut(&id)) {
                // Whoever enqueued it may never ask for his answer.
                Some(later) if later.len() < MAX_EXPECTED => later.push((one, far)),
                _ => waiting.push(one, far),
            }
        }
        self.carry_on(waiting);
    }

    /// Expects to be told that these jobs were stored, if anyone is to be told of what happens in this shard: what else is
    /// told of them comes behind that.
    pub(crate) fn expect(self: &Arc<Self>, shard: &Shard, jobs: impl Iterator<Item = JobId>) -> Option<Expected> {
        if !self.has_ears(shard) {
            return None;
        }
        let ids: Vec<_> = jobs.collect();
        let mut waiting = self.lock();
        for id in &ids {
            waiting.expected.entry(*id).or_default();
        }
        drop(waiting);
        Some(Expected { teller: Arc::clone(self), ids })
    }

    /// Sees to it that somebody carries on what waits.
    fn carry_on(self: &Arc<Self>, mut waiting: MutexGuard<'_, Waiting>) {
        if waiting.news.is_empty() || std::mem::replace(&mut waiting.carried, true) {
            return;
        }
        drop(waiting);
        let carrier = Carrier { teller: Arc::clone(self), in_flight: 0, ended: false };
        let runtimes = self.runtimes.read().unwrap_or_else(PoisonError::into_inner);
        let runtime = runtimes.last().map(|(_, runtime)| runtime.clone());
        drop(runtimes);
        match runtime.or_else(|| Handle::try_current().ok()) {
            Some(runtime) => drop(runtime.spawn(carrier.run())),
            None => drop(carrier),
        }
    }

    /// Tells of it at once whoever is told so, and whether anyone else is to be told. What upkeep did is asked of the
    /// storage first.
    fn is_to_carry(&self, news: &News, far: bool, handled: u32) -> bool {
        match news {
            News::Event(event) => {
                self.taps.tell(event);
                far || handled & event.kind.bit() != 0
            }
            News::Fate(_) => true,
        }
    }

    /// Waits until what has come by now has been told: to whoever watches, and handed to handlers.
    pub(crate) async fn carried(&self) {
        self.handed().await;
        self.announcer.told().await;
    }

    async fn handed(&self) {
        let came = self.lock().came;
        loop {
            let step = self.step.notified();
            tokio::pin!(step);
            step.as_mut().enable();
            if self.is_told(came) {
                return;
            }
            step.await;
        }
    }

    fn is_told(&self, came: u64) -> bool {
        let waiting = self.lock();
        waiting.told >= came || !waiting.carried
    }

    /// The same, and until the handlers of a worker have ended.
    pub(crate) async fn told_of(&self, worker: WorkerId) {
        self.handed().await;
        for handler in self.handlers().iter().filter(|handler| handler.is_of(worker)) {
            handler.told().await;
        }
        self.announcer.told().await;
    }

    /// The next to carry on, and whether some were dropped before; empty when there is nothing.
    fn next(&self) -> (Vec<(News, bool)>, bool) {
        let mut waiting = self.lock();
        let count = waiting.news.len().min(BATCH);
        let news: Vec<_> = waiting.news.drain(..count).collect();
        waiting.carried = !news.is_empty();
        let missed = waiting.carried && std::mem::take(&mut waiting.missed);
        (news, missed)
    }

    async fn event(&self, news: News) -> Option<Event> {
        match news {
            News::Event(event) => Some(event),
            News::Fate(fate) => {
                let job = self.storage.get(fate.id).await.ok().and_then(queue_storage::storage::Lookup::found);
                // What ties a flow together is no job to anyone.
                let is_task = job.as_ref().is_none_or(|job| job.node.is_task());
                let event = is_task.then(|| of_fate(&fate, job.as_ref(), self.clock.now().into()))?;
                self.taps.tell(&event);
                Some(event)
            }
        }
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").field("handlers", &self.handlers().len()).finish_non_exhaustive()
    }
}

/// A teller whose news are being carried on. Dropped with its runtime, it lets another task go on.
struct Carrier {
    teller: Arc<Teller>,
    /// How many it has taken and not told.
    in_flight: u64,
    /// Whether it has said itself that nobody carries on any more.
    ended: bool,
}

impl Carrier {
    async fn run(mut self) {
        let teller = Arc::clone(&self.teller);
        loop {
            let (news, mut missed) = teller.next();
            if news.is_empty() {
                self.ended = true;
                return;
            }
            self.in_flight = news.len() as u64;
            let handlers = teller.handlers();
            let mut batch = Vec::new();
            for (one, far) in news {
                let Some(event) = teller.event(one).await else { continue };
                handlers.iter().for_each(|handler| handler.tell(&event));
                if far {
                    encode(&event, &mut batch);
                }
                if batch.len() >= MAX_BATCH_BYTES {
                    teller.announcer.tell(std::mem::take(&mut batch), std::mem::take(&mut missed));
                }
            }
            teller.announcer.tell(batch, missed);
            teller.lock().told += std::mem::take(&mut self.in_flight);
            teller.step.notify_waiters();
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if !self.ended {
            let mut waiting = self.teller.lock();
            waiting.carried = false;
            waiting.told += self.in_flight;
            waiting.missed |= self.in_flight > 0;
        }
        self.teller.step.notify_waiters();
    }
}

/// What is told of a job that upkeep moved. By now it may have gone on.
fn of_fate(fate: &Fate, job: Option<&Job>, at: std::time::SystemTime) -> Event {
    let kind = match fate.became {
        State::Dead => EventKind::Died,
        State::Cancelled => EventKind::Cancelled,
        State::Expired => EventKind::Expired,
        _ => EventKind::Reclaimed,
    };
    let mut event = Event::new(kind, at);
    (event.queue, event.job) = (Some(fate.shard.queue.to_string()), Some(fate.id));
    let Some(job) = job else { return event };
    event.task = Some(job.task.to_string());
    if kind == EventKind::Reclaimed {
        let lost = |end: &AttemptEnd| matches!(end, AttemptEnd::Crashed | AttemptEnd::Lapsed);
        let last = job.history.iter().rev().find(|run| lost(&run.end));
        event.worker = last.map(|run| run.worker);
        event.error = last.and_then(|run| run.failure.as_ref()).map(EventError::from);
    } else if job.state == fate.became {
        event.reason.clone_from(&job.reason);
        event.error = job.failure.as_ref().map(EventError::from);
    }
    event
}
