//! Where the file is and how it is treated.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use queue_storage::clock::{Clock, SystemClock};
use queue_storage::model::Namespace;
use queue_storage::storage::StorageError;

use crate::SqliteStorage;

/// When a call's answer is safe from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// An answered call survives the death of any process at any instant. A power cut or a crash of the operating
    /// system may take the last calls answered, and never damages the file.
    #[default]
    Normal,
    /// An answered call survives a power cut too: each group of calls waits for the disk once.
    Full,
}

/// Options of a [`SqliteStorage`].
///
/// ```
/// use queue_sqlite::{SqliteOptions, Synchronous};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("jobs.db");
/// let storage = SqliteOptions::new(path)
///     .namespace("shop".parse()?)
///     .synchronous(Synchronous::Full)
///     .open()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub(crate) path: PathBuf,
    pub(crate) namespace: Namespace,
    pub(crate) synchronous: Synchronous,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) busy_timeout: Duration,
    pub(crate) create: bool,
    pub(crate) cache_kib: u32,
    pub(crate) checkpoint_pages: u32,
    pub(crate) vfs: Option<String>,
}

/// The query parameters a URL may have.
const PARAMETERS: &str = "`namespace` (a name) and `synchronous` (`normal` or `full`)";

impl SqliteOptions {
    /// The defaults for the file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            namespace: Namespace::default(),
            synchronous: Synchronous::default(),
            clock: Arc::new(SystemClock),
            busy_timeout: Duration::from_secs(30),
            create: true,
            cache_kib: 32 * 1024,
            checkpoint_pages: 4_000,
            vfs: None,
        }
    }

    /// From a URL: `sqlite://jobs.db` beside the working directory, `sqlite:///var/lib/jobs.db` for an absolute path, with
    /// `?namespace=shop&synchronous=full` behind it. `%20` and the like stand for the characters they encode.
    ///
    /// # Errors
    /// *Invalid*: another scheme, no path, `:memory:`, an unknown parameter or a value it does not take.
    ///
    /// ```
    /// use queue_sqlite::SqliteOptions;
    /// let error = SqliteOptions::from_url("sqlite://jobs.db?sync=full").unwrap_err();
    /// assert!(error.to_string().contains("`namespace` (a name) and `synchronous` (`normal` or `full`)"));
    /// ```
    pub fn from_url(url: &str) -> Result<Self, StorageError> {
        let refuse = |why: String| Err(StorageError::invalid(format!("`{url}` can't name a SQLite file: {why}")));
        let Some(rest) = url.strip_prefix("sqlite:") else {
            return refuse("it does not begin with `sqlite://`".into());
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let Some(path) = decode(path) else {
            return refuse("a `%` in its path is not followed by two hexadecimal digits of UTF-8".into());
        };
        match path.as_str() {
            "" => return refuse("it has no path; write `sqlite://jobs.db` or `sqlite:///absolute/jobs.db`".into()),
            ":memory:" => {
                return refuse("jobs in SQLite's memory would be lost with the process; use `memory:` for that".into());
            }
            _ => {}
        }
        let mut options = Self::new(path);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(value) = decode(value) else {
                return refuse(format!("the value of `{name}` has a `%` without two hexadecimal digits"));
            };
            match (name, value.as_str()) {
                ("namespace", value) => match value.parse() {
                    Ok(namespace) => options.namespace = namespace,
                    Err(error) => return refuse(error.to_string()),
                },
                ("synchronous", "normal") => options.synchronous = Synchronous::Normal,
                ("synchronous", "full") => options.synchronous = Synchronous::Full,
                ("synchronous", other) => {
                    return refuse(format!("`synchronous` is `normal` or `full`, not `{other}`"));
                }
                (unknown, _) => return refuse(format!("it has no parameter `{unknown}`; there are {PARAMETERS}")),
            }
        }
        Ok(options)
    }

    /// Keeps applications that share the file apart. Default `queue`.
    #[must_use]
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    /// When an answer is safe from what. Default [`Synchronous::Normal`].
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// Where the time is read. Default the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long calls wait for another program that keeps the file locked before they are answered as unavailable.
    /// Other users of this library hold the lock for milliseconds. Default 30 s.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Whether a file that does not exist is created. Default true; its folder never is.
    #[must_use]
    pub fn create_if_missing(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// The memory each of the two connections may use to cache the file, in KiB. Default 32 MiB.
    #[must_use]
    pub fn cache_kib(mut self, kib: u32) -> Self {
        self.cache_kib = kib;
        self
    }

    /// After how many pages of 4 KiB the write-ahead log is copied back into the file. Default 4,000 (16 MB): fewer make
    /// the log smaller and writing slower.
    #[must_use]
    pub fn checkpoint_pages(mut self, pages: u32) -> Self {
        self.checkpoint_pages = pages.max(1);
        self
    }

    /// The SQLite VFS that opens the file, registered before by its name; for tests that make files fail. Default
    /// SQLite's own.
    #[must_use]
    pub fn vfs(mut self, name: impl Into<String>) -> Self {
        self.vfs = Some(name.into());
        self
    }

    /// Opens the file, creating or migrating it if need be.
    ///
    /// # Errors
    /// *Invalid*: the folder does not exist, the path is a folder, the file is not SQLite's. *Unavailable*: access is
    /// denied or the disk fails. *Incompatible*: a newer version of this library wrote it; it is left untouched.
    /// *Corrupt*.
    ///
    /// # Cancel safety
    /// Dropping the future lets go of the file again.
    pub async fn open(self) -> Result<SqliteStorage, StorageError> {
        SqliteStorage::start(self).await
    }
}

/// Resolves `%xx`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_files() {
        let options = SqliteOptions::from_url("sqlite://my%20jobs.db?namespace=shop&synchronous=full").unwrap();
        assert_eq!(options.path, PathBuf::from("my jobs.db"));
        assert_eq!((options.namespace.as_str(), options.synchronous), ("shop", Synchronous::Full));
        let absolute = SqliteOptions::from_url("sqlite:///var/lib/jobs.db").unwrap();
        assert_eq!(absolute.path, PathBuf::from("/var/lib/jobs.db"));
        assert_eq!(absolute.synchronous, Synchronous::Normal);
    }

    #[test]
    fn wrong_urls_say_why() {
        let cases = [
            ("redis://x", "does not begin with `sqlite://`"),
            ("sqlite://", "it has no path"),
            ("sqlite::memory:", "use `memory:`"),
            ("sqlite://a.db?mode=ro", "no parameter `mode`; there are `namespace` (a name) and `synchronous`"),
            ("sqlite://a.db?synchronous=off", "`normal` or `full`, not `off`"),
            ("sqlite://a.db?namespace=a%20b", "can't name a namespace"),
            ("sqlite://a%2.db", "two hexadecimal digits"),
        ];
        for (url, why) in cases {
            let error = SqliteOptions::from_url(url).unwrap_err();
            assert!(error.is_invalid() && error.to_string().contains(why), "{error}");
        }
    }
}
