//! What is answered instead of what was asked for.

use std::fmt::Display;

use http::StatusCode;
use queue_core::{JobId, StorageError};
use serde_json::{Value, json};

/// An error as it is answered: what went wrong, and what to do next.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: String,
    /// The methods there are, where the wrong one was used.
    pub(crate) allow: Option<String>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { status, code, message: message.into(), help: help.into(), allow: None }
    }

    /// What was asked for can't be.
    pub(crate) fn bad(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message, help)
    }

    /// No such job was ever stored.
    pub(crate) fn unknown_job(id: JobId) -> Self {
        let message = format!("no job {id} was ever stored");
        Self::new(StatusCode::NOT_FOUND, "unknown", message, "check the id, and whether this is the storage it went to")
    }

    /// The job ended and was pruned.
    pub(crate) fn gone_job(id: JobId) -> Self {
        let message = format!("job {id} is not stored any more: it ended, and the time it is kept has passed");
        Self::new(
            StatusCode::GONE,
            "gone",
            message,
            "a worker's `keep_results` and `keep_dead` say how long ended jobs are kept",
        )
    }

    /// What can't be done to something as it is now.
    pub(crate) fn conflict(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "refused", message, help)
    }

    /// The storage could not be asked, or its answer was lost. What it says goes to the log: it names hosts and files.
    pub(crate) fn unavailable(error: &impl Display) -> Self {
        let text = error.to_string();
        tracing::warn!(error = text, "the storage does not answer");
        let help = "check that the storage runs and can be reached, and ask again; the log of this program tells more";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", silence(&text), help)
    }

    /// The stored data can't be read. Why goes to the log, as above.
    pub(crate) fn unreadable(error: &impl Display) -> Self {
        tracing::error!(%error, "what is stored can't be read");
        let help = "the stored data is damaged, or of another version of this program: see its log";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", "what is stored can't be read", help)
    }

    /// The same, without the place of the storage in its message.
    pub(crate) fn without_place(self, location: &str) -> Self {
        Self { message: self.message.replace(location, "the storage"), ..self }
    }

    pub(crate) fn body(&self) -> Value {
        json!({ "error": { "code": self.code, "message": self.message, "help": self.help } })
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        match () {
            () if error.is_invalid() => {
                Self::bad(error.to_string(), "correct the request; `openapi.json` tells what each takes")
            }
            () if error.is_corrupt() || error.is_incompatible() => Self::unreadable(&error),
            () => Self::unavailable(&error),
        }
    }
}

/// Why a storage does not answer, by a part of what it says itself, in small letters. The rest of that is not for readers:
/// it names hosts, users and files.
const WHY: [(&str, &str); 15] = [
    ("connection refused", "connection refused"),
    ("connection reset", "the connection was lost"),
    ("connection was lost", "the connection was lost"),
    ("timed out", "timed out"),
    ("did not answer within", "timed out"),
    ("failed to lookup address", "nobody knows the name of its host"),
    ("certificate", "its certificate is not accepted"),
    ("locked by another program", "it is locked by another program"),
    ("disk is full", "its disk is full"),
    ("reached its `maxmemory`", "its memory is full"),
    ("read-only", "it takes no writes"),
    ("wants a password", "it wants a password"),
    ("refuses the user name", "it refuses the user or the password"),
    ("while this program has it open", "its file was removed or replaced"),
    (" is closed", "this program has closed it"),
];

/// That the storage does not answer, and why as far as that is for everyone.
pub(crate) fn silence(text: &str) -> String {
    let text = text.to_lowercase();
    match WHY.iter().find(|(part, _)| text.contains(part)) {
        Some((_, why)) => format!("the storage does not answer: {why}"),
        None => "the storage does not answer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_storage_is_silent_is_told_and_not_where_it_is() {
        for (text, told) in [
            ("redis://bob:***@db:6379/0 can't be reached: Connection refused; check it", ": connection refused"),
            ("redis://db did not answer within 2s: the connection is replaced", ": timed out"),
            ("sqlite:///srv/jobs.db: the disk is full: make room (full, code 13)", ": its disk is full"),
            ("sqlite://a.db was removed while this program has it open: x", ": its file was removed or replaced"),
            ("redis://db can't be used: NOPERM User bob has no permissions", ""),
        ] {
            let problem = Problem::from(StorageError::unavailable(text));
            assert_eq!((problem.code, problem.message), ("unavailable", format!("the storage does not answer{told}")));
        }
        let damaged = Problem::from(StorageError::corrupt("sqlite:///srv/jobs.db: the file is damaged"));
        assert_eq!((damaged.code, &*damaged.message), ("unreadable", "what is stored can't be read"));
        let invalid = Problem::from(StorageError::invalid("no worker 7 is known in redis://bob@db"));
        assert_eq!(invalid.without_place("redis://bob@db").message, "no worker 7 is known in the storage");
    }
}
