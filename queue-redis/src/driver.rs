//! Speaking to the server: the only part that knows which client library does.
//!
//! * `dial` makes connections, `line` is one for calls, `ear` the one for messages, each kept up for ever.
//! * `probe` looks at the server at connect and loads the scripts.
//! * `reply` is what comes back.
//!
//! All of it lives on one thread with a runtime of its own, so that calls may come from any runtime. What has been sent is
//! never sent again: whether a call that was lost had been carried out, nobody here knows, and its caller, whose calls
//! bear repeating, decides.

mod dial;
mod ear;
mod line;
mod probe;
mod reply;
mod thread;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use queue_storage::storage::StorageError;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::error::Place;
use crate::options::{RedisOptions, Target};
use ear::{Channels, OnMessage};
use line::{Line, Loaded};

pub(crate) use reply::Reply;

/// One Lua script of the set.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// The whole text, its first line (`#!lua …`) included.
    pub(crate) source: String,
}

/// How a message reaches those who subscribed to its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Sent by `PUBLISH`.
    Everywhere,
    /// Sent by `SPUBLISH`, on the node that has the channel's slot: a channel bears the hash tag of the keys it is about.
    Shard,
}

/// What the driver tells of, on its own thread: both must be quick, must not block and must not panic.
pub(crate) struct Hooks {
    /// A message, with its channel.
    pub(crate) on_message: OnMessage,
    /// A connection was lost and is back, or messages were lost: something may have been missed. Told when the
    /// subscriptions stand again, at the latest after the time a call may take.
    pub(crate) on_reconnect: Arc<dyn Fn() + Send + Sync>,
}

/// The way to the server. Clones share it; with the last of them it is closed.
#[derive(Clone)]
pub(crate) struct Driver {
    inner: Arc<Inner>,
}

struct Inner {
    place: Place,
    spread: Spread,
    /// How long a call may take.
    patience: Duration,
    runtime: Handle,
    lines: Vec<Line>,
    next: AtomicUsize,
    scripts: Vec<Loaded>,
    /// Rises with each connection for calls that is lost.
    lost: Arc<AtomicU64>,
    channels: Arc<watch::Sender<Channels>>,
    /// Set to stop; dropped, it does too.
    stop: watch::Sender<bool>,
    /// Its sender lives on the thread: it closes when the thread is about to end, however that came.
    ended: watch::Receiver<()>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Driver {
    /// Connects, looks whether the server is fit for us, and loads the scripts.
    ///
    /// # Errors
    /// *Unavailable*: the server can't be reached within the connect timeout, or refuses the user. *Incompatible*: it is too
    /// old, or evicts keys. *Invalid*: it has no such database. *Corrupt*: it can't compile a script.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub(crate) async fn connect(
        options: &RedisOptions,
        scripts: Arc<[Script]>,
        hooks: Hooks,
    ) -> Result<Self, StorageError> {
        let place = Place::new(&options.location());
        let (stop, stopping) = watch::channel(false);
        let (alive, ended) = watch::channel(());
        let channels = Arc::new(watch::Sender::new(Channels::default()));
        let lost = Arc::new(AtomicU64::new(0));
        let plan = thread::Plan {
            options: options.clone(),
            place: place.clone(),
            scripts,
            hooks,
            channels: Arc::clone(&channels),
            lost: Arc::clone(&lost),
            stop: stopping,
        };
        let (thread, opening) = thread::start(plan, alive)?;
        let opened = opening.await.unwrap_or_else(|_| Err(place.closed()))?;
        let spread = match options.address.target {
            Target::Cluster(_) => Spread::Shard,
            _ => Spread::Everywhere,
        };
        let thread::Opened { runtime, lines, scripts } = opened;
        let (next, thread) = (AtomicUsize::new(0), Mutex::new(Some(thread)));
        let patience = options.timeout;
        let inner =
            Inner { place, spread, patience, runtime, lines, next, scripts, lost, channels, stop, ended, thread };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The server's URL, secrets masked.
    pub(crate) fn location(&self) -> &str {
        self.inner.place.location()
    }

    /// Which command sends messages.
    pub(crate) fn spread(&self) -> Spread {
        self.inner.spread
    }

    /// Rises with each connection for calls that is lost: what the server was told before may be gone with it.
    pub(crate) fn era(&self) -> u64 {
        self.inner.lost.load(Ordering::SeqCst)
    }

    /// Runs the script with this number in the set. In a cluster the first of the keys says where.
    ///
    /// # Errors
    /// *Unavailable*: there is no connection (at once), no answer within the timeout, or a refusal that may pass. If the
    /// answer was lost the script may have run; it is not run again. *Corrupt*: the script failed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the call to be carried out, or not, at the latest by its timeout.
    pub(crate) async fn call(&self, script: usize, keys: Vec<Bytes>, args: Vec<Bytes>) -> Result<Reply, StorageError> {
        let (line, script) = (self.line(), self.inner.scripts[script].clone());
        self.run(async move { line.run(&script, keys, args).await }).await
    }

    /// Runs a plain command, in a cluster where `hash_key` is, or anywhere.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub(crate) async fn command(
        &self,
        name: &'static str,
        hash_key: Option<Bytes>,
        args: Vec<Bytes>,
    ) -> Result<Reply, StorageError> {
        let line = self.line();
        self.run(async move { line.command(name, hash_key.as_deref(), args).await }).await
    }

    /// Wants the messages of a channel from now on. Returns at once; the subscription follows, and again after each
    /// reconnect.
    pub(crate) fn subscribe(&self, channel: String) {
        self.inner.channels.send_if_modified(|channels| channels.wanted.insert(channel));
    }

    /// Wants them no more: the other way round, and as soon.
    pub(crate) fn unsubscribe(&self, channel: &str) {
        self.inner.channels.send_if_modified(|channels| channels.wanted.remove(channel));
    }

    /// Waits until the subscription to a channel stands.
    ///
    /// # Errors
    /// *Unavailable*: it does not within the time that a call may take, or the driver is closed.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait and changes nothing.
    pub(crate) async fn subscribed_in_time(&self, channel: String) -> Result<(), StorageError> {
        let (mut changes, place, patience) =
            (self.inner.channels.subscribe(), self.inner.place.clone(), self.inner.patience);
        self.run(async move {
            let settled = |channels: &Channels| channels.closed || channels.standing.contains(&channel);
            match timeout(patience, changes.wait_for(settled)).await {
                Ok(Ok(channels)) if !channels.closed => Ok(()),
                Ok(_) => Err(place.closed()),
                Err(_) => Err(place.slow(patience)),
            }
        })
        .await
    }

    /// Waits until the subscription to a channel stands, or the driver is closed.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait and changes nothing.
    pub(crate) async fn subscribed(&self, channel: &str) {
        let settled = |channels: &Channels| channels.closed || channels.standing.contains(channel);
        // The sender is in `self`.
        let _ = self.inner.channels.subscribe().wait_for(settled).await;
    }

    /// Refuses what comes from now on, waits up to a second for the answers that are still to come, says goodbye to the
    /// server, and waits for the thread's end. A second call waits as well.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the closing to go on.
    pub(crate) async fn close(&self) {
        self.inner.stop.send_replace(true);
        let mut ended = self.inner.ended.clone();
        // Only ever closed, never sent to.
        while ended.changed().await.is_ok() {}
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It has nothing left to do but to end, so that this does not block; it does not panic.
        let _ = thread.map(std::thread::JoinHandle::join);
    }

    /// Does some work on the driver's thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StorageError>> + Send + 'static,
    ) -> Result<T, StorageError> {
        if *self.inner.stop.borrow() {
            return Err(self.inner.place.closed());
        }
        // A task that did not finish was there when the driver closed.
        self.inner.runtime.spawn(work).await.unwrap_or_else(|_| Err(self.inner.place.closed()))
    }

    /// Does something on the driver's thread, until it is done, aborted, or the driver closed.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.inner.runtime.spawn(work).abort_handle()
    }

    fn line(&self) -> Line {
        let turn = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.inner.lines[turn % self.inner.lines.len()].clone()
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Driver").field(&self.location()).finish()
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
