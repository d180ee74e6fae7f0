//! The jobs of a shard by id.

use std::collections::BTreeMap;

use crate::model::{Job, JobId};

/// Each in a box, so that a move of one, and of its neighbours in the map, is a move of a pointer.
#[derive(Debug, Default)]
pub(super) struct Jobs(BTreeMap<JobId, Box<Job>>);

impl Jobs {
    pub(super) fn get(&self, id: &JobId) -> Option<&Job> {
        self.0.get(id).map(|job| &**job)
    }

    pub(super) fn get_mut(&mut self, id: &JobId) -> Option<&mut Job> {
        self.0.get_mut(id).map(|job| &mut **job)
    }

    pub(super) fn contains(&self, id: &JobId) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn insert(&mut self, job: Box<Job>) {
        self.0.insert(job.id, job);
    }

    pub(super) fn remove(&mut self, id: &JobId) -> Option<Box<Job>> {
        self.0.remove(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.0.values().map(|job| &**job)
    }
}
