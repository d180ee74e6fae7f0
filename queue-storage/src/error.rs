//! What a storage says when it can't.

use std::fmt;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a storage call did not answer: opaque, with one predicate for each thing a caller does about it.
///
/// The message says what failed and where (with secrets masked); the source says why.
pub struct StorageError {
    kind: Kind,
    message: String,
    source: Option<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Superseded,
    UnknownWorker,
    Invalid,
    Incompatible,
    Corrupt,
}

impl StorageError {
    /// The storage could not be asked, or its answer was lost. The call may have been carried out; a numbered call is
    /// repeated as it was.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// The call bears a number that a later call of the same caller has overtaken: its answer is of no use any more.
    #[must_use]
    pub fn superseded(message: impl Into<String>) -> Self {
        Self::new(Kind::Superseded, message)
    }

    /// The worker is not registered (any more): it registers again and repeats the call.
    #[must_use]
    pub fn unknown_worker(message: impl Into<String>) -> Self {
        Self::new(Kind::UnknownWorker, message)
    }

    /// The call breaks the contract; repeating it can't help. Nothing was changed.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// The stored data is of a version this program does not read. Nothing was changed.
    #[must_use]
    pub fn incompatible(message: impl Into<String>) -> Self {
        Self::new(Kind::Incompatible, message)
    }

    /// The stored data contradicts itself.
    #[must_use]
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, message)
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same, with what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether trying the same call again can help. The engine does.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Whether a later call of the same caller has overtaken this one. The engine drops the call.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.kind == Kind::Superseded
    }

    /// Whether the worker must register before it asks again. The engine does.
    #[must_use]
    pub fn is_unknown_worker(&self) -> bool {
        self.kind == Kind::UnknownWorker
    }

    /// Whether the call itself is at fault. The engine reports it to whoever made the call.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.kind == Kind::Invalid
    }

    /// Whether the stored data needs another version of the program. An operator upgrades it.
    #[must_use]
    pub fn is_incompatible(&self) -> bool {
        self.kind == Kind::Incompatible
    }

    /// Whether the stored data is damaged. An operator restores it.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        self.kind == Kind::Corrupt
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_as_text("StorageError", self, f)
    }
}

/// `Debug` for errors: the name of the type, the text, and what caused it as far as the text does not say that. A `main`
/// that returns an error shows it by `Debug`, and so does `unwrap`.
///
/// # Errors
/// Those of the formatter.
#[doc(hidden)]
pub fn debug_as_text(name: &str, error: &dyn std::error::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            told.push_str(": ");
            told.push_str(&text);
        }
        cause = error.source();
    }
    write!(f, "{name}: {told}")
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_text_and_what_it_leaves_out() {
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = StorageError::unavailable("redis://bob:***@db can't be reached").because(refused());
        assert_eq!(format!("{error:?}"), "StorageError: redis://bob:***@db can't be reached: connection refused");
        assert_eq!(format!("{error:#?}"), format!("{error:?}"));
        let error = StorageError::unavailable("db: connection refused, twice").because(refused());
        assert_eq!(format!("{error:?}"), "StorageError: db: connection refused, twice");
    }
}
