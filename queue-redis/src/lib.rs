//! The queue's storage on Redis or Valkey: sorted sets, one Lua script for each atomic step, nothing polled.
//!
//! An answered call is as durable as the server makes its writes: see `appendfsync` in its configuration.
//!
//! * `options` says where the server is; `driver` is the connection, the only place that knows the client library.
//! * `keys` names every key and what is in it; `record` is a job as bytes, `limits` what of it holds it back
//!   for others, `ties` what ties it to them, `notes` what is noted beside it, `inputs` what it hands on; `scripts` are the atomic steps, in `scripts/*.lua`, each with a header that
//!   tells what it takes, answers and costs. They are put together of parts; those of the exchange stand in
//!   `scripts/exchange/`.
//! * `link` leads to a shard; `ears` hears what others did there, `news` what they announce.
//! * `enqueue`, `claim`, `maintain`, `operate`, `notify` are the five roles of the contract; `act` is
//!   what people do to jobs, `control` what they say of a shard, `schedules` what is due by the clock.

mod act;
mod claim;
mod control;
mod driver;
mod ears;
mod enqueue;
mod error;
mod inputs;
mod keys;
mod layout;
mod limits;
mod link;
mod maintain;
mod news;
mod notes;
mod notify;
mod operate;
mod options;
mod record;
mod schedules;
mod scripts;
mod ties;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use queue_storage::storage::{Storage, StorageError};

use driver::{Driver, Hooks, Script};
use ears::{Ears, Heard};
use keys::Keys;
use link::Link;
use news::News;

pub use options::RedisOptions;
pub use scripts::scripts;

/// A storage on a Redis or Valkey server, a Sentinel group, or a cluster.
///
/// It keeps its connections by itself: when the server goes away, calls are refused as unavailable at once, and work again
/// once it is back. Cloning is not needed: share it by `Arc`.
///
/// ```no_run
/// use queue_redis::RedisStorage;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = RedisStorage::connect("redis://localhost:6379").await?;
/// # Ok(()) }
/// ```
pub struct RedisStorage {
    location: String,
    link: Arc<Link>,
    ears: Arc<Ears>,
    heard: Arc<Heard>,
    news: Arc<News>,
}

impl RedisStorage {
    /// Connects with the usual [options](RedisOptions).
    ///
    /// # Errors
    /// See [`RedisOptions::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future lets go of the connections again.
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        RedisOptions::from_url(url)?.connect().await
    }

    pub(crate) async fn open(options: RedisOptions) -> Result<Self, StorageError> {
        Self::open_as(options, layout::LAYOUT, scripts::set()).await
    }

    /// Connects as a program of this layout with these scripts would.
    async fn open_as(
        options: RedisOptions,
        layout: layout::Layout,
        scripts: Arc<[Script]>,
    ) -> Result<Self, StorageError> {
        let keys = Keys::new(options.namespace.clone());
        let heard = Arc::new(Heard::new(keys.news()));
        let (on_message, on_return) = (Arc::clone(&heard), Arc::clone(&heard));
        let location = options.location();
        let hooks = Hooks {
            on_message: Arc::new(move |channel, message| on_message.message(channel, message)),
            on_reconnect: Arc::new(move || on_return.returned()),
        };
        let driver = Driver::connect(&options, scripts, hooks).await?;
        layout::check(&driver, &keys, layout).await?;
        let link = Arc::new(Link::new(driver, keys, layout, options.clock.clone()));
        let ears = Ears::new(Arc::clone(&link), Arc::clone(&heard));
        let news = News::new(Arc::clone(&link), heard.hub.clone());
        heard.follow(&ears, &news);
        Ok(Self { location, link, ears, heard, news })
    }
}

impl fmt::Debug for RedisStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStorage").field("location", &self.location).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for RedisStorage {
    fn location(&self) -> String {
        self.location.clone()
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.link.shards().await.map(drop)
    }

    async fn close(&self) {
        self.link.driver().close().await;
        self.heard.hub.signal_all();
        self.heard.hub.close_watches();
    }
}
