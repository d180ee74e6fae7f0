//! Arguments for people: from the stored MessagePack to JSON text, and back from what an operator wrote.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use serde::de::Deserialize;
use serde::ser::{Error, Serialize, SerializeMap, Serializer};

use crate::codec;
use crate::value::Value;

/// How deep values may be nested: as deep as JSON is read.
const MAX_DEPTH: usize = 128;

/// A stored value as JSON text.
///
/// # Errors
/// The bytes are no value, or more than one.
pub(crate) fn to_text(bytes: &[u8]) -> Result<String, String> {
    serde_json::to_string(&read(bytes)?).map_err(|error| error.to_string())
}

/// A stored value as JSON.
///
/// # Errors
/// As [`to_text`].
pub(crate) fn to_value(bytes: &[u8]) -> Result<serde_json::Value, String> {
    serde_json::to_value(read(bytes)?).map_err(|error| error.to_string())
}

fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut rest = bytes;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest).with_human_readable();
    deserializer.set_max_depth(MAX_DEPTH);
    let value = Value::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the value", rest.len()));
    }
    Ok(value)
}

/// Arguments written as JSON, as they are stored.
///
/// # Errors
/// The text is no JSON, no object, or names an argument twice.
pub(crate) fn arguments(text: &str) -> Result<Bytes, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?;
    let Value::Map(entries) = &value else {
        return Err(format!("arguments are a JSON object, by name, and this is {}", value.kind()));
    };
    let mut seen = HashSet::new();
    let mut names = entries.iter().filter_map(|(name, _)| if let Value::Text(name) = name { Some(name) } else { None });
    match names.find(|name| !seen.insert(*name)) {
        Some(name) => Err(format!("the argument `{name}` is given twice")),
        None => codec::encode(&value),
    }
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "null",
            Self::Bool(_) => "a truth value",
            Self::Signed(_) | Self::Unsigned(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Bytes(_) | Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }

    /// As the name of an entry: JSON has texts only.
    fn name(&self) -> Result<Cow<'_, str>, serde_json::Error> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            other => serde_json::to_string(other).map(Cow::Owned),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            // JSON has no bytes: they are shown as a list of numbers, which decodes as bytes again where a task takes them.
            Self::Bytes(value) => serializer.collect_seq(value),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    map.serialize_entry(&name.name().map_err(S::Error::custom)?, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Args {
        to: String,
        copies: Option<u64>,
        shift: i32,
        share: f64,
        blob: Bytes,
        parts: Vec<(u8, bool)>,
        by_number: BTreeMap<u32, String>,
    }

    fn args() -> Args {
        Args {
            to: "é\"".into(),
            copies: None,
            shift: -7,
            share: 0.5,
            blob: Bytes::from_static(&[0, 255]),
            parts: vec![(1, true)],
            by_number: BTreeMap::new(),
        }
    }

    #[test]
    fn arguments_are_shown_in_their_order() {
        let numbered = Args { by_number: BTreeMap::from([(4, "four".into())]), ..args() };
        assert_eq!(
            to_text(&codec::encode(&numbered).unwrap()).unwrap(),
            r#"{"to":"é\"","copies":null,"shift":-7,"share":0.5,"blob":[0,255],"parts":[[1,true]],"by_number":{"4":"four"}}"#
        );
    }

    #[test]
    fn what_is_shown_decodes_again() {
        let text = to_text(&codec::encode(&args()).unwrap()).unwrap();
        assert_eq!(codec::decode::<Args>(&arguments(&text).unwrap()).unwrap(), args());
    }

    #[test]
    fn what_is_no_arguments_is_refused() {
        for (text, why) in [
            ("[1]", "arguments are a JSON object, by name, and this is a list"),
            ("7", "arguments are a JSON object, by name, and this is a number"),
            (r#"{"n":1,"n":2}"#, "the argument `n` is given twice"),
        ] {
            assert_eq!(arguments(text).unwrap_err(), why);
        }
        let error = arguments(r#"{"n":}"#).unwrap_err();
        assert_eq!(error, "this is no JSON: expected value at line 1 column 6");
    }

    #[test]
    fn odd_bytes_never_panic() {
        // An extension, a number that JSON lacks, something left over, an end that is missing, a pit.
        assert_eq!(to_text(&[0xd4, 5, 9]).unwrap(), "[5,[9]]");
        assert_eq!(to_text(&codec::encode(&f64::NAN).unwrap()).unwrap(), "null");
        assert_eq!(to_text(&[1, 2]).unwrap_err(), "1 bytes follow the value");
        assert!(to_text(&[0x92, 1]).is_err());
        assert!(to_text(&[0x91; 100_000]).is_err());
        assert!(arguments(&"[".repeat(100_000)).is_err());
    }
}
