//! Handlers in this process: each is told on its own, one event after the other, so that none holds up another.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use queue_storage::model::WorkerId;
use tokio::sync::Notify;

use super::{Event, EventKind};
use crate::task_error::panic_text;

/// How many events a handler may be behind with.
const MAX_BEHIND: usize = 1_024;

type Act = dyn Fn(Event) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// What a user wants done about events.
pub(crate) struct Handler {
    act: Arc<Act>,
    /// The kinds it is for, a bit for each.
    kinds: u32,
    /// The worker whose handler it is: it hears nothing of what other workers do.
    worker: Option<WorkerId>,
    behind: Mutex<Behind>,
    /// Told when it has caught up.
    idle: Notify,
}

#[derive(Debug, Default)]
struct Behind {
    events: VecDeque<Event>,
    /// How many were dropped since it last caught up.
    dropped: u64,
    /// Whether a task is telling it.
    told: bool,
}

impl Handler {
    pub(crate) fn new<F: Future<Output = ()> + Send + 'static>(
        kinds: &[EventKind],
        act: impl Fn(Event) -> F + Send + Sync + 'static,
    ) -> Self {
        Self {
            act: Arc::new(move |event| Box::pin(act(event))),
            kinds: kinds.iter().fold(0, |all, kind| all | kind.bit()),
            worker: None,
            behind: Mutex::default(),
            idle: Notify::new(),
        }
    }

    /// The same, of a worker.
    pub(crate) fn of_worker(mut self, worker: WorkerId) -> Self {
        self.worker = Some(worker);
        self
    }

    pub(super) fn kinds(&self) -> u32 {
        self.kinds
    }

    /// Whether it is a handler of this worker.
    pub(super) fn is_of(&self, worker: WorkerId) -> bool {
        self.worker == Some(worker)
    }

    fn wants(&self, event: &Event) -> bool {
        // What a client does has no worker; who lost a job is not who tells of it.
        let is_own = match (self.worker, event.worker, event.kind) {
            (_, _, EventKind::Reclaimed | EventKind::WorkerLost) | (None, _, _) | (_, None, _) => true,
            (Some(own), Some(worker), _) => own == worker,
        };
        is_own && self.kinds & event.kind.bit() != 0
    }

    fn lock(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells it of an event, on a task of its own.
    pub(super) fn tell(self: &Arc<Self>, event: &Event) {
        if !self.wants(event) {
            return;
        }
        let mut behind = self.lock();
        if behind.events.len() == MAX_BEHIND {
            behind.events.pop_front();
            behind.dropped += 1;
            if behind.dropped == 1 {
                tracing::warn!(behind = MAX_BEHIND, "a handler of events is too slow: it misses the oldest");
            }
        }
        behind.events.push_back(event.clone());
        if !std::mem::replace(&mut behind.told, true) {
            drop(behind);
            let telling = Telling { handler: Arc::clone(self), ended: false };
            tokio::spawn(telling.run());
        }
    }

    /// Waits until it has been told of everything.
    pub(super) async fn told(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if !self.lock().told {
                return;
            }
            idle.await;
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("kinds", &self.kinds).field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// A handler that is being told. Dropped with its runtime, it lets another task go on.
struct Telling {
    handler: Arc<Handler>,
    /// Whether it has said itself that nobody tells it any more.
    ended: bool,
}

impl Telling {
    async fn run(mut self) {
        while let Some(event) = self.next() {
            let kind = event.kind;
            let act = Arc::clone(&self.handler.act);
            if let Err(panic) = AssertUnwindSafe(async { act(event).await }).catch_unwind().await {
                tracing::error!(%kind, panic = panic_text(&*panic), "a handler of events panicked");
                std::mem::forget(panic);
            }
        }
    }

    fn next(&mut self) -> Option<Event> {
        let mut behind = self.handler.lock();
        let event = behind.events.pop_front();
        if event.is_none() {
            (behind.told, behind.dropped) = (false, 0);
            drop(behind);
            self.ended = true;
        }
        event
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if !self.ended {
            self.handler.lock().told = false;
        }
        self.handler.idle.notify_waiters();
    }
}
