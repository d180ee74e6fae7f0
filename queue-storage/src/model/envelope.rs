//! The envelope: what travels with a job and no storage looks into.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::retry::{Backoff, Jitter};
use super::time::maybe_micros;

/// The envelope version this program writes.
const VERSION: u8 = 1;

/// Arguments, headers and options of one job, as they are stored.
///
/// Bytes: one of version (1), one of flags (none is defined yet: compression and encryption will be), then one
/// MessagePack map with the entries `h` (headers), `o` (options that differ from the task's own), `i` (the argument that
/// what the jobs waited for handed on becomes), `t` (how it is [made of that](Intake)) and `a` (arguments, as one binary string whose content is the task's
/// affair). Entries that say nothing are left out; unknown ones are ignored.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Envelope {
    /// Short texts that travel with the job, `traceparent` among them.
    #[serde(rename = "h", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What this call set differently from its task.
    #[serde(rename = "o", default, skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
    /// The name of the argument that what the jobs waited for handed on becomes: it is missing from the arguments.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// How that value is made of what they handed on; of a gather, how its own is.
    #[serde(rename = "t", default, skip_serializing_if = "Intake::is_plain")]
    pub intake: Intake,
    /// The arguments: MessagePack, a map by field name.
    #[serde(rename = "a")]
    pub args: Bytes,
}

/// How one value is made of what the jobs waited for handed on. Stored as a number: the sum of 1 for a list or 2 for
/// chunks, and 4 where ends are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub struct Intake {
    /// What becomes of several.
    pub form: Form,
    /// Whether each is told as a `Result`: `Ok` with what it returned, or `Err` with how it ended.
    pub told: bool,
}

/// What becomes of several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Form {
    /// The first is the value.
    #[default]
    One,
    /// All of them, in order, as one array.
    List,
    /// Each is an array, and all of them one after the other are the value.
    Chunks,
}

impl Intake {
    /// Whether it is the value of the one job waited for, as it is.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl From<u8> for Intake {
    fn from(bits: u8) -> Self {
        let form = match bits & 3 {
            0 => Form::One,
            1 => Form::List,
            _ => Form::Chunks,
        };
        Self { form, told: bits & 4 != 0 }
    }
}

impl From<Intake> for u8 {
    fn from(intake: Intake) -> Self {
        let form = match intake.form {
            Form::One => 0,
            Form::List => 1,
            Form::Chunks => 2,
        };
        form | u8::from(intake.told) << 2
    }
}

/// The options of one call that differ from its task's; what is `None` follows the task as the worker knows it.
/// Durations are stored as whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// Runs after the first that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// The delay between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// How that delay is spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
    /// For how long after the start of its first run it is retried.
    #[serde(skip_serializing_if = "Option::is_none", with = "maybe_micros")]
    pub retry_for: Option<Duration>,
    /// The longest an attempt may take.
    #[serde(skip_serializing_if = "Option::is_none", with = "maybe_micros")]
    pub timeout: Option<Duration>,
    /// How long the completed job and its result are kept.
    #[serde(skip_serializing_if = "Option::is_none", with = "maybe_micros")]
    pub keep: Option<Duration>,
}

impl Overrides {
    /// Whether nothing is overridden.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Bytes that are not an envelope this program can open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Written by a newer version of the library. A producer that writes such envelopes says so in
    /// [`NewJob::needs`](super::NewJob::needs), so a worker meets this only where that was forgotten.
    #[error(
        "the envelope has version {version}, flags {flags:#04x}; this program opens version {VERSION} without flags: upgrade the worker"
    )]
    Newer {
        /// The version byte.
        version: u8,
        /// The flags byte.
        flags: u8,
    },
    /// Damaged, or not written by this library.
    #[error("the envelope can't be opened: {0}")]
    Damaged(String),
}

impl Envelope {
    /// The bytes that are stored.
    ///
    /// # Errors
    /// [`EnvelopeError::Damaged`] when a value refuses to be encoded.
    pub fn encode(&self) -> Result<Bytes, EnvelopeError> {
        let mut bytes = Vec::with_capacity(self.args.len() + 16);
        bytes.extend([VERSION, 0]);
        let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable();
        self.serialize(&mut serializer).map_err(|e| EnvelopeError::Damaged(e.to_string()))?;
        Ok(bytes.into())
    }

    /// Opens stored bytes.
    ///
    /// # Errors
    /// [`EnvelopeError::Newer`] for a version or flag of the future, [`EnvelopeError::Damaged`] for anything else that
    /// is not an envelope, bytes left over included.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let [version, flags, body @ ..] = bytes else {
            return Err(EnvelopeError::Damaged(format!("it has {} bytes", bytes.len())));
        };
        match (*version, *flags) {
            (VERSION, 0) => {}
            (0, _) => return Err(EnvelopeError::Damaged("version 0".into())),
            (version, flags) => return Err(EnvelopeError::Newer { version, flags }),
        }
        let mut rest = body;
        let mut deserializer = rmp_serde::Deserializer::new(&mut rest).with_human_readable();
        let envelope = Self::deserialize(&mut deserializer).map_err(|e| EnvelopeError::Damaged(e.to_string()))?;
        if rest.is_empty() {
            Ok(envelope)
        } else {
            Err(EnvelopeError::Damaged(format!("{} bytes follow it", rest.len())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Envelope {
        Envelope {
            headers: BTreeMap::from([("traceparent".into(), "00-ab-cd-01".into())]),
            overrides: Overrides {
                retries: Some(3),
                backoff: Some(Backoff::exponential(Duration::from_secs(2))),
                jitter: Some(Jitter::Full),
                retry_for: Some(Duration::from_secs(600)),
                timeout: Some(Duration::from_millis(1_500)),
                keep: None,
            },
            input: Some("receipt".into()),
            intake: Intake { form: Form::List, told: true },
            args: Bytes::from_static(&[0x81, 0xa1, b'n', 7]),
        }
    }

    #[test]
    fn survives_its_bytes() {
        for envelope in [full(), Envelope { args: Bytes::from_static(&[0x80]), ..Envelope::default() }] {
            assert_eq!(Envelope::decode(&envelope.encode().unwrap()).unwrap(), envelope);
        }
    }

    #[test]
    fn every_backoff_survives_its_bytes() {
        let second = Duration::from_secs(1);
        let backoffs = [Backoff::fixed(second), Backoff::linear(second, second), Backoff::list(&[second, second * 9])];
        for backoff in backoffs {
            let overrides = Overrides { backoff: Some(backoff), ..Overrides::default() };
            let envelope = Envelope { overrides, ..full() };
            assert_eq!(Envelope::decode(&envelope.encode().unwrap()).unwrap(), envelope);
        }
    }

    #[test]
    fn an_intake_is_a_number() {
        let numbers = [Form::One, Form::List, Form::Chunks].map(|form| Intake { form, told: false });
        for (number, intake) in numbers
            .into_iter()
            .chain(numbers.map(|i| Intake { told: true, ..i }))
            .zip([0, 1, 2, 4, 5, 6])
            .map(|(i, n)| (n, i))
        {
            assert_eq!((u8::from(intake), Intake::from(number)), (number, intake));
        }
    }

    #[test]
    fn a_bare_job_costs_seven_bytes() {
        let bare = Envelope { args: Bytes::from_static(&[0x80]), ..Envelope::default() };
        assert_eq!(&bare.encode().unwrap()[..], [1, 0, 0x81, 0xa1, b'a', 0xc4, 1, 0x80]);
    }

    #[test]
    fn the_future_is_told_from_damage() {
        let mut bytes = full().encode().unwrap().to_vec();
        bytes[1] = 4;
        assert_eq!(Envelope::decode(&bytes).unwrap_err(), EnvelopeError::Newer { version: 1, flags: 4 });
        bytes[0] = 9;
        assert!(matches!(Envelope::decode(&bytes), Err(EnvelopeError::Newer { version: 9, .. })));
        for damaged in [&b""[..], &[1], &[0, 0, 0x80], &[1, 0, 0xc1], &[1, 0]] {
            assert!(matches!(Envelope::decode(damaged), Err(EnvelopeError::Damaged(_))), "{damaged:?}");
        }
        let mut long = full().encode().unwrap().to_vec();
        long.push(0);
        assert!(Envelope::decode(&long).unwrap_err().to_string().contains("1 bytes follow"));
    }

    #[test]
    fn entries_of_a_newer_minor_are_ignored() {
        let mut bytes = vec![1, 0, 0x82, 0xa1, b'z', 5, 0xa1, b'a', 0xc4, 1, 0x80];
        assert_eq!(Envelope::decode(&bytes).unwrap().args, Bytes::from_static(&[0x80]));
        bytes.pop();
        assert!(Envelope::decode(&bytes).is_err());
    }
}
