//! Whether the file that was opened still stands at its path.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use queue_storage::storage::StorageError;

use crate::error::{Error, Place, Result};

/// The file that was opened.
///
/// It is told by what its path leads to, never by opening it: closing a second handle would take SQLite's locks away.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Absolute: the program may change its working directory.
    path: PathBuf,
    opened: OnceLock<Option<Inode>>,
}

/// What tells a file from another: its device and its number there.
type Inode = (u64, u64);

impl Identity {
    pub(crate) fn new(place: &Place) -> Self {
        let path = std::path::absolute(place.path()).unwrap_or_else(|_| place.path().to_owned());
        Self { path, opened: OnceLock::new() }
    }

    /// Keeps in mind what stands at the path: to be called once the file was opened to be written, as a layered file system
    /// gives it another number then. Where nothing stands there, or files have no numbers, nothing is compared later.
    pub(crate) fn remember(&self) {
        let _ = self.opened.set(inode(&self.path).ok().flatten());
    }

    /// Refuses when something else stands at the path now, or nothing. One that can't be looked at is no reason.
    pub(crate) fn check(&self, place: &Place) -> Result<()> {
        let Some(Some(opened)) = self.opened.get() else { return Ok(()) };
        let what = match inode(&self.path) {
            Ok(Some(found)) if found != *opened => "replaced by another file",
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => "removed",
            _ => return Ok(()),
        };
        Err(Error::Refused(StorageError::unavailable(format!(
            "{} was {what} while this program has it open: programs that are started now do not see the jobs of this one; put \
             the file itself back, not a copy, or restart this program",
            place.location()
        ))))
    }
}

#[cfg(unix)]
fn inode(path: &Path) -> io::Result<Option<Inode>> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|found| Some((found.dev(), found.ino())))
}

#[cfg(not(unix))]
fn inode(_: &Path) -> io::Result<Option<Inode>> {
    Ok(None)
}
