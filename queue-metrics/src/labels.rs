//! Names that have a label of their own, as far as there is room.

use std::collections::HashSet;

/// The label of those above the limit.
pub(crate) const OTHER: &str = "_other";

/// How many have a label of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) queues: usize,
    pub(crate) tasks: usize,
}

/// Names that are told apart. Whoever is once, stays so: a counter that changed its label would seem to begin anew.
#[derive(Debug)]
pub(crate) struct Names {
    limit: usize,
    told: HashSet<Box<str>>,
}

impl Names {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, told: HashSet::new() }
    }

    /// What this name is called, were it admitted.
    pub(crate) fn label<'a>(&self, name: &'a str) -> &'a str {
        if self.told.len() < self.limit || self.told.contains(name) { name } else { OTHER }
    }

    /// What this name is called from now on.
    pub(crate) fn admit<'a>(&mut self, name: &'a str) -> &'a str {
        let label = self.label(name);
        if label != OTHER && !self.told.contains(label) {
            self.told.insert(label.into());
        }
        label
    }

    /// Whether this name is told apart.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.told.contains(name)
    }
}
