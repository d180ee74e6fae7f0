//! One field: the entries of its list, read and written.

use std::fmt;

use crate::entry::Entry;
use crate::error::Fault;
use crate::kinds::{Item, Kind};

/// A field, its items in order and each once.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    kind: &'static Kind,
    pub(crate) items: Vec<Item>,
}

impl Field {
    /// Reads a field that stands at a byte of the expression.
    pub(crate) fn read(kind: &'static Kind, text: &str, at: usize) -> Result<Self, Fault> {
        let mut items = Vec::new();
        let mut start = at;
        for entry in text.split(',') {
            items.push(Entry { kind, text: entry, at: start }.item()?);
            start += entry.len() + 1;
        }
        if items.len() > 1 && items.contains(&Item::Star { step: 1 }) {
            return Err(kind
                .fault(at..at + text.len(), "`*` is every value, so the rest of the list says nothing")
                .hint("leave `*` alone, or take it out"));
        }
        items.sort_unstable();
        items.dedup();
        Ok(Self { kind, items })
    }

    /// Whether one of its items starts with `*`.
    pub(crate) fn starred(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Star { .. }))
    }

    /// The plain values as bits; Sunday is bit 0.
    pub(crate) fn values(&self) -> u64 {
        let bits = |from: u8, to: u8, step: u8| {
            (from..=to).step_by(usize::from(step)).fold(0, |bits, value| bits | 1 << self.kind.folded(value))
        };
        self.items.iter().fold(0, |all, item| match *item {
            Item::Star { step } => all | bits(self.kind.min, self.kind.max, step),
            Item::Span { from, to, step } => all | bits(from, to, step),
            _ => all,
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, item) in self.items.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{item}")?;
        }
        Ok(())
    }
}
