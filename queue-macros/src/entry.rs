//! One option of `#[task(..)]`: its name, and the forms that values take.

use std::str::FromStr;
use std::time::Duration;

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, LitInt, LitStr, Path, Token, bracketed};

use crate::duration;
use crate::name;

/// Every option, with what it takes and an example.
const VALID: [(&str, &str, &str); 28] = [
    ("name", "a string", "name = \"send_email\""),
    ("aliases", "a list of strings", "aliases = [\"mail\", \"send_mail\"]"),
    ("queue", "a string", "queue = \"mail\""),
    ("priority", "an `i32`", "priority = 10"),
    ("retries", "a `u32`", "retries = 3"),
    ("backoff", "a backoff", "backoff = exponential(\"2s\", cap = \"1h\")"),
    ("jitter", "`none`, `full` or `equal`", "jitter = full"),
    ("retry_for", "a duration", "retry_for = \"10m\""),
    ("retry_if", "the path to a function", "retry_if = is_transient"),
    ("timeout", "a duration", "timeout = \"90s\""),
    ("expires", "a duration", "expires = \"1h\""),
    ("deadline", "a duration", "deadline = \"2h\""),
    ("tags", "a list of strings", "tags = [\"mail\", \"weekly\"]"),
    ("keep", "a duration", "keep = \"1d\""),
    ("unique", "nothing, or how", "unique(key = \"customer\", until = started)"),
    ("concurrency", "a number", "concurrency(5, key = \"tenant\")"),
    ("rate", "starts in a period", "rate(\"100/s\", burst = 5)"),
    ("lock", "a name", "lock = \"ledger\""),
    ("at_most_once", "no value", "at_most_once"),
    ("cron", "a cron expression in quotes", "cron = \"0 */2 * * *\""),
    ("every", "a duration", "every = \"5m\""),
    ("tz", "the name of a time zone", "tz = \"Europe/Paris\""),
    ("missed", "`skip`, `skip(\"10m\")`, `last`, or `all(5)` with 1 to 1000", "missed = last"),
    ("overlap", "`allow`, `skip` or `cancel_running`", "overlap = skip"),
    ("tick_jitter", "a duration", "tick_jitter = \"30s\""),
    ("revision", "a `u32`", "revision = 2"),
    ("args", "a name for the struct", "args = SendEmail"),
    ("crate", "the path to the library", "crate = my_framework::queue"),
];

/// One option, its key read.
pub(crate) struct Entry<'a> {
    pub(crate) key: Ident,
    pub(crate) input: ParseStream<'a>,
}

impl<'a> Entry<'a> {
    pub(crate) fn new(input: ParseStream<'a>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any).map_err(|error| {
            let message = "expected an option, such as `name = \"send_email\"` or `retries = 3`";
            Error::new(error.span(), message)
        })?;
        Ok(Self { key, input })
    }

    pub(crate) fn unknown(&self) -> Error {
        let valid = VALID.map(|(name, ..)| format!("`{name}`")).join(", ");
        let meant = meant(&self.key.to_string()).map(|name| format!(": do you mean `{name}`?")).unwrap_or_default();
        let message = format!("unknown task option `{}`{meant}\nhelp: valid options are {valid}", self.key);
        Error::new(self.key.span(), message)
    }

    /// The value is not what this option takes.
    pub(crate) fn wrong(&self, span: Span) -> Error {
        let key = self.key.to_string();
        let (_, takes, example) = VALID.into_iter().find(|(name, ..)| *name == key).unwrap_or_default();
        Error::new(span, format!("`{key}` takes {takes}: `{example}`"))
    }

    pub(crate) fn equals(&self) -> syn::Result<()> {
        match self.input.parse::<Token![=]>() {
            Ok(_) => Ok(()),
            Err(_) => Err(self.wrong(self.key.span())),
        }
    }

    pub(crate) fn parse_with<T>(&self, parse: fn(ParseStream<'_>) -> syn::Result<T>) -> syn::Result<T> {
        self.equals()?;
        parse(self.input)
    }

    pub(crate) fn value<T: Parse>(&self) -> syn::Result<T> {
        self.equals()?;
        let span = self.input.span();
        self.input.parse().map_err(|_| self.wrong(span))
    }

    pub(crate) fn flag(&self) -> syn::Result<Span> {
        if self.input.peek(Token![=]) {
            return Err(self.wrong(self.input.span()));
        }
        Ok(self.key.span())
    }

    pub(crate) fn number<T: FromStr<Err: std::fmt::Display>>(&self) -> syn::Result<T> {
        let literal: LitInt = self.value()?;
        let number = literal.base10_parse().ok().filter(|_| literal.suffix().is_empty());
        number.ok_or_else(|| self.wrong(literal.span()))
    }

    pub(crate) fn name(&self, what: &str) -> syn::Result<LitStr> {
        name::checked(what, self.value()?)
    }

    pub(crate) fn names(&self, what: &str) -> syn::Result<Vec<LitStr>> {
        self.equals()?;
        let span = self.input.span();
        let list = |input: ParseStream<'_>| {
            let content;
            bracketed!(content in input);
            Punctuated::<LitStr, Token![,]>::parse_terminated(&content)
        };
        let names = list(self.input).map_err(|_| self.wrong(span))?;
        names.into_iter().map(|name| name::checked(what, name)).collect()
    }

    /// As many labels as a job may have.
    pub(crate) fn tags(&self) -> syn::Result<Vec<LitStr>> {
        const MOST: usize = 8;
        let tags = self.names("tag")?;
        match tags.get(MOST) {
            Some(tag) => Err(Error::new(tag.span(), format!("a job has {MOST} tags at most"))),
            None => Ok(tags),
        }
    }

    /// The variant of an enum that stands beside the word.
    pub(crate) fn variant(&self, words: &[(&str, &str)]) -> syn::Result<Ident> {
        let word: Ident = self.value()?;
        let found = words.iter().find(|(name, _)| word == name);
        found.map(|(_, variant)| Ident::new(variant, word.span())).ok_or_else(|| self.wrong(word.span()))
    }

    pub(crate) fn timeout(&self) -> syn::Result<Duration> {
        self.equals()?;
        let span = self.input.span();
        match duration::parse(self.input)? {
            Duration::ZERO => {
                Err(Error::new(span, "a `timeout` of zero ends every attempt at once\nhelp: leave it out for no limit"))
            }
            timeout => Ok(timeout),
        }
    }

    pub(crate) fn function(&self) -> syn::Result<Path> {
        self.equals()?;
        let span = self.input.span();
        self.input.call(Path::parse_mod_style).map_err(|_| self.wrong(span))
    }

    /// A path that can be written as text, as serde asks for it.
    pub(crate) fn path(&self) -> syn::Result<Path> {
        self.equals()?;
        let span = self.input.span();
        let path = self.input.call(Path::parse_mod_style).map_err(|_| self.wrong(span))?;
        if path.segments.iter().any(|segment| segment.ident == "$crate") {
            let message = "`crate` can't start with `$crate`, which has no meaning to serde's derive\n\
                           help: name the crate: `crate = ::my_framework::queue`";
            return Err(Error::new(span, message));
        }
        Ok(path)
    }
}

/// The option that is likely meant: the longest that the word holds, else the one it misspells.
fn meant(word: &str) -> Option<&'static str> {
    let names = || VALID.into_iter().map(|(name, ..)| name);
    let held = names().filter(|name| name.len() > 3 && word.contains(name)).max_by_key(|name| name.len());
    let near = || {
        let slips = names().map(|name| (slips(word, name), name));
        slips.filter(|(slips, name)| *slips <= 2 && slips * 2 < name.len()).min().map(|(_, name)| name)
    };
    held.or_else(near)
}

/// How many letters are to be added, removed or replaced to make one word the other.
fn slips(word: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, ours) in word.bytes().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, theirs) in other.bytes().enumerate() {
            let replaced = before + usize::from(ours != theirs);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn what_was_meant_is_guessed_where_it_is_near() {
        let near = ["crontab", "crone", "evry", "retrys", "max_retries", "timeouts", "task_name", "cron_missed"];
        let options = ["cron", "cron", "every", "retries", "retries", "timeout", "name", "missed"];
        assert_eq!(near.map(meant), options.map(Some));
        assert_eq!(["schedule", "zone", "t", "x", "größe"].map(meant), [None; 5]);
    }
}
