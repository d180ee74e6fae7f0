//! The way from any runtime to a thread of ours, and back.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use queue_storage::storage::StorageError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::error::{Place, Result};

/// Calls that wait for a thread at once, before callers wait for room.
const ROOM: usize = 1_024;

/// The callers' end of a thread.
///
/// The channel itself has no bound, as its bound would block a caller's runtime; the semaphore is the bound, and callers
/// wait for it asynchronously. A permit travels with its call and comes back when the call has been answered.
#[derive(Debug)]
pub(crate) struct Lane<M> {
    queue: Sender<M>,
    room: Arc<Semaphore>,
    /// Its sender lives in the thread: it closes when the thread has ended, however that came.
    ended: watch::Receiver<()>,
    place: Place,
}

/// The thread's end.
#[derive(Debug)]
pub(crate) struct Track<M> {
    pub(crate) queue: Receiver<M>,
    _ended: watch::Sender<()>,
}

/// Where an answer goes.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    to: oneshot::Sender<Result<T, StorageError>>,
    _room: OwnedSemaphorePermit,
}

impl<T> Reply<T> {
    /// Whether anyone waits for the answer.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.to.is_closed()
    }

    pub(crate) fn send(self, answer: Result<T, StorageError>) {
        // The caller may have gone: then nobody wants to know.
        let _ = self.to.send(answer);
    }
}

impl<M: Send + 'static> Lane<M> {
    /// Starts a thread: `open` runs on it first, and `run` with what it gave unless it failed.
    pub(crate) async fn start<C>(
        name: &str,
        place: &Place,
        open: impl FnOnce() -> Result<C, StorageError> + Send + 'static,
        run: impl FnOnce(C, Track<M>) + Send + 'static,
    ) -> Result<Self, StorageError> {
        let (queue, receiver) = channel();
        let (alive, ended) = watch::channel(());
        let (opened, opening) = oneshot::channel();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || match open() {
                Ok(connection) => {
                    if opened.send(Ok(())).is_ok() {
                        run(connection, Track { queue: receiver, _ended: alive });
                    }
                }
                Err(error) => drop(opened.send(Err(error))),
            })
            .map_err(|error| {
                StorageError::unavailable(format!("{}: no thread can be started", place.location())).because(error)
            })?;
        let lane = Self { queue, room: Arc::new(Semaphore::new(ROOM)), ended, place: place.clone() };
        match opening.await {
            Ok(Ok(())) => Ok(lane),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(place.closed()),
        }
    }

    /// Sends a call that `message` makes of the way back, and waits for its answer.
    pub(crate) async fn call<T>(&self, message: impl FnOnce(Reply<T>) -> M) -> Result<T, StorageError> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| self.place.closed())?;
        let (to, answer) = oneshot::channel();
        self.queue.send(message(Reply { to, _room: room })).map_err(|_| self.place.closed())?;
        answer.await.unwrap_or_else(|_| Err(self.place.closed()))
    }

    /// Sends something that has no answer.
    pub(crate) fn tell(&self, message: M) {
        // A thread that is gone needs no telling.
        let _ = self.queue.send(message);
    }

    /// Takes no more calls, finishes those it has, and waits for the thread's end.
    pub(crate) async fn close(&self, last: M) {
        self.room.close();
        self.tell(last);
        let mut ended = self.ended.clone();
        // Only ever closed, never sent to.
        while ended.changed().await.is_ok() {}
    }
}
