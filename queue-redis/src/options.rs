//! Where the server is and how it is spoken to.

mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use queue_storage::clock::Clock;
use queue_storage::model::Namespace;
use queue_storage::storage::StorageError;

use crate::RedisStorage;

pub(crate) use url::{Address, Host, Target};

/// Options of the Redis storage.
///
/// ```
/// use std::time::Duration;
/// use queue_redis::RedisOptions;
///
/// let options = RedisOptions::from_url("redis://bob:secret@db.example:6379/0?namespace=shop")?
///     .connections(2)
///     .timeout(Duration::from_secs(3));
/// assert_eq!(options.location(), "redis://bob:***@db.example:6379/0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    pub(crate) address: Address,
    pub(crate) namespace: Namespace,
    pub(crate) connections: usize,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) allow_eviction: bool,
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

impl RedisOptions {
    /// From a URL:
    ///
    /// | to | write |
    /// |---|---|
    /// | one server | `redis://host:6379/0` |
    /// | with a user | `redis://user:password@host`, `redis://:password@host` |
    /// | by TLS | `rediss://host`, with the cargo feature `tls` |
    /// | a Unix socket | `redis+unix:///path/to/redis.sock?db=0`, `redis+unix://user:password@/path/to/redis.sock` |
    /// | a cluster | `redis-cluster://host1:6379,host2:6379`, `rediss-cluster://host1` |
    /// | sentinels | `redis-sentinel://host1:26379,host2:26379/0?service=mymaster`, `rediss-sentinel://…` |
    ///
    /// The port is 6379 (26379 of sentinels) and the database 0 if left out. Of a cluster and of sentinels any one that
    /// answers is enough, and more are better. The user and password of a sentinel URL are the server's; the sentinels' own
    /// are `&sentinelUsername=…&sentinelPassword=…`. `valkey` may stand for `redis`.
    ///
    /// Each of them may have `?namespace=shop`. `%40`, `%2F` and the like stand for the characters they encode, which a
    /// password with `/`, `?`, `#` or `%` in it needs.
    ///
    /// # Errors
    /// *Invalid*: another scheme, no host, something that is no port or database, an unknown parameter, or TLS without the
    /// feature. The message masks the password.
    ///
    /// ```
    /// use queue_redis::RedisOptions;
    /// let error = RedisOptions::from_url("redis-sentinel://bob:secret@a,b").unwrap_err();
    /// let told = "`redis-sentinel://***@a,b` can't name a Redis: it does not say which service the sentinels watch";
    /// assert!(error.to_string().starts_with(told));
    /// ```
    pub fn from_url(url: &str) -> Result<Self, StorageError> {
        let address = Address::parse(url)?;
        if address.tls && cfg!(not(feature = "tls")) {
            return Err(StorageError::invalid(format!(
                "{address} can't be used: TLS was left out of this program; enable the feature `redis-tls` of \
                 `queue-jobs`, or write `redis` for `rediss`"
            )));
        }
        Ok(Self {
            namespace: address.namespace.clone().unwrap_or_default(),
            address,
            connections: 1,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            backoff: (Duration::from_millis(50), Duration::from_secs(2)),
            allow_eviction: false,
            clock: None,
        })
    }

    /// Keeps applications that share the server apart. Default `queue`, or what the URL says.
    #[must_use]
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    /// The user to log in as. Default what the URL says.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.address.username = Some(username.into());
        self
    }

    /// The password to log in with. Default what the URL says.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.address.password = Some(password.into());
        self
    }

    /// The number of the database. Default 0, or what the URL says; a cluster has no other.
    #[must_use]
    pub fn database(mut self, database: u8) -> Self {
        self.address.database = database;
        self
    }

    /// How many connections share the calls; at least 1. Default 1: calls are pipelined, so that one is enough until a
    /// core is busy with it. One more receives messages.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// How long a call waits for its answer before it is unavailable and its connection replaced. Default 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long connecting may take, with all that is asked of the server then. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long to wait between attempts to connect again: from `min`, doubled each time up to `max`, each of them
    /// shortened by up to a half at random. It goes on for ever. Default 50 ms and 2 s.
    #[must_use]
    pub fn reconnect_backoff(mut self, min: Duration, max: Duration) -> Self {
        let min = min.max(Duration::from_millis(1));
        self.backoff = (min, max.max(min));
        self
    }

    /// Whether a server that may evict keys when its memory is full is accepted, with a warning, instead of refused.
    /// Evicted jobs are lost without a trace: set `maxmemory-policy noeviction` instead. Default false.
    #[must_use]
    pub fn allow_eviction(mut self, allow: bool) -> Self {
        self.allow_eviction = allow;
        self
    }

    /// A clock in place of the server's, for tests: every storage of a namespace must have the same.
    #[doc(hidden)]
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Connects, and looks whether the server is fit: its version, its memory policy, its scripting, and the layout of what
    /// is there already.
    ///
    /// # Errors
    /// *Unavailable*: the server can't be reached within the connect timeout, or refuses the user. *Incompatible*: it is too
    /// old, may evict keys, or holds another layout. *Invalid*: it has no such database.
    ///
    /// # Cancel safety
    /// Dropping the future lets go of the connections again.
    pub async fn connect(self) -> Result<RedisStorage, StorageError> {
        // Boxed: the client library's futures are large, and so deep that a caller's would pass the compiler's limit.
        Box::pin(RedisStorage::open(self)).await
    }

    /// The URL in full and with secrets masked: `redis://bob:***@db:6379/0`.
    #[must_use]
    pub fn location(&self) -> String {
        self.address.to_string()
    }
}

/// Never shows a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("location", &self.location())
            .field("namespace", &self.namespace)
            .field("connections", &self.connections)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("reconnect_backoff", &self.backoff)
            .field("allow_eviction", &self.allow_eviction)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_overrides_the_url() {
        let options = RedisOptions::from_url("redis://db/1?namespace=shop").unwrap();
        assert_eq!(options.namespace.as_str(), "shop");
        let options = options.namespace("mail".parse().unwrap()).username("bob").password("hush").database(2);
        assert_eq!((options.namespace.as_str(), options.location().as_str()), ("mail", "redis://bob:***@db:6379/2"));
        let options = options.connections(0).reconnect_backoff(Duration::from_secs(3), Duration::from_secs(1));
        assert_eq!((options.connections, options.backoff), (1, (Duration::from_secs(3), Duration::from_secs(3))));
    }

    #[test]
    fn debug_keeps_secrets() {
        let url = "redis-sentinel://bob:hush@a?service=s&sentinelPassword=psst";
        let shown = format!("{:?}", RedisOptions::from_url(url).unwrap());
        assert!(shown.contains("bob:***@a") && !shown.contains("hush") && !shown.contains("psst"), "{shown}");
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn tls_needs_its_feature() {
        let error = RedisOptions::from_url("rediss://bob:hush@db").unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains("the feature `redis-tls` of `queue-jobs`"), "{error}");
    }
}
