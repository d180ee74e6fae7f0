//! What a route is: how it is found, what it takes and answers, and who carries it out.

use std::str::FromStr;

use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use queue_core::JobId;

use crate::answer::Reply;
use crate::problem::Problem;
use crate::query::Query;
use crate::web::Web;

/// A request that has found its route.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) web: Web,
    /// What stood for the names in braces, in their order.
    pub(crate) params: Vec<String>,
    pub(crate) query: Query,
    /// What leads from this document to the mount point: a prefix of relative references.
    pub(crate) base: String,
    pub(crate) routes: &'static [Route],
}

impl Asked {
    pub(crate) fn param(&self) -> &str {
        self.params.first().map_or("", String::as_str)
    }

    /// The job that the path names.
    pub(crate) fn job(&self) -> Result<JobId, Problem> {
        let help = "a job's id has 26 letters and digits: `enqueue` returns it, and `/jobs` lists them";
        self.param().parse().map_err(|error| Problem::bad(format!("{error}"), help))
    }

    /// What the path names.
    pub(crate) fn named<T: FromStr<Err: ToString>>(&self) -> Result<T, Problem> {
        let help = "correct the name in the path; a `/` in it is written `%2F`";
        self.param().parse().map_err(|error: T::Err| Problem::bad(error.to_string(), help))
    }
}

/// The type of a field or parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Moment,
    Count,
    Flag,
    Object,
    List,
    Number,
    Any,
}

/// A field at the top of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) or_null: bool,
    /// Whether it is there only where there is something to say.
    pub(crate) optional: bool,
    pub(crate) what: Option<&'static str>,
}

pub(crate) const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, or_null: false, optional: false, what: None }
}

impl Field {
    pub(crate) const fn or_null(self) -> Self {
        Self { or_null: true, ..self }
    }

    pub(crate) const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    pub(crate) const fn says(self, what: &'static str) -> Self {
        Self { what: Some(what), ..self }
    }
}

/// What may stand behind the `?`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) what: &'static str,
}

pub(crate) const fn param(name: &'static str, kind: Kind, what: &'static str) -> Param {
    Param { name, kind, what }
}

/// One way in which a route answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described {
    pub(crate) status: StatusCode,
    pub(crate) what: &'static str,
    pub(crate) shape: Shape,
}

/// What an answer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Fields(&'static [Field]),
    Error,
    Metrics,
}

pub(crate) const fn answers(status: StatusCode, what: &'static str, fields: &'static [Field]) -> Described {
    Described { status, what, shape: Shape::Fields(fields) }
}

pub(crate) const fn refuses(status: StatusCode, what: &'static str) -> Described {
    Described { status, what, shape: Shape::Error }
}

/// Who gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Everyone: what probes ask.
    Open,
    /// Whom [`Access`](crate::Access) lets in.
    Guarded,
}

/// Who sees to it that an answer comes in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// The route.
    Own,
    /// Whoever asks it.
    Given,
}

pub(crate) type Run = fn(Asked) -> BoxFuture<'static, Reply>;

/// One method of one path.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    /// As OpenAPI writes it: `/jobs/{id}`.
    pub(crate) path: &'static str,
    pub(crate) what: &'static str,
    pub(crate) query: &'static [Param],
    pub(crate) answers: &'static [Described],
    pub(crate) gate: Gate,
    pub(crate) time: Time,
    pub(crate) run: Run,
}

impl Route {
    /// Whether this `web` has it.
    pub(crate) fn is_in(&self, web: &Web) -> bool {
        !self.answers.iter().any(|answer| matches!(answer.shape, Shape::Metrics)) || web.settings.metrics.is_some()
    }

    /// The names in braces.
    pub(crate) fn params(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(in_braces)
    }

    /// Whether a path is this one; if so, what stands for the names in braces, still encoded.
    pub(crate) fn fits<'a>(&self, path: &Path<'a>) -> Option<Vec<&'a str>> {
        let pattern = Path::of(self.path);
        if pattern.segments.len() != path.segments.len() {
            return None;
        }
        let mut params = Vec::new();
        for (expected, given) in pattern.segments.iter().zip(&path.segments) {
            match in_braces(expected) {
                Some(_) if !given.is_empty() => params.push(*given),
                None if expected == given => {}
                _ => return None,
            }
        }
        Some(params)
    }
}

fn in_braces(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// A path, relative to the mount point.
#[derive(Debug)]
pub(crate) struct Path<'a> {
    segments: Vec<&'a str>,
    /// Whether a `/` follows the last of them.
    slash: bool,
}

impl<'a> Path<'a> {
    pub(crate) fn of(path: &'a str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (path, slash) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        let segments = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        Self { segments, slash }
    }

    /// What leads from a document of this path to the mount point.
    pub(crate) fn base(&self) -> String {
        let ups = self.segments.len() - usize::from(!self.slash && !self.segments.is_empty());
        "../".repeat(ups)
    }
}

/// What was encoded in a path.
pub(crate) fn decoded(segment: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(segment).decode_utf8().map(|text| text.into_owned());
    let bad = |_| Problem::bad(format!("`{segment}` is no UTF-8 when it is decoded"), "correct the path");
    decoded.map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_the_mount_point() {
        for (path, base) in
            [("", ""), ("/", ""), ("/jobs", ""), ("/jobs/", "../"), ("/jobs/7", "../"), ("/a/b/c", "../../")]
        {
            assert_eq!(Path::of(path).base(), base, "{path}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_once() {
        assert_eq!(decoded("a%2Fb%252F").unwrap(), "a/b%2F");
        assert_eq!(decoded("%ff").unwrap_err().code, "bad_request");
    }
}
