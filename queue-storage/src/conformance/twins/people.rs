//! What people do to the twins: acts, controls, pruning, and looking for what fits.

use std::time::Duration;

use super::draw::TAGS;
use super::{Twin, Twins, both};
use crate::model::{EndReason, Job, JobId, State};
use crate::storage::{Act, JobQuery, Lookup, Retention};

impl<T: Twin> Twins<T> {
    /// One of those that are stored, mostly.
    pub(super) fn any_job(&mut self) -> JobId {
        let pool = if self.random.u8(..8) == 0 || self.live.is_empty() { &self.ids } else { &self.live };
        self.random.choice(pool).copied().unwrap_or_else(|| JobId::new(&self.shard))
    }

    pub(super) async fn act(&mut self) {
        // What has not been followed yet is still needed.
        self.follow().await;
        let ids: Vec<_> = (0..self.random.usize(1..5)).map(|_| self.any_job()).collect();
        let act = match self.random.u8(..5) {
            0 => Act::Cancel { keep: self.span(0, 60_000_000) },
            1 => Act::Delete,
            2 => Act::Revive(self.any_edit()),
            3 => Act::Rearm,
            _ => Act::Edit(self.any_edit()),
        };
        both!(self.act(&self.shard, &ids, &act), "{act:?} of {ids:?}");
    }

    pub(super) async fn control(&mut self) {
        let change = self.any_control();
        both!(self.control(&self.shard, &change), "{change:?}");
        both!(self.controls(&self.shard), "after {change:?}");
    }

    pub(super) async fn prune(&mut self) {
        self.follow().await;
        let retention = self.retention().await;
        both!(self.prune(&self.shard, retention), "{retention:?}");
    }

    /// Tasks may be unknown for a while, unless it is not known who is a stranger.
    async fn retention(&mut self) -> Retention {
        let jobs = self.expected(&JobQuery::default()).await;
        let is_known = !self.leeway.parks_early || jobs.iter().all(|job| !job.suspect);
        let limit = self.span(0, 30_000_000);
        let keep_dead = Duration::from_secs(self.random.u64(..60));
        Retention {
            traces: self.random.u64(..12),
            dead: self.random.u64(..8),
            unknown: is_known.then_some(limit),
            keep_dead,
        }
    }

    pub(super) async fn look(&mut self) {
        for _ in 0..5 {
            if let Some(id) = self.random.choice(&self.ids).copied() {
                let plain = |found| match found {
                    Lookup::Found(job) => Lookup::Found(Box::new(self.twin.plain(*job))),
                    other => other,
                };
                let expected = plain(self.memory.get(id).await.unwrap());
                assert_eq!(plain(self.twin.storage().get(id).await.unwrap()), expected);
            }
        }
    }

    /// Looks for what fits, and for the dead in their order.
    pub(super) async fn search(&mut self, all: &[Job]) {
        let mut query = JobQuery { limit: self.random.u32(1..9), ..JobQuery::default() };
        let job = self.any_job();
        let like = all.iter().find(|one| one.id == job);
        match self.random.u8(..6) {
            0 => query.tag = TAGS[self.random.usize(..TAGS.len())].parse().ok(),
            1 => query.worker = all.iter().rev().find_map(|job| job.worker),
            2 => query.reason = like.and_then(|job| job.reason.clone()).or(Some(EndReason::Requested)),
            3 => query.from = like.map(|job| job.enqueued_at),
            4 => query.until = like.map(|job| job.enqueued_at),
            _ => {
                // Whom an ended job needed is left out until that was followed.
                self.follow().await;
                query.state = Some(State::Dead);
            }
        }
        self.compare_list(&query).await;
    }
}
