//! Names and numbers: jobs, workers, callers, queues, tasks, shards, fences.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time::Timestamp;

/// Crockford's base32 alphabet: digits and upper-case letters without I, L, O, U.
/// Source: Douglas Crockford, <https://www.crockford.com/base32.html>.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of an id as text: 128 bits in groups of five.
const TEXT_LEN: usize = 26;
/// The low bits of a job's id that name its home shard.
const TAG_BITS: u128 = (1 << 12) - 1;

fn encode_base32(mut value: u128) -> [u8; TEXT_LEN] {
    let mut text = [b'0'; TEXT_LEN];
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
    text
}

fn decode_base32(text: &str) -> Result<u128, IdError> {
    let fail = |why: String| IdError { text: text.chars().take(40).collect(), why };
    if text.chars().count() != TEXT_LEN {
        return Err(fail(format!("it has {} characters, an id has {TEXT_LEN}", text.chars().count())));
    }
    let mut value: u128 = 0;
    for (at, c) in text.chars().enumerate() {
        let upper = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let digit = ALPHABET.iter().position(|&a| char::from(a) == upper);
        let digit = digit.ok_or_else(|| fail(format!("`{c}` at position {} is not in base32", at + 1)))?;
        if at == 0 && digit > 7 {
            return Err(fail("it is larger than 128 bits".into()));
        }
        value = value << 5 | digit as u128;
    }
    Ok(value)
}

/// A text that is not an id: what was given and why it was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id: {why}")]
pub struct IdError {
    text: String,
    why: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The 128 bits.
            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0
            }

            /// From the 128 bits, as they were given by [`as_u128`](Self::as_u128).
            #[must_use]
            pub const fn from_u128(bits: u128) -> Self {
                Self(bits)
            }
        }

        /// 26 characters of Crockford's base32, sortable by time.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = encode_base32(self.0);
                f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                decode_base32(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_id! {
    /// A job's identity: a UUIDv7 (RFC 9562) made by the client together with the call, whose last twelve bits name the
    /// job's home shard. It sorts by the time it was made and, for the same reason, is no secret.
    ///
    /// ```
    /// use queue_storage::model::{JobId, Shard};
    /// let id = JobId::new(&Shard::of("mail".parse()?));
    /// assert_eq!(id.to_string().len(), 26);
    /// assert_eq!(id.to_string().parse::<JobId>()?, id);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    JobId
}

uuid_id! {
    /// One incarnation of a worker: made anew at each start, never chosen by a user.
    WorkerId
}

uuid_id! {
    /// One incarnation of an enqueueing client: made anew for each client, never chosen by a user.
    CallerId
}

impl JobId {
    /// A new id whose home is `shard`.
    #[must_use]
    pub fn new(shard: &Shard) -> Self {
        Self(Uuid::now_v7().as_u128()).at_home(shard)
    }

    /// The same id, its home moved to `shard`.
    #[must_use]
    pub fn at_home(self, shard: &Shard) -> Self {
        Self(self.0 & !TAG_BITS | u128::from(shard.tag()))
    }

    /// When it was made, by its client's clock; to the millisecond, as UUIDv7 has it.
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        let millis = i64::try_from(self.0 >> 80).unwrap_or(i64::MAX);
        Timestamp::from_micros(millis.saturating_mul(1_000))
    }

    /// The tag of the home shard: equal to [`Shard::tag`] of the shard the job lives in.
    #[must_use]
    pub fn home_tag(self) -> u16 {
        (self.0 & TAG_BITS) as u16
    }
}

impl WorkerId {
    /// A new incarnation.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7().as_u128())
    }
}

impl CallerId {
    /// A new incarnation.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7().as_u128())
    }
}

impl From<JobId> for Uuid {
    fn from(id: JobId) -> Self {
        Self::from_u128(id.0)
    }
}

/// A name that was refused: what was given, what it was for, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` can't name a {what}: {why}; use 1 to 128 bytes of letters, digits and `_` `-` `.` `:` `/`")]
pub struct NameError {
    what: &'static str,
    given: String,
    why: String,
}

fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    let fail = |why: String| Err(NameError { what, given: name.chars().take(40).collect(), why });
    if name.is_empty() {
        return fail("it is empty".into());
    }
    if name.len() > 128 {
        return fail(format!("it has {} bytes", name.len()));
    }
    match name.chars().find(|c| !(c.is_alphanumeric() || "_-.:/".contains(*c))) {
        Some(c) => fail(format!("it holds {c:?}")),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The checked name.
            ///
            /// # Errors
            /// [`NameError`] when it is empty, longer than 128 bytes, or holds anything but letters, digits and `_-.:/`.
            pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
                check_name($what, name.as_ref())?;
                Ok(Self(Arc::from(name.as_ref())))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a queue: 1 to 128 bytes of letters, digits and `_-.:/`. The default queue is `default`.
    QueueName, "queue"
}

name! {
    /// The name of a task as stored with its jobs: 1 to 128 bytes of letters, digits and `_-.:/`.
    TaskName, "task"
}

name! {
    /// A label of jobs, to find them by: 1 to 128 bytes of letters, digits and `_-.:/`.
    Tag, "tag"
}

name! {
    /// What jobs share that may not run together, too fast, or twice: 1 to 128 bytes of letters, digits and `_-.:/`. It means
    /// something within one queue only.
    Key, "key"
}

name! {
    /// The name of a schedule: 1 to 128 bytes of letters, digits and `_-.:/`. It means something within one queue only.
    ScheduleName, "schedule"
}

name! {
    /// Keeps applications that share one storage apart: 1 to 128 bytes of letters, digits and `_-.:/`.
    Namespace, "namespace"
}

impl Default for QueueName {
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Arc::from("queue"))
    }
}

/// One part of a queue: the unit within which a storage call is atomic and order is exact. A queue has one shard today.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shard {
    /// The queue it is part of.
    pub queue: QueueName,
    /// Its number in the queue, from 0.
    pub index: u16,
}

impl Shard {
    /// The only shard of an unsharded queue.
    #[must_use]
    pub fn of(queue: QueueName) -> Self {
        Self { queue, index: 0 }
    }

    /// Twelve bits that stand for this shard in the ids of its jobs: FNV-1a of name and index, folded.
    ///
    /// Two shards may share a tag; look-up by id then asks both.
    /// Source: Fowler, Noll, Vo, <http://www.isthe.com/chongo/tech/comp/fnv/> (32 bit, xor-folded).
    #[must_use]
    pub fn tag(&self) -> u16 {
        let mut hash: u32 = 0x811c_9dc5;
        for byte in self.queue.as_str().bytes().chain(self.index.to_be_bytes()) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        ((hash >> 24 ^ hash >> 12 ^ hash) & 0xfff) as u16
    }
}

/// `mail`, or `mail#3` for the fourth shard.
impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            0 => write!(f, "{}", self.queue),
            n => write!(f, "{}#{n}", self.queue),
        }
    }
}

/// The number of a lease, rising within a shard. Together with the worker it belongs to it is compared by every later
/// write about the running job, so that a holder whose lease has ended can change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(name: &str) -> Shard {
        Shard::of(name.parse().unwrap())
    }

    #[test]
    fn ids_survive_text_and_read_human_slips() {
        let id = JobId::new(&shard("mail"));
        let text = id.to_string();
        assert_eq!(text.parse::<JobId>().unwrap(), id);
        assert_eq!(text.to_lowercase().parse::<JobId>().unwrap(), id);
        assert_eq!(text.replace('0', "o").replace('1', "l").parse::<JobId>().unwrap(), id);
        assert_eq!(JobId::from_u128(u128::MAX).to_string(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    }

    #[test]
    fn text_that_is_no_id_says_why() {
        let cases = [
            ("abc", "it has 3 characters, an id has 26"),
            ("8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "it is larger than 128 bits"),
            ("0ZZZZZZZZZZZ!ZZZZZZZZZZZZZ", "`!` at position 13 is not in base32"),
        ];
        for (text, why) in cases {
            let error = text.parse::<JobId>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn ids_carry_their_home_and_sort_by_time() {
        let (mail, web) = (shard("mail"), shard("web"));
        let id = JobId::new(&mail);
        assert_eq!(id.home_tag(), mail.tag());
        assert_eq!(id.at_home(&web).home_tag(), web.tag());
        assert_eq!(id.at_home(&web).at_home(&mail), id);
        assert_eq!(Uuid::from(id).get_version_num(), 7);
        let made: Vec<_> = (0..1_000).map(|_| JobId::new(&mail)).collect();
        let distinct: std::collections::BTreeSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), made.len());
    }

    #[test]
    fn names_are_checked() {
        for good in ["default", "mail.eu-1", "a/b:c_d", "évènement"] {
            assert!(QueueName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a{b}", "tab\t", &"x".repeat(129)] {
            assert!(QueueName::new(bad).is_err(), "{bad}");
        }
        let error = TaskName::new("a b").unwrap_err().to_string();
        assert_eq!(
            error,
            "`a b` can't name a task: it holds ' '; use 1 to 128 bytes of letters, digits and `_` `-` `.` `:` `/`"
        );
    }
}
