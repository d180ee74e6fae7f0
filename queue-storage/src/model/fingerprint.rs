//! One number for failures that are the same but for what varies.

use std::fmt;

use super::job::Failure;

/// A number that failures share when they are the same but for what varies from one to the next.
///
/// It is shown as sixteen hexadecimal digits, and is the same in every version of the library and on every machine: it
/// may be stored, and put into a link.
///
/// ```
/// use queue_storage::model::{Failure, FailureKind};
///
/// let of = |message| Failure::new(FailureKind::Error, message).fingerprint();
/// assert_eq!(of("user 17 has no mailbox 'inbox'"), of("user 4 has no mailbox 'sent'"));
/// assert_ne!(of("user 17 has no mailbox"), of("user 17 has no quota"));
/// assert_eq!(of("disk full").to_string(), "211d97b43411982f");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Failure {
    /// What this failure has in common with others of its sort: FNV-1a (64 bits) over its kind, its error type and its
    /// message, each followed by a byte of zero; a missing type is an empty one.
    ///
    /// In the message a `#` stands for each UUID, each number (`12`, `1.5`, `0x1f`), each run of at least eight
    /// hexadecimal digits, and each run of at least sixteen letters and digits that are not all letters; a `?` stands
    /// for each text in quotes (`'…'`, `"…"`, `` `…` ``), quotes included.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fold = Fold::new();
        fold.part(self.kind.as_str().chars());
        fold.part(self.error_type.as_deref().unwrap_or_default().chars());
        fold.part(same_in_all(&self.message).chars());
        Fingerprint(fold.0)
    }
}

/// FNV-1a, 64 bits: Fowler, Noll, Vo; draft-eastlake-fnv.
struct Fold(u64);

impl Fold {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn part(&mut self, text: impl Iterator<Item = char>) {
        for char in text {
            char.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| self.byte(byte));
        }
        self.byte(0);
    }
}

/// The message without what varies.
fn same_in_all(message: &str) -> String {
    let mut kept = String::with_capacity(message.len());
    let (mut rest, mut before) = (message, None);
    while let Some(first) = rest.chars().next() {
        let (len, shown) = match (quoted(rest, first, before), varying(rest, before)) {
            (Some(len), _) => (len, "?"),
            (None, Some(len)) => (len, "#"),
            (None, None) => (first.len_utf8(), &rest[..first.len_utf8()]),
        };
        kept.push_str(shown);
        before = rest[..len].chars().next_back();
        rest = &rest[len..];
    }
    kept
}

/// The length of the quoted text that starts here. An apostrophe within a word opens and closes nothing.
fn quoted(text: &str, first: char, before: Option<char>) -> Option<usize> {
    let apostrophe = first == '\'';
    if !matches!(first, '\'' | '"' | '`') || apostrophe && before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let closes = |at: &usize| !(apostrophe && text[at + 1..].starts_with(char::is_alphanumeric));
    text.match_indices(first).skip(1).map(|(at, _)| at).find(closes).map(|at| at + 1)
}

/// The length of the id or number that starts here.
fn varying(text: &str, before: Option<char>) -> Option<usize> {
    let within = before.is_some_and(|char| char.is_ascii_alphanumeric());
    if !within && let Some(len) = id(text) {
        return Some(len);
    }
    let mut len = run(text, |byte| byte.is_ascii_digit());
    while len > 0 && text[len..].starts_with('.') {
        match run(&text[len + 1..], |byte| byte.is_ascii_digit()) {
            0 => break,
            digits => len += 1 + digits,
        }
    }
    (len > 0).then_some(len)
}

/// The length of the id that starts with the word here.
fn id(text: &str) -> Option<usize> {
    const UUID: usize = 36;
    let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let fits = |(at, byte): (usize, &u8)| if dash(at) { *byte == b'-' } else { byte.is_ascii_hexdigit() };
    let uuid = text.as_bytes().get(..UUID).is_some_and(|bytes| bytes.iter().enumerate().all(fits));
    if uuid && run(&text[UUID..], |byte| byte.is_ascii_alphanumeric()) == 0 {
        return Some(UUID);
    }
    let word = &text.as_bytes()[..run(text, |byte| byte.is_ascii_alphanumeric())];
    let hex = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let prefixed = word.strip_prefix(b"0x").is_some_and(hex);
    let long = word.len() >= 16 && word.iter().any(u8::is_ascii_digit);
    (prefixed || long || word.len() >= 8 && hex(word)).then_some(word.len())
}

/// How many bytes at the start are of this sort, which is one of ASCII.
fn run(text: &str, sort: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| sort(*byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::FailureKind;

    #[test]
    fn what_varies_is_left_out() {
        let cases = [
            ("user 17 has 3 mails", "user # has # mails"),
            ("took 1.5s, not 20ms.", "took #s, not #ms."),
            ("from 10.0.0.1:6379 at 0x1F", "from #:# at #"),
            ("job 01KDVDNA00F8DRRB9Y9XD6PXWH is gone", "job # is gone"),
            ("row 67e55044-10b1-426f-9247-bb680e5fe0c8 is locked", "row # is locked"),
            ("row deadbeef-dead-beef-dead-beefdeadbeef", "row #"),
            ("commit 9bfa3e0c and 0xzz and face", "commit # and #xzz and face"),
            ("can't open 'a b', \"c\\d\" or `é`: it isn't there", "can't open ?, ? or ?: it isn't there"),
            ("an open \" and a long internationalisation", "an open \" and a long internationalisation"),
            ("utf8 of sha256, été 9", "utf# of sha#, été #"),
            ("", ""),
        ];
        for (message, same) in cases {
            assert_eq!(same_in_all(message), same);
        }
    }

    #[test]
    fn kind_and_type_count_and_keep_their_places() {
        let of = |kind, message: &str| Failure::new(kind, message);
        let plain = of(FailureKind::Error, "x").fingerprint();
        assert_ne!(plain, of(FailureKind::Panic, "x").fingerprint());
        assert_ne!(plain, of(FailureKind::Error, "x").of_type("x").fingerprint());
        assert_ne!(of(FailureKind::Error, "").of_type("x").fingerprint(), plain);
    }

    /// They may be stored: these never change.
    #[test]
    fn known_numbers() {
        let timeout = Failure::new(FailureKind::Timeout, "the attempt took longer than its timeout of 20ms");
        let typed = Failure::new(FailureKind::Error, "id 7").of_type("io::Error");
        let shown = [timeout, typed].map(|failure| failure.fingerprint().to_string());
        assert_eq!(shown, ["c1060d591a3e0518", "4e373b4d2035f2f7"]);
    }
}
