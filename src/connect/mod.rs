//! From a URL to a client: the only place that knows every storage.

mod env;

use std::fmt;
use std::sync::Arc;

use queue_core::{Client, StorageError};
use queue_storage::memory::MemoryStorage;

/// Connects to the storage that `url` names.
///
/// | URL | storage |
/// |---|---|
/// | `sqlite://jobs.db`, `sqlite:///var/lib/app/jobs.db` | one file, beside the program or at an absolute path (feature `sqlite`) |
/// | `redis://host:6379`, `rediss://user:password@host`, `redis-sentinel://…`, `redis-cluster://…`, `redis+unix://…` | a Redis or Valkey server, a Sentinel group, a cluster (feature `redis`; TLS `redis-tls`) |
/// | `memory:` | this process's memory: a new, empty storage each time |
/// | `immediate:` | memory, and each job runs at once inside `enqueue`, with the tasks of the worker built on the client |
///
/// For settings beyond the URL use a storage's own builder and [`Client::new`].
///
/// # Errors
/// [`ConnectError`]: the URL names no storage this program has, or the storage can't be opened.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue::ConnectError> {
/// let client = queue::connect("memory:").await?;
/// assert_eq!(client.location(), "memory:");
/// let error = queue::connect("postgres://db/jobs").await.unwrap_err();
/// assert!(error.to_string().contains("sqlite://"));
/// let error = queue::connect("jobs.db").await.unwrap_err();
/// assert!(error.to_string().ends_with("did you mean sqlite://jobs.db?"));
/// # Ok(()) }
/// ```
pub async fn connect(url: &str) -> Result<Client, ConnectError> {
    let memory = || Arc::new(MemoryStorage::new());
    let parts = url.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest.trim_start_matches('/')));
    match parts.as_ref().map(|(scheme, rest)| (scheme.as_str(), *rest)) {
        Some(("memory", "")) => Ok(Client::new(memory())),
        Some(("immediate", "")) => Ok(Client::builder(memory()).immediate().build()),
        Some((scheme, _)) if is_redis(scheme) => redis(url).await,
        Some(("sqlite", _)) => sqlite(&format!("sqlite{}", &url["sqlite".len()..])).await,
        _ => Err(ConnectError(Kind::UnknownUrl { url: masked(url) })),
    }
}

/// Connects to the storage that the environment names, so that one program runs on a file where it is written and on Redis
/// where it serves.
///
/// | variable | means | default |
/// |---|---|---|
/// | `QUEUE_URL` | a URL as [`connect`] takes it; wins over all below but `QUEUE_NAMESPACE` | |
/// | `ENVIRONMENT` | `development`: a SQLite file; `production`: Redis | `development` |
/// | `QUEUE_DB` | the path of the file, in development | `queue.db` in the working directory |
/// | `REDIS_HOST` | the host of the server, in production: a name or an address | none: it must be said |
/// | `REDIS_PORT` | its port | 6379 |
/// | `REDIS_DB` | the number of its database | 0 |
/// | `REDIS_USERNAME`, `REDIS_PASSWORD` | who logs in, each as it is, nothing encoded | nobody |
/// | `REDIS_TLS` | `true` for TLS (feature `redis-tls`) | `false` |
/// | `QUEUE_NAMESPACE` | keeps applications apart that share a file or a server, unless the URL names one | `queue` |
///
/// A variable that is empty counts as not set.
///
/// # Errors
/// [`ConnectError`]: everything that is wrong with the variables, or as [`connect`]. An unknown `ENVIRONMENT` is an error,
/// so that a slip in it does not put the jobs of production into a file.
///
/// ```no_run
/// # async fn example() -> Result<(), queue::ConnectError> {
/// let client = queue::connect_from_env().await?;
/// # let _ = client; Ok(()) }
/// ```
pub async fn connect_from_env() -> Result<Client, ConnectError> {
    let url = env::url(|name| std::env::var_os(name)).map_err(|problems| ConnectError(Kind::Environment(problems)))?;
    connect(&url).await
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str) -> Result<Client, ConnectError> {
    let options = queue_sqlite::SqliteOptions::from_url(url)?;
    Ok(Client::new(Arc::new(options.open().await?)))
}

#[cfg(not(feature = "sqlite"))]
#[expect(clippy::unused_async, reason = "the same shape as with the feature")]
async fn sqlite(url: &str) -> Result<Client, ConnectError> {
    Err(ConnectError(Kind::FeatureOff { url: masked(url), feature: "sqlite" }))
}

/// Whether a server of this sort is meant: `redis`, `rediss-cluster`, `valkey+unix` and the like.
fn is_redis(scheme: &str) -> bool {
    let server = scheme.split(['-', '+']).next().unwrap_or_default();
    matches!(server, "redis" | "rediss" | "valkey" | "valkeys")
}

#[cfg(feature = "redis")]
async fn redis(url: &str) -> Result<Client, ConnectError> {
    let options = queue_redis::RedisOptions::from_url(url)?;
    Ok(Client::new(Arc::new(options.connect().await?)))
}

#[cfg(not(feature = "redis"))]
#[expect(clippy::unused_async, reason = "the same shape as with the feature")]
async fn redis(url: &str) -> Result<Client, ConnectError> {
    Err(ConnectError(Kind::FeatureOff { url: masked(url), feature: "redis" }))
}

/// The URL without its password, however it is written, and without what stands behind the `?`: that may be one, too.
fn masked(url: &str) -> String {
    let at = url.rfind('@');
    let open = at.unwrap_or_default();
    let (url, query) = match url[open..].find('?') {
        Some(mark) => (&url[..open + mark], "?***"),
        None => (url, ""),
    };
    let Some(at) = at else { return format!("{url}{query}") };
    match url.split_once("://") {
        Some((scheme, rest)) if rest.len() > url.len() - at => {
            let name = rest[..rest.len() - (url.len() - at)].split([':', '/']).next().unwrap_or_default();
            format!("{scheme}://{name}:***{}{query}", &url[at..])
        }
        _ => format!("***{}{query}", &url[at..]),
    }
}

/// Why there is no client.
pub struct ConnectError(Kind);

#[derive(Debug)]
enum Kind {
    UnknownUrl {
        url: String,
    },
    #[cfg_attr(
        all(feature = "sqlite", feature = "redis"),
        expect(dead_code, reason = "needed when a storage's feature is off")
    )]
    FeatureOff {
        url: String,
        feature: &'static str,
    },
    /// Everything that is wrong with the variables.
    Environment(Vec<String>),
    Storage(StorageError),
}

impl ConnectError {
    /// Whether the URL names no storage this program has.
    #[must_use]
    pub fn is_unknown_url(&self) -> bool {
        matches!(self.0, Kind::UnknownUrl { .. } | Kind::FeatureOff { .. })
    }

    /// What the storage said, if it was asked.
    #[must_use]
    pub fn storage(&self) -> Option<&StorageError> {
        match &self.0 {
            Kind::Storage(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StorageError> for ConnectError {
    fn from(error: StorageError) -> Self {
        Self(Kind::Storage(error))
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::UnknownUrl { url } => {
                let known = "sqlite://jobs.db, sqlite:///absolute/path.db, redis://host:6379, memory: or immediate:";
                write!(f, "`{url}` names no storage: use {known}")?;
                // A path alone was meant as a file.
                if url.contains(':') { Ok(()) } else { write!(f, "; did you mean sqlite://{url}?") }
            }
            Kind::FeatureOff { url, feature } => write!(
                f,
                "`{url}` needs the feature `{feature}`, which this program was built without: add it to the features of \
                 `queue-jobs` in Cargo.toml"
            ),
            Kind::Environment(problems) => match &problems[..] {
                [only] => f.write_str(only),
                several => {
                    write!(f, "the environment does not say where the jobs are, for {} reasons:", several.len())?;
                    several.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
                }
            },
            Kind::Storage(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        queue_storage::debug_as_text("ConnectError", self, f)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Storage(error) => error.source(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a `main` shows it that returns a `BoxError`.
    #[tokio::test]
    async fn main_shows_what_is_wrong() {
        let shown = |error: ConnectError| format!("{:?}", queue_core::BoxError::from(error));
        let text = shown(connect("jobs.db").await.unwrap_err());
        assert!(text.starts_with("ConnectError: `jobs.db` names no storage: use sqlite://jobs.db, "), "{text}");
        assert!(text.ends_with("; did you mean sqlite://jobs.db?"), "{text}");
        let text = shown(connect("postgres://bob:hush@db/jobs").await.unwrap_err());
        assert!(text.contains("postgres://bob:***@db/jobs") && !text.contains("hush"), "{text}");
        let wrong = ["REDIS_PORT is `0`".to_owned(), "REDIS_DB is `-1`".to_owned()].to_vec();
        let text = shown(ConnectError(Kind::Environment(wrong)));
        assert!(text.ends_with(", for 2 reasons:\n  - REDIS_PORT is `0`\n  - REDIS_DB is `-1`"), "{text}");
    }

    #[test]
    fn passwords_are_masked() {
        assert_eq!(masked("redis://bob:secret@db:1/0"), "redis://bob:***@db:1/0");
        assert_eq!(masked("redis://:p@ss@db"), "redis://:***@db");
        assert_eq!(masked("redi://:p/w@db"), "redi://:***@db");
        assert_eq!(masked("redis:bob:secret@db"), "***@db");
        assert_eq!(masked("sqlite://a@b.db"), "sqlite://a:***@b.db");
        assert_eq!(masked("redis://db/0"), "redis://db/0");
        assert_eq!(masked("postgres://db/jobs?password=secret"), "postgres://db/jobs?***");
        assert_eq!(masked("redi://:p?w@db?x=secret"), "redi://:***@db?***");
    }
}
