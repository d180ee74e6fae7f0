//! Answers as HTTP responses.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::problem::Problem;

/// The type of Prometheus' text format, version 0.0.4.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a route answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Json(StatusCode, Value),
    Metrics(String),
}

impl Answer {
    pub(crate) fn ok(value: Value) -> Self {
        Self::Json(StatusCode::OK, value)
    }
}

/// What comes of a request.
pub(crate) type Reply = Result<Answer, Problem>;

/// The response to a request; without its body where only the head was asked for.
pub(crate) fn response(reply: Reply, head_only: bool) -> Response<Bytes> {
    let mut allow = None;
    let (status, kind, text) = match reply {
        Ok(Answer::Json(status, value)) => (status, "application/json", value.to_string()),
        Ok(Answer::Metrics(text)) => (StatusCode::OK, METRICS, text),
        Err(problem) => {
            let body = problem.body().to_string();
            allow = problem.allow;
            (problem.status, "application/json", body)
        }
    };
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(if head_only { Bytes::new() } else { Bytes::from(text) });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(allow) = allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
        headers.insert(ALLOW, allow);
    }
    response
}
