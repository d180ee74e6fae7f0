//! Hints that something may have changed. They may be lost and may come for nothing: whoever gets one looks, and looks
//! now and then without one.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};

use super::StorageError;
use crate::model::{JobId, Shard, WorkerId};

/// What a listener wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Topic {
    /// A job became ready for this worker in this shard, or is due sooner than it was told.
    Worker(WorkerId, Shard),
    /// This job ended, or may have changed otherwise: a storage must tell of ends and may tell of more.
    Job(JobId),
    /// A job that this worker runs in this shard was asked to stop: it should renew its leases now.
    Stop(WorkerId, Shard),
    /// This job's run told how far it got, or the job ended.
    Progress(JobId),
}

/// Tells listeners that a look is worth while, and carries news from process to process.
#[async_trait]
pub trait Notify: Send + Sync {
    /// Listens from now on, until the listener is dropped. Infallible and at once: a storage that must ask for it does
    /// so behind it, and signals the listener whenever hints may have been lost (after a reconnect, say).
    fn listen(&self, topic: Topic) -> Listener;

    /// Hears all that is [announced](Self::announce) in the storage's namespace, by whatever process, until the watch is
    /// dropped. Once this returns nothing that is announced is missed without being told so, and every shard of which a
    /// process hears by an exchange or an enqueue call [is watched](Self::is_watched) there, such as come to be only then
    /// among them.
    ///
    /// # Errors
    /// *Unavailable*.
    async fn watch(&self) -> Result<Watch, StorageError>;

    /// Whether anyone, in whatever process, watched when this process last had the answer to an exchange or an enqueue
    /// call of this shard: so that nothing is announced to nobody. No call of its own; false before there was one. It may go on for
    /// half a minute after the last watch has gone.
    fn is_watched(&self, shard: &Shard) -> bool;

    /// Tells whoever watches, those of this process among them, in the order of the calls of one caller. News are opaque, are not
    /// kept for those who come later, and are lost with the process that was to tell them. Nothing to do while nobody
    /// watches.
    ///
    /// # Errors
    /// *Invalid*: more than [`MAX_NEWS_BYTES`]. *Unavailable*: they may have been told or not.
    async fn announce(&self, news: Bytes) -> Result<(), StorageError>;
}

/// The most bytes of one announcement.
pub const MAX_NEWS_BYTES: usize = 256 * 1024;

/// How many announcements are kept for a watch that does not take them.
const KEPT_NEWS: usize = 1_024;

/// Refuses an announcement that is too large; every storage asks this first.
///
/// # Errors
/// *Invalid*.
pub fn check_news(news: &Bytes) -> Result<(), StorageError> {
    match news.len() {
        bytes if bytes > MAX_NEWS_BYTES => {
            Err(StorageError::invalid(format!("{bytes} bytes in one announcement; the most is {MAX_NEWS_BYTES}")))
        }
        _ => Ok(()),
    }
}

/// What a [`Watch`] hears.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// An announcement.
    News(Bytes),
    /// Some announcements may have been missed: a connection was lost, or they came faster than they were taken.
    Missed,
}

/// Hears what is announced.
#[derive(Debug)]
pub struct Watch {
    news: broadcast::Receiver<Heard>,
    _counted: Counted,
    /// Dropped with the watch, so that a storage can stop whatever it does for it.
    _hold: Option<Box<dyn Hold>>,
}

impl Watch {
    /// What comes next; `None` once the storage is closed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.news.recv().await {
            Ok(heard) => Some(heard),
            Err(RecvError::Lagged(_)) => Some(Heard::Missed),
            Err(RecvError::Closed) => None,
        }
    }

    /// The same watch, which drops `hold` when it is dropped.
    #[must_use]
    pub fn holding(mut self, hold: impl Hold + 'static) -> Self {
        self._hold = Some(Box::new(hold));
        self
    }
}

/// One who listens. Signals that come while nobody waits are kept as one.
#[derive(Debug)]
pub struct Listener {
    ear: Arc<Ear>,
    /// Dropped with the listener, so that a storage can stop whatever it does for it.
    _hold: Option<Box<dyn Hold>>,
}

/// Something that is let go of together with a listener.
pub trait Hold: fmt::Debug + Send + Sync {}
impl<T: fmt::Debug + Send + Sync> Hold for T {}

#[derive(Debug)]
struct Ear {
    topic: Topic,
    signal: tokio::sync::Notify,
}

impl Listener {
    /// Waits for the next hint.
    ///
    /// # Cancel safety
    /// Dropping the future loses no hint.
    pub async fn changed(&self) {
        self.ear.signal.notified().await;
    }

    /// The same listener, which drops `hold` when it is dropped.
    #[must_use]
    pub fn holding(mut self, hold: impl Hold + 'static) -> Self {
        self._hold = Some(Box::new(hold));
        self
    }
}

/// Brings hints and news to the listeners of this process: the part of [`Notify`] that every storage shares.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    /// Weak, so that a dropped listener needs no farewell; swept when a topic is next touched.
    /// Locked for a look-up or an insertion at a time and never across an await.
    ears: Arc<Mutex<HashMap<Key, Vec<Weak<Ear>>>>>,
    news: News,
}

/// Where announcements pass.
#[derive(Clone, Debug)]
struct News {
    to: Arc<Mutex<Option<broadcast::Sender<Heard>>>>,
    /// How many watch: it is asked for each job.
    watches: Arc<AtomicUsize>,
}

impl Default for News {
    fn default() -> Self {
        Self { to: Arc::new(Mutex::new(Some(broadcast::Sender::new(KEPT_NEWS)))), watches: Arc::default() }
    }
}

impl News {
    fn with<T>(&self, act: impl FnOnce(&mut Option<broadcast::Sender<Heard>>) -> T) -> T {
        act(&mut self.to.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A watch, counted until it is dropped.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn of(watches: &Arc<AtomicUsize>) -> Self {
        watches.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(watches))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Workers are told by shard: whoever serves it may run the job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Shard(Shard),
    Job(JobId),
    Stop(WorkerId),
    Progress(JobId),
}

impl Topic {
    fn key(&self) -> Key {
        match self {
            Self::Worker(_, shard) => Key::Shard(shard.clone()),
            Self::Job(id) => Key::Job(*id),
            Self::Stop(worker, _) => Key::Stop(*worker),
            Self::Progress(id) => Key::Progress(*id),
        }
    }
}

impl Hub {
    /// A listener for `topic`.
    #[must_use]
    pub fn listen(&self, topic: Topic) -> Listener {
        let key = topic.key();
        let ear = Arc::new(Ear { topic, signal: tokio::sync::Notify::new() });
        let mut ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        if ears.len() > 1_024 && ears.len().is_power_of_two() {
            ears.retain(|_, listening| listening.iter().any(|ear| ear.strong_count() > 0));
        }
        let listening = ears.entry(key).or_default();
        listening.retain(|ear| ear.strong_count() > 0);
        listening.push(Arc::downgrade(&ear));
        Listener { ear, _hold: None }
    }

    /// Tells every worker that listens for the shard.
    pub fn signal_shard(&self, shard: &Shard) {
        self.signal(&Key::Shard(shard.clone()));
    }

    /// Tells everyone who listens for the job's end, or for how far it got.
    pub fn signal_job(&self, id: JobId) {
        self.signal(&Key::Job(id));
        self.signal(&Key::Progress(id));
    }

    /// Tells everyone who listens for how far the job got.
    pub fn signal_progress(&self, id: JobId) {
        self.signal(&Key::Progress(id));
    }

    /// Tells a worker that it should renew its leases now.
    pub fn signal_stop(&self, worker: WorkerId) {
        self.signal(&Key::Stop(worker));
    }

    /// Tells one worker that listens for the shard.
    pub fn signal_worker(&self, worker: WorkerId, shard: &Shard) {
        let topic = Topic::Worker(worker, shard.clone());
        let ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        let listening = ears.get(&topic.key()).into_iter().flatten().filter_map(Weak::upgrade);
        listening.filter(|ear| ear.topic == topic).for_each(|ear| ear.signal.notify_one());
    }

    /// A watch on what is announced in this process.
    ///
    /// # Errors
    /// *Unavailable*: the storage is closed.
    pub fn watch(&self) -> Result<Watch, StorageError> {
        let news = self.news.with(|news| news.as_ref().map(broadcast::Sender::subscribe));
        let watch = |news| Watch { news, _counted: Counted::of(&self.news.watches), _hold: None };
        news.map(watch).ok_or_else(|| StorageError::unavailable("the storage is closed"))
    }

    /// Whether anyone in this process watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.news.watches.load(Ordering::Acquire) > 0
    }

    /// Tells everyone in this process who watches.
    pub fn announce(&self, heard: Heard) {
        // Nobody may watch: that is no failure.
        self.news.with(|news| news.as_ref().map(|news| news.send(heard)));
    }

    /// Ends every watch of this process.
    pub fn close_watches(&self) {
        self.news.with(Option::take);
    }

    /// Tells everyone: hints may have been lost, or what changed is not known.
    pub fn signal_all(&self) {
        self.visit(|_| true);
    }

    /// Whether anyone listens at all.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let mut ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        ears.retain(|_, listening| listening.iter().any(|ear| ear.strong_count() > 0));
        ears.is_empty()
    }

    fn visit(&self, chosen: impl Fn(&Ear) -> bool) {
        let ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        for ear in ears.values().flatten().filter_map(Weak::upgrade).filter(|ear| chosen(ear)) {
            ear.signal.notify_one();
        }
    }

    fn signal(&self, key: &Key) {
        let mut ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(listening) = ears.get_mut(key) else {
            return;
        };
        listening.retain(|ear| ear.upgrade().inspect(|ear| ear.signal.notify_one()).is_some());
        if listening.is_empty() {
            ears.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn heard(listener: &Listener) -> bool {
        tokio::time::timeout(Duration::ZERO, listener.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn hints_reach_their_topic_once() {
        let hub = Hub::default();
        let (mail, web) = (Shard::of("mail".parse().unwrap()), Shard::of("web".parse().unwrap()));
        let (a, b) = (WorkerId::generate(), WorkerId::generate());
        let on_mail = hub.listen(Topic::Worker(a, mail.clone()));
        let on_web = hub.listen(Topic::Worker(b, web.clone()));
        let id = JobId::new(&mail);
        let on_job = hub.listen(Topic::Job(id));

        hub.signal_shard(&mail);
        hub.signal_shard(&mail);
        assert!(heard(&on_mail).await && !heard(&on_mail).await);
        assert!(!heard(&on_web).await && !heard(&on_job).await);
        hub.signal_job(id);
        assert!(heard(&on_job).await && !heard(&on_mail).await);
        hub.signal_worker(b, &web);
        assert!(heard(&on_web).await && !heard(&on_mail).await);
        hub.signal_all();
        assert!(heard(&on_mail).await && heard(&on_web).await && heard(&on_job).await);
    }

    #[tokio::test]
    async fn dropped_listeners_leave_nothing() {
        let hub = Hub::default();
        let id = JobId::from_u128(7);
        drop(hub.listen(Topic::Job(id)));
        hub.signal_job(id);
        assert!(hub.is_idle());
        let _kept = hub.listen(Topic::Job(id));
        assert!(!hub.is_idle());
    }
}
