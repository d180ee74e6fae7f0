//! What people do to the twins: acts, controls, and looking for what fits.

use std::time::Duration;

use bytes::Bytes;
use queue_storage::clock::Clock;
use queue_storage::model::{EndReason, Job, JobId, State, Tag, Timestamp};
use queue_storage::storage::{Act, Control, Edit, JobQuery, Operate, Revocation, Scope};

use crate::twins::{TASKS, Twins, comparable, jobs_of};

pub(crate) const TAGS: [&str; 3] = ["vip", "vip:1", "tenant/7"];

impl Twins {
    pub(crate) fn tags(&mut self) -> Vec<Tag> {
        let rarely = self.random.u8(..4) == 0;
        TAGS.iter().filter(|_| rarely && self.random.bool()).map(|tag| tag.parse().unwrap()).collect()
    }

    fn any_job(&mut self) -> JobId {
        let pool = if self.random.u8(..8) == 0 || self.live.is_empty() { &self.ids } else { &self.live };
        self.random.choice(pool).copied().unwrap_or_else(|| JobId::new(&self.shard))
    }

    fn any_edit(&mut self) -> Edit {
        let mut edit = Edit::new();
        if self.random.bool() {
            edit = edit.when(self.when());
        }
        if self.random.u8(..3) == 0 {
            edit = edit.priority([i32::MIN, i32::MAX, 0, 7][self.random.usize(..4)]);
        }
        if self.random.u8(..3) == 0 {
            edit = edit.envelope(Bytes::from(vec![7; self.random.usize(..20)]));
        }
        edit
    }

    pub(crate) async fn act(&mut self) {
        // What has not been followed yet is still needed in Redis.
        self.follow().await;
        let ids: Vec<_> = (0..self.random.usize(1..5)).map(|_| self.any_job()).collect();
        let act = match self.random.u8(..4) {
            0 => Act::Cancel { keep: Duration::from_micros(self.random.u64(..60_000_000)) },
            1 => Act::Delete,
            2 => Act::Revive(self.any_edit()),
            _ => Act::Edit(self.any_edit()),
        };
        let expected = self.memory.act(&self.shard, &ids, &act).await.unwrap();
        assert_eq!(self.redis.act(&self.shard, &ids, &act).await.unwrap(), expected, "{act:?} of {ids:?}");
    }

    fn soon(&mut self) -> Option<Timestamp> {
        let later = Duration::from_micros(self.random.u64(..8_000_000));
        (self.random.u8(..4) > 0).then(|| self.clock.now() + later)
    }

    fn any_revocation(&mut self) -> Revocation {
        let mut one = Revocation::default();
        let (job, task) = (self.any_job(), self.random.usize(..TASKS.len()));
        match self.random.u8(..5) {
            0 => one.job = Some(job),
            3 => one.key = Some(self.any_key()),
            1 => one.tag = TAGS[self.random.usize(..TAGS.len())].parse().ok(),
            2 => (one.job, one.task) = (Some(job), TASKS[task].parse().ok()),
            _ => (one.task, one.tag) = (TASKS[task].parse().ok(), TAGS[0].parse().ok()),
        }
        (one.until, one.next_only) = (self.soon(), self.random.bool());
        one
    }

    pub(crate) async fn control(&mut self) {
        let scope = match self.random.u8(..4) {
            0 => Scope::Queue,
            1 => Scope::Worker(self.actors[self.random.usize(..self.actors.len())].record.id),
            _ if !self.strange => Scope::Queue,
            _ => Scope::Task(TASKS[self.random.usize(..TASKS.len())].parse().unwrap()),
        };
        let change = match self.random.u8(..12) {
            0..2 => Control::Pause(scope, self.soon()),
            2..5 => Control::Resume(scope),
            5..7 => Control::Revoke(self.any_revocation()),
            7 => Control::Restore(self.any_revocation()),
            _ => self.any_shard_limit(),
        };
        let expected = self.memory.control(&self.shard, &change).await.unwrap();
        assert_eq!(self.redis.control(&self.shard, &change).await.unwrap(), expected, "{change:?}");
        let said = self.memory.controls(&self.shard).await.unwrap();
        assert_eq!(self.redis.controls(&self.shard).await.unwrap(), said, "after {change:?}");
    }

    /// Looks for what fits, and for the dead in their order.
    pub(crate) async fn search(&mut self, all: &[Job]) {
        let mut query = JobQuery::default();
        query.limit = self.random.u32(1..9);
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
        let plain = |jobs: Vec<Job>| jobs.into_iter().map(comparable).collect::<Vec<_>>();
        let expected = plain(jobs_of(&self.memory, query.clone()).await);
        assert_eq!(plain(jobs_of(&self.redis, query.clone()).await), expected, "{query:?}");
    }
}
