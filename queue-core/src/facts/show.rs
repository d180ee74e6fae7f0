//! How facts are serialised: words and ids as texts, moments as RFC 3339.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::SystemTime;

use queue_storage::model::{Failure, Node, Progress, State, Timestamp, Trigger};
use serde::{Serialize, Serializer};

use super::words::{node_word, trigger_word};

pub(crate) fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(crate) fn texts<T: Display, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

pub(crate) fn maybe_text<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde wants")]
pub(crate) fn trigger<S: Serializer>(value: &Trigger, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(trigger_word(*value))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde wants")]
pub(crate) fn is_usual(trigger: &Trigger) -> bool {
    *trigger == Trigger::default()
}

pub(crate) fn node<S: Serializer>(value: &Node, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(node_word(value))
}

pub(crate) fn time<S: Serializer>(value: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Timestamp::from(*value))
}

pub(crate) fn maybe_time<S: Serializer>(value: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    maybe_text(&value.map(Timestamp::from), serializer)
}

pub(crate) fn by_state<S: Serializer>(counts: &BTreeMap<State, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(state, count)| (state.as_str(), count)))
}

#[derive(Serialize)]
struct ShownFailure<'a> {
    kind: &'a str,
    message: &'a str,
    error_type: Option<&'a str>,
    version: Option<&'a str>,
}

pub(crate) fn maybe_failure<S: Serializer>(value: &Option<Failure>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = value.as_ref().map(|failure| ShownFailure {
        kind: failure.kind.as_str(),
        message: &failure.message,
        error_type: failure.error_type.as_deref(),
        version: failure.version.as_deref(),
    });
    shown.serialize(serializer)
}

/// How far a run got, in words: `3 of 10, resizing`.
pub(crate) struct Shown<'a>(pub(crate) &'a Progress);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Progress { done, total, message } = self.0;
        match total {
            0 => write!(f, "{done} done")?,
            total => write!(f, "{done} of {total}")?,
        }
        if message.is_empty() { Ok(()) } else { write!(f, ", {message}") }
    }
}
