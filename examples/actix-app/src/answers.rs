//! What is answered when a request can't be served: a status, and why as JSON.

use std::fmt;

use actix_web::error::JsonPayloadError;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use queue::{EnqueueError, StorageError};
use serde_json::json;

/// A request that can't be served.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// The queue does not answer. Why is for the log, not for whoever asks.
    pub(crate) fn unavailable(why: impl fmt::Display) -> Self {
        tracing::error!("the queue does not answer: {why}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the queue does not answer; try again in a second")
    }

    /// A body that is not the JSON it should be.
    pub(crate) fn body(error: &JsonPayloadError) -> Self {
        let status = match error {
            JsonPayloadError::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            JsonPayloadError::Deserialize(error) if error.is_data() => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, "bad_request", error.to_string())
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        Self::unavailable(error)
    }
}

impl<C> From<EnqueueError<C>> for Problem {
    fn from(error: EnqueueError<C>) -> Self {
        if error.is_unavailable() {
            return Self::unavailable(error);
        }
        if error.is_too_large() {
            return Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "this is more than a job may hold");
        }
        tracing::error!("a call was refused: {error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "refused", "the job was refused; the log says why")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        response.json(json!({ "error": { "code": self.code, "message": self.message } }))
    }
}
