//! Hearing of what others did: one channel for each shard that anyone in this process listens to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{CallerId, JobId, Shard, WorkerId};
use queue_storage::storage::{self, Hub, Listener, StorageError, Topic};

use crate::link::{Link, id_bytes};
use crate::news::News;
use crate::scripts::Step;

/// How soon a shard that could not be told who waits is told again.
const AGAIN: Duration = Duration::from_secs(1);

/// The listeners of this process, and what the server was told of them.
#[derive(Debug)]
pub(crate) struct Ears {
    /// What this process is called where it listens.
    name: String,
    heard: Arc<Heard>,
    link: Arc<Link>,
    /// How many listen for what. Locked for a look-up or a change at a time and never across an await.
    listening: Mutex<Listening>,
}

/// What messages are passed on to: made before there is a connection, so that none is lost.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) hub: Hub,
    /// The channel of the news.
    news_channel: String,
    /// The channels listened to, and whether the server is known to send them.
    channels: Mutex<HashMap<String, Channel>>,
    behind: OnceLock<(Weak<Ears>, Weak<News>)>,
}

#[derive(Debug)]
struct Channel {
    shard: Shard,
    stands: bool,
}

#[derive(Debug, Default)]
struct Listening {
    workers: HashMap<(WorkerId, Shard), usize>,
    /// Those who are to hear when a run is to stop.
    stops: HashMap<(WorkerId, Shard), usize>,
    /// Jobs whose end or progress is listened for.
    jobs: HashMap<JobId, usize>,
}

impl Heard {
    pub(crate) fn new(news_channel: String) -> Self {
        Self { hub: Hub::default(), news_channel, channels: Mutex::default(), behind: OnceLock::new() }
    }

    fn channels<T>(&self, look: impl FnOnce(&mut HashMap<String, Channel>) -> T) -> T {
        look(&mut self.channels.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these are told as well when a connection has come back.
    pub(crate) fn follow(&self, ears: &Arc<Ears>, news: &Arc<News>) {
        drop(self.behind.set((Arc::downgrade(ears), Arc::downgrade(news))));
    }

    /// A connection has come back: hints may have been lost, and the server may have forgotten who waits.
    pub(crate) fn returned(&self) {
        let (ears, news) = self.behind.get().map(|(ears, news)| (ears.upgrade(), news.upgrade())).unwrap_or_default();
        if let Some(ears) = ears {
            let jobs = ears.listening(|all| all.jobs.keys().copied().collect());
            ears.tell(jobs);
        }
        if let Some(news) = news {
            news.returned();
        }
        self.hub.signal_all();
    }

    /// Passes a message on: news as they are; else `w` or `c` and a worker, or `j` or `p` and a job.
    pub(crate) fn message(&self, channel: &str, message: Bytes) {
        if channel == self.news_channel {
            return self.hub.announce(storage::Heard::News(message));
        }
        let Some((kind, id)) = message.split_first() else { return };
        let Ok(id) = <[u8; 16]>::try_from(id).map(u128::from_be_bytes) else { return };
        match kind {
            b'w' => {
                if let Some(shard) = self.channels(|all| all.get(channel).map(|one| one.shard.clone())) {
                    self.hub.signal_worker(WorkerId::from_u128(id), &shard);
                }
            }
            b'c' => self.hub.signal_stop(WorkerId::from_u128(id)),
            b'j' => self.hub.signal_job(JobId::from_u128(id)),
            b'p' => self.hub.signal_progress(JobId::from_u128(id)),
            _ => {}
        }
    }
}

impl Ears {
    pub(crate) fn new(link: Arc<Link>, heard: Arc<Heard>) -> Arc<Self> {
        Arc::new(Self { name: CallerId::generate().to_string(), heard, link, listening: Mutex::default() })
    }

    /// What this process is called where it listens.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn listening<T>(&self, look: impl FnOnce(&mut Listening) -> T) -> T {
        look(&mut self.listening.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// By which ear a worker can be woken; empty if it does not listen, or not yet.
    pub(crate) fn of(&self, worker: WorkerId, shard: &Shard) -> Bytes {
        let listens = self.listening(|all| all.workers.contains_key(&(worker, shard.clone())));
        let channel = self.link.keys_of(shard).channel(&self.name);
        let stands = listens && self.heard.channels(|all| all.get(&channel).is_some_and(|one| one.stands));
        if stands { self.name.clone().into() } else { Bytes::new() }
    }

    pub(crate) fn listen(self: &Arc<Self>, topic: Topic) -> Listener {
        let listener = self.heard.hub.listen(topic.clone());
        match &topic {
            Topic::Worker(worker, shard) => {
                self.listening(|all| *all.workers.entry((*worker, shard.clone())).or_default() += 1);
                self.open(shard);
            }
            Topic::Stop(worker, shard) => {
                self.listening(|all| *all.stops.entry((*worker, shard.clone())).or_default() += 1);
                self.open(shard);
            }
            Topic::Job(id) | Topic::Progress(id) => {
                self.listening(|all| *all.jobs.entry(*id).or_default() += 1);
                self.tell(vec![*id]);
            }
            _ => {}
        }
        listener.holding(Held { ears: Arc::downgrade(self), topic })
    }

    /// Listens to a shard. Whoever looked before the server sends what happens there is told to look again.
    fn open(self: &Arc<Self>, shard: &Shard) -> String {
        let channel = self.link.keys_of(shard).channel(&self.name);
        let is_new = self.heard.channels(|all| {
            let known = all.contains_key(&channel);
            all.entry(channel.clone()).or_insert_with(|| Channel { shard: shard.clone(), stands: false });
            !known
        });
        if is_new {
            self.link.driver().subscribe(channel.clone());
            let (ears, shard, channel) = (Arc::clone(self), shard.clone(), channel.clone());
            self.link.driver().spawn(async move {
                ears.link.driver().subscribed(&channel).await;
                ears.heard.channels(|all| {
                    if let Some(one) = all.get_mut(&channel) {
                        one.stands = true;
                    }
                });
                ears.heard.hub.signal_shard(&shard);
                let stops: Vec<_> = ears.listening(|all| all.stops.keys().cloned().collect());
                for (worker, _) in stops.into_iter().filter(|(_, of)| *of == shard) {
                    ears.heard.hub.signal_stop(worker);
                }
            });
        }
        channel
    }

    /// Tells the server that this process waits for these jobs, as long as it does and nobody closes the storage.
    fn tell(self: &Arc<Self>, jobs: Vec<JobId>) {
        let ears = Arc::downgrade(self);
        self.link.driver().spawn(async move {
            for id in jobs {
                while let Some(ears) = ears.upgrade().filter(|ears| ears.waits_for(id)) {
                    if ears.wait_for(id).await.is_ok() {
                        break;
                    }
                    drop(ears);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        });
    }

    fn waits_for(&self, id: JobId) -> bool {
        self.listening(|all| all.jobs.contains_key(&id))
    }

    /// Tells the shards that may be the job's home that this process waits for it.
    async fn wait_for(self: &Arc<Self>, id: JobId) -> Result<(), StorageError> {
        let known = self.link.known_homes(id.home_tag());
        for shard in &known {
            if self.wait_in(shard, id).await? {
                return Ok(());
            }
        }
        for shard in self.link.other_homes(id.home_tag(), &known).await? {
            if self.wait_in(&shard, id).await? {
                return Ok(());
            }
        }
        // It has ended, or nobody knows it.
        self.heard.hub.signal_job(id);
        Ok(())
    }

    /// Whether the job lives in this shard, which knows then who waits for it.
    async fn wait_in(self: &Arc<Self>, shard: &Shard, id: JobId) -> Result<bool, StorageError> {
        let channel = self.open(shard);
        self.link.driver().subscribed(&channel).await;
        let is_live = !self.interest(shard, id, b"+").await?;
        if is_live {
            // What its run told until now may have been missed.
            self.heard.hub.signal_progress(id);
        }
        Ok(is_live)
    }

    async fn interest(&self, shard: &Shard, id: JobId, change: &'static [u8]) -> Result<bool, StorageError> {
        let mut args = self.link.args(3);
        args.extend([id_bytes(id.as_u128()), self.name.clone().into(), Bytes::from_static(change)]);
        Ok(self.link.call(Step::Listen, shard, args).await?.int() == Some(1))
    }

    /// One listener less.
    fn leave(self: &Arc<Self>, topic: &Topic) {
        let last = self.listening(|all| match topic {
            Topic::Worker(worker, shard) => one_less(&mut all.workers, &(*worker, shard.clone())),
            Topic::Stop(worker, shard) => one_less(&mut all.stops, &(*worker, shard.clone())),
            Topic::Job(id) | Topic::Progress(id) => one_less(&mut all.jobs, id),
            _ => false,
        });
        if let (true, &(Topic::Job(id) | Topic::Progress(id))) = (last, topic) {
            let ears = Arc::clone(self);
            self.link.driver().spawn(async move {
                let mut homes = ears.link.known_homes(id.home_tag());
                if homes.is_empty() {
                    homes = ears.link.other_homes(id.home_tag(), &[]).await.unwrap_or_default();
                }
                for shard in homes {
                    if !ears.waits_for(id) {
                        // What stays behind is told once for nothing, and goes with the job.
                        drop(ears.interest(&shard, id, b"-").await);
                    }
                }
            });
        }
    }
}

/// Whether that was the last.
fn one_less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) -> bool {
    let Some(count) = counts.get_mut(key) else { return false };
    *count -= 1;
    if *count == 0 {
        counts.remove(key);
        return true;
    }
    false
}

/// A listener's place among those listening.
#[derive(Debug)]
struct Held {
    ears: Weak<Ears>,
    topic: Topic,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ears) = self.ears.upgrade() {
            ears.leave(&self.topic);
        }
    }
}
