//! Encoded arguments as a value that is equal when they are: maps without an order. What keys are made of.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::codec;
use crate::value::Value;

/// A decoded value. Numbers are their texts, so that 7 is 7 whatever type it had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Canon {
    Nil,
    Bool(bool),
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Canon>),
    Map(BTreeMap<Canon, Canon>),
}

impl Canon {
    /// The value of encoded arguments.
    pub(crate) fn of(args: &[u8]) -> Result<Self, String> {
        codec::decode::<Value>(args).map(Self::from)
    }

    /// The entry of that name, in a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.get(&Self::Text(name.to_owned())),
            _ => None,
        }
    }

    /// The names of the entries of a map.
    pub(crate) fn names(&self) -> Vec<&str> {
        let Self::Map(entries) = self else { return Vec::new() };
        entries.keys().filter_map(|key| if let Self::Text(name) = key { Some(name.as_str()) } else { None }).collect()
    }

    /// A text that fits into a key: the value itself where it is plain and short, else a digest of it.
    pub(crate) fn key(&self) -> String {
        let plain = match self {
            Self::Text(text) | Self::Number(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            _ => None,
        };
        let fits = |text: &String| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            (1..=32).contains(&text.len()) && text.chars().all(allowed)
        };
        plain.filter(fits).unwrap_or_else(|| self.digest())
    }

    /// The first 128 bits of SHA-256 over the value, as 32 hex digits.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        self.feed(&mut hash);
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Each value begins with a letter for its sort and its length, so that no two feed the same bytes.
    fn feed(&self, hash: &mut Sha256) {
        let mut head = |letter: u8, length: usize| {
            hash.update([letter]);
            hash.update((length as u64).to_be_bytes());
        };
        match self {
            Self::Nil => head(b'n', 0),
            Self::Bool(value) => head(b'b', usize::from(*value)),
            Self::Number(text) => {
                head(b'd', text.len());
                hash.update(text);
            }
            Self::Text(text) => {
                head(b't', text.len());
                hash.update(text);
            }
            Self::Bytes(bytes) => {
                head(b'y', bytes.len());
                hash.update(bytes);
            }
            Self::List(values) => {
                head(b'l', values.len());
                values.iter().for_each(|value| value.feed(hash));
            }
            Self::Map(entries) => {
                head(b'm', entries.len());
                for (key, value) in entries {
                    key.feed(hash);
                    value.feed(hash);
                }
            }
        }
    }
}

impl From<Value> for Canon {
    fn from(value: Value) -> Self {
        match value {
            Value::Nil => Self::Nil,
            Value::Bool(value) => Self::Bool(value),
            Value::Signed(value) => Self::Number(value.to_string()),
            Value::Unsigned(value) => Self::Number(value.to_string()),
            Value::Float(value) => Self::Number(value.to_string()),
            Value::Text(text) => Self::Text(text),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::List(values) => Self::List(values.into_iter().map(Self::from).collect()),
            Value::Map(entries) => {
                Self::Map(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn canon(value: &impl serde::Serialize) -> Canon {
        Canon::of(&codec::encode(value).unwrap()).unwrap()
    }

    #[test]
    fn maps_have_no_order() {
        let one: HashMap<u32, &str> = (0..50).map(|n| (n, "x")).collect();
        let other: BTreeMap<u32, &str> = (0..50).rev().map(|n| (n, "x")).collect();
        assert_eq!(canon(&one).digest(), canon(&other).digest());
        assert_ne!(canon(&one).digest(), canon(&BTreeMap::from([(0, "x")])).digest());
    }

    #[test]
    fn no_two_values_share_a_digest_by_their_seams() {
        let values = [
            canon(&("ab", "c")),
            canon(&("a", "bc")),
            canon(&(("a",), "bc")),
            canon(&("1", 1)),
            canon(&(1, "1")),
            canon(&[Option::<u8>::None]),
            canon(&[0u8; 0]),
        ];
        let digests: std::collections::BTreeSet<_> = values.iter().map(Canon::digest).collect();
        assert_eq!(digests.len(), values.len());
    }

    #[test]
    fn plain_values_stay_readable() {
        assert_eq!([canon(&"acme").key(), canon(&7u64).key(), canon(&true).key()], ["acme", "7", "true"]);
        for long in [canon(&"a:b"), canon(&""), canon(&"x".repeat(33)), canon(&"ä"), canon(&[1, 2]), canon(&())] {
            assert_eq!(long.key().len(), 32, "{long:?}");
        }
        assert_eq!(canon(&u128::MAX).key().len(), 32);
        assert_eq!(canon(&i64::MIN), Canon::Number(i64::MIN.to_string()));
    }
}
