//! `--key value` pairs, and `--key` alone where the next word is another key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use queue::BoxError;

/// The words of the command line.
#[derive(Debug)]
pub(crate) struct Flags(BTreeMap<String, String>);

impl Flags {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, BoxError> {
        let mut flags = BTreeMap::new();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            let key = word.strip_prefix("--").ok_or_else(|| format!("`{word}` is no flag"))?;
            let value = words.next_if(|next| !next.starts_with("--")).unwrap_or_default();
            flags.insert(key.to_owned(), value);
        }
        Ok(Self(flags))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn text(&self, key: &str) -> Result<&str, BoxError> {
        self.0.get(key).map(String::as_str).ok_or_else(|| format!("--{key} is missing").into())
    }

    /// What is between commas; nothing without the flag.
    pub(crate) fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flat_map(|words| words.split(','))
    }

    /// The folder with the log and the gates.
    pub(crate) fn dir(&self) -> Result<PathBuf, BoxError> {
        Ok(self.text("dir")?.into())
    }

    /// The URL of the storage.
    pub(crate) fn url(&self) -> Result<&str, BoxError> {
        self.text("url")
    }

    pub(crate) fn number<N: FromStr>(&self, key: &str, default: N) -> Result<N, BoxError> {
        match self.0.get(key) {
            None => Ok(default),
            Some(word) => word.parse().map_err(|_| format!("--{key}: `{word}` is no number here").into()),
        }
    }
}
