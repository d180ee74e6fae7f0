//! Arguments in the log, without what must not stand there.

use std::collections::HashSet;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use serde_json::Value;

use crate::json;

/// The longest text of arguments in the log, in bytes.
const LONGEST: usize = 1024;
/// What stands where something was taken out.
const TAKEN_OUT: &str = "[redacted]";

type Edit = dyn Fn(&str, &mut Value) + Send + Sync;

/// What is taken out of arguments before they are logged: what
/// [`WorkerBuilder::log_arguments`](crate::WorkerBuilder::log_arguments) asks for.
///
/// ```
/// use queue_core::Redact;
///
/// let redact = Redact::keys(["password", "token"]);
/// let own = Redact::with(|task, arguments| {
///     if task == "charge" {
///         arguments["card"] = "…".into();
///     }
/// });
/// # let _ = (redact, own);
/// ```
#[derive(Clone)]
pub struct Redact(Arc<Edit>);

impl Redact {
    /// Nothing is taken out: everything that tasks are called with stands in the log.
    #[must_use]
    pub fn nothing() -> Self {
        Self::with(|_, _| {})
    }

    /// What stands under these keys is taken out, however deep, whatever case they are written in.
    pub fn keys<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Self {
        let keys: HashSet<String> = keys.into_iter().map(|key| key.as_ref().to_lowercase()).collect();
        Self::with(move |_, arguments| take_out(arguments, &keys))
    }

    /// Whatever `edit` makes of the arguments of a task, which it is told by name. If it panics, none of them are
    /// logged.
    pub fn with(edit: impl Fn(&str, &mut Value) + Send + Sync + 'static) -> Self {
        Self(Arc::new(edit))
    }

    /// The text for the log: JSON, cut.
    pub(crate) fn text(&self, task: &str, args: &[u8]) -> String {
        let mut value = match json::to_value(args) {
            Ok(value) => value,
            Err(why) => return format!("no JSON: {why}"),
        };
        match std::panic::catch_unwind(AssertUnwindSafe(|| (self.0)(task, &mut value))) {
            Ok(()) => cut(value.to_string()),
            Err(panic) => {
                std::mem::forget(panic);
                "left out: the redaction panicked".to_owned()
            }
        }
    }
}

fn take_out(value: &mut Value, keys: &HashSet<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                if keys.contains(&key.to_lowercase()) {
                    *value = TAKEN_OUT.into();
                } else {
                    take_out(value, keys);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| take_out(value, keys)),
        _ => {}
    }
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let most = LONGEST - '…'.len_utf8();
        text.truncate((0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default());
        text.push('…');
    }
    text
}

impl fmt::Debug for Redact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redact")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use serde_json::json;

    fn text(redact: &Redact, value: &Value) -> String {
        redact.text("t", &codec::encode(value).unwrap())
    }

    #[test]
    fn keys_are_found_however_deep_and_in_any_case() {
        let value = json!({"user": "a", "Password": "p", "inner": [{"TOKEN": {"a": 1}}], "passwords": 1});
        let redacted =
            json!({"user": "a", "Password": "[redacted]", "inner": [{"TOKEN": "[redacted]"}], "passwords": 1});
        let text = text(&Redact::keys(["password", "Token"]), &value);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), redacted);
    }

    #[test]
    fn what_is_long_is_cut_at_a_character() {
        for long in [1_000, 1_013, 1_014, 1_015, 2_000] {
            let text = text(&Redact::nothing(), &json!({"text": "ä".repeat(long)}));
            assert!(text.len() <= LONGEST && text.ends_with('…'), "{}", text.len());
        }
        assert_eq!(text(&Redact::nothing(), &json!({"a": 1})), r#"{"a":1}"#);
    }

    #[test]
    fn one_of_your_own_knows_the_task_and_may_panic() {
        let own = Redact::with(|task, value| value["a"] = task.into());
        assert_eq!(text(&own, &json!({"a": 1})), r#"{"a":"t"}"#);
        let panics = Redact::with(|_, _| panic!("oh"));
        assert_eq!(text(&panics, &json!({"a": 1})), "left out: the redaction panicked");
    }
}
