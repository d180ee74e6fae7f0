//! What can go wrong inside, and what a caller is told of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use queue_storage::model::IllegalMove;
use queue_storage::storage::StorageError;
use rusqlite::ErrorCode;

/// What went wrong in an operation.
#[derive(Debug)]
pub(crate) enum Error {
    /// SQLite refused.
    Sql(rusqlite::Error),
    /// The operation itself is refused, or what is stored contradicts itself.
    Refused(StorageError),
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Self::Refused(error)
    }
}

impl From<IllegalMove> for Error {
    fn from(error: IllegalMove) -> Self {
        Self::Refused(StorageError::corrupt(error.to_string()).because(error))
    }
}

impl Error {
    /// A record that can't be as it is.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Refused(StorageError::corrupt(what))
    }

    /// As the caller is told, who only knows the file.
    pub(crate) fn at(self, file: &Place) -> StorageError {
        match self {
            Self::Refused(error) => error,
            Self::Sql(error) => file.explain(&error),
        }
    }
}

/// Whether SQLite only asks to try again: another process has the lock.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The file, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    path: Arc<PathBuf>,
}

impl Place {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path: Arc::new(path) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `sqlite:` and the path.
    pub(crate) fn location(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    /// The storage was closed, or its thread is gone.
    pub(crate) fn closed(&self) -> StorageError {
        StorageError::unavailable(format!("{} is closed", self.location()))
    }

    /// Another process kept the lock for longer than calls wait.
    pub(crate) fn locked(&self, waited: std::time::Duration) -> StorageError {
        StorageError::unavailable(format!(
            "{} has been locked by another program for {waited:?}: look for an open transaction on it",
            self.location()
        ))
    }

    /// What SQLite said, with what to do about it.
    pub(crate) fn explain(&self, error: &rusqlite::Error) -> StorageError {
        // SQLite's extended code tells a failed read from a failed sync; see <https://sqlite.org/rescode.html>.
        let code = error.sqlite_error().map_or_else(String::new, |sqlite| format!(", code {}", sqlite.extended_code));
        let told = |what: &str| format!("{}: {what} ({error}{code})", self.location());
        let refused = match (error, error.sqlite_error_code()) {
            (_, Some(ErrorCode::DatabaseCorrupt)) => StorageError::corrupt(told(
                "the file is damaged: stop its users, keep a copy, and restore it with `sqlite3 FILE .recover`",
            )),
            (_, Some(ErrorCode::NotADatabase)) => {
                StorageError::invalid(told("this is not an SQLite file: name another, or move it away"))
            }
            (_, Some(ErrorCode::DiskFull)) => StorageError::unavailable(told("the disk is full: make room")),
            (_, Some(ErrorCode::ReadOnly)) => StorageError::unavailable(told(
                "the file or its folder is read-only for this process: grant it write access to both",
            )),
            (_, Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied)) => {
                StorageError::unavailable(told("this process may not open the file: grant it read and write access"))
            }
            (_, Some(ErrorCode::CannotOpen)) => self.why_not_opened(error),
            (_, Some(ErrorCode::SystemIoFailure)) => {
                StorageError::unavailable(told("reading or writing the file failed: check the disk"))
            }
            (_, Some(_)) => StorageError::unavailable(told("SQLite refused")),
            (
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..),
                _,
            ) => StorageError::corrupt(told("a record can't be read")),
            _ => StorageError::unavailable(told("SQLite refused")),
        };
        refused.because(error.to_string())
    }

    /// SQLite says only that it can't open a file; the file system knows more.
    fn why_not_opened(&self, error: &rusqlite::Error) -> StorageError {
        let (path, location) = (self.path(), self.location());
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if path.is_dir() {
            return StorageError::invalid(format!("{location} is a folder: name a file in it"));
        }
        match (folder.try_exists(), path.try_exists()) {
            (Ok(false), _) => StorageError::invalid(format!(
                "{location} can't be opened: the folder `{}` does not exist; create it, or name another place",
                folder.display()
            )),
            (Ok(true), _) if !folder.is_dir() => StorageError::invalid(format!(
                "{location} can't be opened: `{}` is not a folder; name another place",
                folder.display()
            )),
            (Ok(true), Ok(false)) => StorageError::unavailable(format!(
                "{location} can't be created: this process may not write in `{}` ({error}); grant it write access to the folder",
                folder.display()
            )),
            (Ok(true), Ok(true)) => StorageError::unavailable(format!(
                "{location} can't be opened ({error}): this process needs read and write access to the file and to its folder \
                 `{}`, where SQLite keeps `-wal` and `-shm` beside it",
                folder.display()
            )),
            _ => StorageError::unavailable(format!(
                "{location} can't be reached ({error}): this process may not look into `{}`; grant it access",
                folder.display()
            )),
        }
    }
}
