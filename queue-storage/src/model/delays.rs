//! A short list of delays that is plain data: copied, compared, made at compile time.

use std::fmt;
use std::time::Duration;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One to sixteen delays, one after each failure; the last is repeated.
///
/// Stored as a list of whole microseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    len: u8,
    /// Zero from `len` on, so that equal lists compare equal.
    micros: [u64; Self::MAX],
}

impl Delays {
    /// The longest list.
    pub const MAX: usize = 16;

    /// These delays.
    ///
    /// # Panics
    /// The list is empty or longer than [`MAX`](Self::MAX). In a constant that is a compile error.
    #[must_use]
    pub const fn new(delays: &[Duration]) -> Self {
        match Self::checked(delays) {
            Some(delays) => delays,
            None => panic!("a list of delays holds 1 to 16 of them"),
        }
    }

    const fn checked(delays: &[Duration]) -> Option<Self> {
        if delays.is_empty() || delays.len() > Self::MAX {
            return None;
        }
        let (mut micros, mut at) = ([0; Self::MAX], 0);
        while at < delays.len() {
            let whole = delays[at].as_micros();
            micros[at] = if whole > u64::MAX as u128 { u64::MAX } else { whole as u64 };
            at += 1;
        }
        Some(Self { len: at as u8, micros })
    }

    /// The delay after the `attempt`-th failure (from 1): the last one from the end of the list on.
    #[must_use]
    pub fn after(&self, attempt: u32) -> Duration {
        let last = usize::from(self.len) - 1;
        let at = usize::try_from(attempt.saturating_sub(1)).unwrap_or(last).min(last);
        Duration::from_micros(self.micros[at])
    }

    /// The delays as listed.
    pub fn iter(&self) -> impl Iterator<Item = Duration> {
        self.micros[..usize::from(self.len)].iter().copied().map(Duration::from_micros)
    }
}

impl fmt::Debug for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Delays {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(usize::from(self.len)))?;
        for micros in &self.micros[..usize::from(self.len)] {
            list.serialize_element(micros)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Delays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Delays;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "1 to {} delays in microseconds", Delays::MAX)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Delays, A::Error> {
                let mut delays = Vec::new();
                while let Some(micros) = list.next_element()? {
                    // One too many is enough to refuse it.
                    if delays.len() <= Delays::MAX {
                        delays.push(Duration::from_micros(micros));
                    }
                }
                let count = delays.len();
                Delays::checked(&delays).ok_or_else(|| serde::de::Error::invalid_length(count, &self))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_last_is_repeated() {
        const LIST: Delays = Delays::new(&[SECOND, Duration::from_secs(10)]);
        let delays = [0, 1, 2, 3, u32::MAX].map(|attempt| LIST.after(attempt).as_secs());
        assert_eq!(delays, [1, 1, 10, 10, 10]);
        assert_eq!(LIST.iter().count(), 2);
    }

    #[test]
    fn what_is_stored_comes_back_and_what_does_not_fit_is_refused() {
        let full = Delays::new(&[Duration::from_micros(7); Delays::MAX]);
        for list in [full, Delays::new(&[SECOND])] {
            assert_eq!(rmp_serde::from_slice::<Delays>(&rmp_serde::to_vec(&list).unwrap()).unwrap(), list);
        }
        for wrong in [vec![], vec![1_u64; Delays::MAX + 1]] {
            let error = rmp_serde::from_slice::<Delays>(&rmp_serde::to_vec(&wrong).unwrap()).unwrap_err();
            assert!(error.to_string().contains("1 to 16 delays"), "{error}");
        }
    }

    #[test]
    #[should_panic(expected = "1 to 16")]
    fn an_empty_list_is_none() {
        let _ = Delays::new(&[]);
    }
}
