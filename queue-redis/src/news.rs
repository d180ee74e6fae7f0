//! News: one channel for all of a namespace, and a mark in each shard while anyone hears it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::Shard;
use queue_storage::storage::{Heard, Hub, StorageError, Watch};
use tokio::select;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::link::Link;
use crate::scripts::Step;

/// How soon a shard is marked that was not, as a call was lost, say.
const LOOK: Duration = Duration::from_secs(1);
/// After how many looks all shards are marked again: three times as often as the marks need.
const ROUND: u32 = 10;
/// For how long it is said that someone watches: as long as a mark lasts.
const LASTS: &str = "30000";

/// Who watches in this process, and what the server was told of it.
#[derive(Debug)]
pub(crate) struct News {
    link: Arc<Link>,
    hub: Hub,
    /// Told when the server may have lost the marks.
    doubts: Arc<Notify>,
    /// Locked for a change at a time and never across an await.
    watching: Mutex<Watching>,
}

#[derive(Debug, Default)]
struct Watching {
    count: usize,
    marker: Option<AbortHandle>,
}

impl News {
    pub(crate) fn new(link: Arc<Link>, hub: Hub) -> Arc<Self> {
        Arc::new(Self { link, hub, doubts: Arc::default(), watching: Mutex::default() })
    }

    pub(crate) async fn watch(self: &Arc<Self>) -> Result<Watch, StorageError> {
        let watch = self.hub.watch()?.holding(self.join());
        self.mark(&mut HashSet::new()).await?;
        self.link.driver().subscribe(self.channel());
        self.link.driver().subscribed_in_time(self.channel()).await?;
        Ok(watch)
    }

    pub(crate) async fn announce(&self, news: Bytes) -> Result<(), StorageError> {
        self.link.speak(self.channel().into(), news).await
    }

    /// A connection has come back: news may have been missed, and the marks may be gone.
    pub(crate) fn returned(&self) {
        self.hub.announce(Heard::Missed);
        self.doubts.notify_one();
    }

    fn channel(&self) -> String {
        self.link.keys.news()
    }

    fn watching<T>(&self, change: impl FnOnce(&mut Watching) -> T) -> T {
        change(&mut self.watching.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One watch more.
    fn join(self: &Arc<Self>) -> Held {
        self.watching(|all| {
            all.count += 1;
            all.marker.get_or_insert_with(|| {
                let marking = keep_marked(Arc::downgrade(self), Arc::clone(&self.doubts));
                self.link.driver().spawn(marking)
            });
        });
        Held(Arc::downgrade(self))
    }

    /// One watch less. The marks of the last lapse by themselves: another process may need them.
    fn leave(&self) {
        self.watching(|all| {
            all.count -= 1;
            if all.count == 0 {
                // Under the lock, so that whoever joins subscribes after it.
                self.link.driver().unsubscribe(&self.channel());
                if let Some(marker) = all.marker.take() {
                    marker.abort();
                }
            }
        });
    }

    /// Marks the shards that are not `marked`, all that let it; fails if any did not.
    async fn mark(&self, marked: &mut HashSet<Shard>) -> Result<(), StorageError> {
        let mut failed = Ok(());
        if marked.is_empty() {
            let said = vec!["SET".into(), "1".into(), "PX".into(), LASTS.into()];
            self.link.write(self.link.keys.watch(), said).await?;
        }
        for shard in self.link.shards().await? {
            if marked.contains(&shard) {
                continue;
            }
            match self.link.call(Step::Watch, &shard, self.link.args(0)).await {
                Ok(_) => drop(marked.insert(shard)),
                Err(error) => failed = Err(error),
            }
        }
        failed
    }
}

/// Marks each shard again long before its mark lapses, and new ones soon, until it is stopped or nobody has the storage.
async fn keep_marked(all: Weak<News>, doubts: Arc<Notify>) {
    let (mut marked, mut looks) = (HashSet::new(), 0_u32);
    loop {
        select! {
            () = sleep(LOOK) => {}
            () = doubts.notified() => looks = 0,
        }
        let Some(news) = all.upgrade() else { return };
        // By a clock that is moved in tests a mark may have lapsed at any moment.
        if looks.is_multiple_of(ROUND) || news.link.has_own_clock() {
            marked.clear();
        }
        // What was not marked is at the next look.
        drop(news.mark(&mut marked).await);
        looks += 1;
    }
}

/// A watch's place among those who watch.
#[derive(Debug)]
struct Held(Weak<News>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(news) = self.0.upgrade() {
            news.leave();
        }
    }
}
