//! What is answered instead of what was asked for.

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
    pub(crate) fn unknown_job(id: JobId, location: &str) -> Self {
        let message = format!("no job {id} was ever stored in {location}");
        Self::new(StatusCode::NOT_FOUND, "unknown", message, "check the id, and whether this is the storage it went to")
    }

    /// The job ended and was pruned.
    pub(crate) fn gone_job(id: JobId, location: &str) -> Self {
        let message = format!("job {id} is not in {location} any more: it ended, and the time it is kept has passed");
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

    /// The storage could not be asked, or its answer was lost.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        let help = "the storage does not answer: check that it runs and can be reached, and ask again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, help)
    }

    /// The stored data can't be read.
    pub(crate) fn unreadable(message: impl Into<String>) -> Self {
        let help = "the stored data is damaged, or of another version of this program: see its log";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", message, help)
    }

    pub(crate) fn body(&self) -> Value {
        json!({ "error": { "code": self.code, "message": self.message, "help": self.help } })
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let message = error.to_string();
        match () {
            () if error.is_invalid() => Self::bad(message, "correct the request; `openapi.json` tells what each takes"),
            () if error.is_corrupt() || error.is_incompatible() => Self::unreadable(message),
            () => Self::unavailable(message),
        }
    }
}
