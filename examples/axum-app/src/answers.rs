//! What is answered when a request can't be served: a status, and why as JSON.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use queue::{EnqueueError, StorageError};
use serde::de::DeserializeOwned;
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
    pub(crate) fn unavailable(why: impl std::fmt::Display) -> Self {
        tracing::error!("the queue does not answer: {why}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the queue does not answer; try again in a second")
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

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "bad_request", rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": { "code": self.code, "message": self.message } }));
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

/// The body of a request as JSON; what is wrong with it is answered as JSON, too.
#[derive(Debug)]
pub(crate) struct Input<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(input) = Json::from_request(request, state).await?;
        Ok(Self(input))
    }
}
