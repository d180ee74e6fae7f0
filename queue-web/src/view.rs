//! Jobs, counts and pages as JSON.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use queue_core::{Counts, DeadLetter, Explanation, Job, JobFacts, JobId, JobPage, Key, State, Why};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::problem::Problem;
use crate::route::Kind::{Any, Count, Flag, List, Moment, Object, Text};
use crate::route::{Field, field};

/// What stands as it is in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A job, as `/jobs/{id}` shows it.
pub(crate) const JOB: &[Field] = &[
    field("task_id", Text),
    field("task", Text),
    field("queue", Text),
    field("state", Text),
    field("complete", Flag).says("Whether it has ended, well or not: `state` tells how."),
    field("result", Any),
    field("undecodable", Text).optional(),
    field("arguments", Any).optional(),
    field("priority", Count),
    field("tags", List),
    field("node", Text).optional(),
    field("trigger", Text).optional(),
    field("attempts", Count),
    field("crashes", Count),
    field("parked", Text).or_null(),
    field("parked_at", Moment).or_null(),
    field("enqueued_at", Moment),
    field("due_at", Moment).or_null(),
    field("expires_at", Moment).or_null(),
    field("deadline_at", Moment).or_null(),
    field("first_started_at", Moment).or_null(),
    field("started_at", Moment).or_null(),
    field("ended_at", Moment).or_null(),
    field("keep_until", Moment).or_null(),
    field("worker", Text).or_null(),
    field("cancel_requested", Flag),
    field("reason", Text).or_null(),
    field("culprit", Text).or_null(),
    field("error", Object).or_null(),
    field("progress", Object).or_null(),
    field("history", List),
    field("links", Object).says("What can be asked of it now: `cancel` until it has ended, `retry` from then on."),
    field("explanation", Object).optional(),
];

/// A page.
pub(crate) const PAGE: &[Field] = &[field("jobs", List), field("next", Text).or_null()];

pub(crate) fn value(of: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(of).map_err(|error| Problem::unreadable(&error))
}

/// What a job is and where it has got to: no arguments, no result.
pub(crate) fn job(job: &Job, base: &str) -> Result<Map<String, Value>, Problem> {
    let Value::Object(mut shown) = value(&JobFacts::of(job))? else { return Ok(Map::new()) };
    let id = shown.remove("id");
    shown.insert("task_id".into(), id.unwrap_or_default());
    shown.insert("complete".into(), json!(job.state.is_end()));
    // A job that failed, ran again and completed has nothing wrong with it; its history tells.
    let error = shown.remove("failure").filter(|_| job.state != State::Completed);
    shown.insert("error".into(), error.unwrap_or_default());
    shown.insert("links".into(), links(job.id, base, job.state.is_end()));
    Ok(shown)
}

/// The ways from a job's document to what can be asked of the job, relative to that document: to call it off, or once it is
/// over to run it again.
pub(crate) fn links(id: JobId, base: &str, is_over: bool) -> Value {
    let to = |rest: &str| format!("{base}jobs/{id}{rest}");
    let verb = if is_over { "retry" } else { "cancel" };
    json!({ "self": to(""), "explain": to("?explain"), verb: to(&format!("/{verb}")) })
}

/// A name in a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// JSON text as a value, or why it is none.
pub(crate) fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The arguments of a job: `null` where they can't be shown, with why.
pub(crate) fn arguments(job: &Job) -> (Value, Option<String>) {
    let letter = DeadLetter::of(job);
    let parsed = letter.arguments.map(|text| parsed(&text));
    match (parsed, letter.undecodable) {
        (Some(Ok(value)), _) => (value, None),
        (Some(Err(why)), _) => (Value::Null, Some(why)),
        (None, why) => (Value::Null, why),
    }
}

/// A page of jobs, their arguments among what is shown where that is so set.
pub(crate) fn page(page: &JobPage, base: &str, show_arguments: bool, history: bool) -> Result<Value, Problem> {
    let each = |one: &Job| {
        let mut shown = job(one, base)?;
        if !history {
            shown.remove("history");
        }
        if show_arguments {
            shown.insert("arguments".into(), arguments(one).0);
        }
        Ok(Value::Object(shown))
    };
    let jobs: Result<Vec<_>, Problem> = page.jobs.iter().map(each).collect();
    Ok(json!({ "jobs": jobs?, "next": page.next.as_ref().map(|cursor| &cursor.0) }))
}

/// Why a job is where it is; the value of an argument by which it is limited only where arguments are shown.
pub(crate) fn explanation(explained: &Explanation, show_arguments: bool) -> Result<Value, Problem> {
    let key = match &explained.why {
        Why::LimitFull { key, .. } | Why::RateWindow { key, .. } => key.as_ref(),
        _ => None,
    };
    let mut shown = value(explained)?;
    if let Some((key, masked)) = key.filter(|_| !show_arguments).and_then(masked) {
        shown["text"] = json!(explained.text.replace(key, &masked));
        shown["why"]["key"] = json!(masked);
    }
    Ok(shown)
}

/// A key that holds the value of an argument, and the same without it: `arg:pay:tenant:acme` becomes `arg:pay:tenant:…`.
fn masked(key: &Key) -> Option<(&str, String)> {
    let (open, _) = key.as_str().strip_prefix("arg:")?.rsplit_once(':')?;
    Some((key.as_str(), format!("arg:{open}:…")))
}

/// The fields of [`counts`].
pub(crate) const COUNTS: [Field; 6] = [
    field("stored", Object),
    field("pending", Count),
    field("scheduled", Count),
    field("parked", Count),
    field("enqueued", Count),
    field("ended", Object),
];

/// What a queue, or all of them, holds and has seen.
pub(crate) fn counts(counts: &Counts) -> Map<String, Value> {
    let stored: Map<_, _> = State::ALL.into_iter().map(|state| (state.to_string(), json!(counts.of(state)))).collect();
    let ended = json!({
        "completed": counts.ended.completed, "cancelled": counts.ended.cancelled, "expired": counts.ended.expired,
        "dead": counts.ended.dead,
    });
    let entries = [
        ("stored", Value::Object(stored)),
        ("pending", json!(counts.pending())),
        ("scheduled", json!(scheduled(counts))),
        ("parked", json!(counts.parked)),
        ("enqueued", json!(counts.enqueued)),
        ("ended", ended),
    ];
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Jobs that wait for a time that has not come.
pub(crate) fn scheduled(counts: &Counts) -> u64 {
    (counts.of(State::Scheduled) + counts.of(State::Retrying)).saturating_sub(counts.due)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lose_the_value_of_the_argument() {
        let shown = |key: &str| masked(&key.parse().unwrap()).map(|(_, masked)| masked);
        assert_eq!(shown("arg:pay:tenant:acme").as_deref(), Some("arg:pay:tenant:…"));
        assert_eq!(shown("key:api"), None);
    }
}
