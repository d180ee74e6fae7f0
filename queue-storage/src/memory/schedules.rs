//! Schedules: changed by compare-and-set together with what their ticks enqueue, and told when they are due.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::Hints;
use super::enqueue::admit;
use super::line::Line;
use crate::model::{ScheduleName, Timestamp};
use crate::storage::{
    Changed, MAX_CLAIM_BYTES, MAX_PAGE, MAX_UPKEEP, ScheduleChange, SchedulePage, ScheduleQuery, ScheduleRecord,
    StorageError,
};

/// The schedules of a shard.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    by_name: BTreeMap<ScheduleName, ScheduleRecord>,
    by_due: BTreeMap<Timestamp, BTreeSet<ScheduleName>>,
    /// Whether there ever was one.
    pub(super) any: bool,
}

impl Schedules {
    /// When the first is due.
    fn first(&self) -> Option<Timestamp> {
        self.by_due.first_key_value().map(|(at, _)| *at)
    }

    /// Whether one is due.
    pub(super) fn are_due(&self, now: Timestamp) -> bool {
        self.first().is_some_and(|at| at <= now)
    }

    /// When the next is to be due.
    pub(super) fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.by_due.range((Excluded(now), Unbounded)).next().map(|(at, _)| *at)
    }

    /// What is due, and whether there is more of it.
    pub(super) fn due(&self, now: Timestamp) -> (Vec<ScheduleRecord>, bool) {
        let names = self.by_due.range(..=now).flat_map(|(_, names)| names);
        bounded(names.filter_map(|name| self.by_name.get(name)), MAX_UPKEEP as usize)
    }

    fn set(&mut self, name: &ScheduleName, record: Option<ScheduleRecord>) {
        let before = self.by_name.remove(name).and_then(|before| before.due);
        if let Some(Entry::Occupied(mut names)) = before.map(|due| self.by_due.entry(due)) {
            names.get_mut().remove(name);
            if names.get().is_empty() {
                names.remove();
            }
        }
        let Some(record) = record else { return };
        if let Some(due) = record.due {
            self.by_due.entry(due).or_default().insert(name.clone());
        }
        self.by_name.insert(name.clone(), record);
        self.any = true;
    }

    /// Those asked for.
    pub(super) fn page(&self, query: &ScheduleQuery, now: Timestamp) -> SchedulePage {
        let (schedules, more) = match query {
            ScheduleQuery::Named(names) => {
                let names: BTreeSet<&ScheduleName> = names.iter().collect();
                let found = names.into_iter().filter_map(|name| self.by_name.get(name));
                (found.cloned().collect(), false)
            }
            ScheduleQuery::After(after, limit) => {
                let limit = if *limit == 0 { MAX_PAGE } else { (*limit).min(MAX_PAGE) } as usize;
                let from = after.as_ref().map_or(Unbounded, Excluded);
                bounded(self.by_name.range::<ScheduleName, _>((from, Unbounded)).map(|(_, one)| one), limit)
            }
        };
        let next = schedules.last().filter(|_| more).map(|last| last.name.clone());
        SchedulePage { now, schedules, next }
    }
}

/// So many, and no further once their data is heavy; whether there are more.
fn bounded<'a>(all: impl Iterator<Item = &'a ScheduleRecord>, most: usize) -> (Vec<ScheduleRecord>, bool) {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for record in all {
        if found.len() == most || bytes >= MAX_CLAIM_BYTES {
            return (found, true);
        }
        bytes += record.data.len();
        found.push(record.clone());
    }
    (found, false)
}

impl Line {
    /// Changes a schedule, if it still is what the change takes it for.
    pub(super) fn change(
        &mut self,
        change: &ScheduleChange,
        now: Timestamp,
        hints: &mut Hints,
    ) -> Result<Changed, StorageError> {
        let name = &change.name;
        if self.schedules.by_name.get(name).map(|stored| stored.version) != change.version {
            return Ok(Changed::Stale);
        }
        let version = self.next_fence(now);
        self.fence = version;
        let record = change.to.clone().map(|(due, data)| ScheduleRecord::new(name.clone(), version, due, data));
        let before = [self.schedules.first(), self.schedules.next_after(now)];
        self.schedules.set(name, record);
        // Sleepers were told of the first, and of the first that was not due yet.
        let after = [self.schedules.first(), self.schedules.next_after(now)];
        let mut pairs = after.into_iter().zip(before);
        hints.shard |= pairs.any(|(after, before)| after.is_some_and(|at| before.is_none_or(|then| at < then)));
        let jobs = change.jobs.iter().cloned();
        Ok(Changed::Applied(jobs.map(|job| admit(self, job, now, hints)).collect::<Result<_, _>>()?))
    }
}
