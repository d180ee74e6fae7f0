//! What is drawn for the twins: jobs with all that may hang on them, settlements, and what people want.

use std::time::Duration;

use bytes::Bytes;

use super::{Twin, Twins};
use crate::clock::Clock;
use crate::model::{
    Conflict, EndReason, Failure, FailureKind, JobId, Key, Limit, NewJob, Rate, Settlement, Tag, Timestamp, Unique,
    When, WhenFull, Window,
};
use crate::storage::{Control, Edit, Revocation, Scope};

/// The last is a prefix of the second, and one is not ASCII.
pub(super) const TASKS: [&str; 4] = ["mail", "mail.send", "évènement", "mail."];
pub(super) const TAGS: [&str; 3] = ["vip", "vip:1", "tenant/7"];
/// The first is a prefix of the second.
pub(super) const KEYS: [&str; 3] = ["k", "k:1", "tenant/7"];

impl<T: Twin> Twins<T> {
    /// So many microseconds.
    pub(super) fn span(&mut self, least: u64, below: u64) -> Duration {
        Duration::from_micros(self.random.u64(least..below))
    }

    /// A moment within so many microseconds.
    pub(super) fn clock_in(&mut self, below: u64) -> Timestamp {
        let later = self.span(0, below);
        self.clock.now() + later
    }

    // Jobs.

    fn new_id(&mut self, earlier: usize) -> JobId {
        if self.leeway.ties_by_arrival {
            return JobId::from_u128(((self.ids.len() + earlier) as u128) << 80).at_home(&self.shard);
        }
        let (ahead, behind) = (self.span(0, 5_000_000), self.span(0, 5_000_000_000));
        let at = if self.random.u8(..4) == 0 { self.clock.now() + ahead } else { self.clock.now() - behind };
        let millis = u128::from(at.as_micros().unsigned_abs() / 1_000);
        JobId::from_u128(millis << 80 | self.random.u128(..) >> 48).at_home(&self.shard)
    }

    /// One that was taken in before and is still stored, or perhaps was pruned meanwhile.
    fn known_id(&mut self) -> Option<JobId> {
        let pool = if self.ids_return { &self.ids } else { &self.live };
        self.random.choice(pool).copied()
    }

    /// One of this call. It may come in this time, if it was refused: where ids go by arrival only behind all others.
    fn again(&mut self, earlier: &[NewJob]) -> JobId {
        let one = self.random.usize(..earlier.len());
        if self.leeway.ties_by_arrival { earlier[earlier.len() - 1].id } else { earlier[one].id }
    }

    fn when(&mut self) -> When {
        let now = self.clock.now();
        let later = self.span(0, 20_000_000);
        match self.random.u8(..12) {
            0..6 => When::Now,
            6..9 => When::In(later),
            9 => When::At(now + later),
            10 => When::At(now - later),
            _ => [
                When::In(Duration::from_micros(1 << 53)),
                When::At(Timestamp::EPOCH),
                When::In(Duration::ZERO),
                When::At(Timestamp::MAX),
            ][self.random.usize(..4)],
        }
    }

    pub(super) fn new_job(&mut self, earlier: &[NewJob]) -> NewJob {
        let id = match self.random.u8(..12) {
            0 => self.known_id().unwrap_or_else(|| self.new_id(earlier.len())),
            1 if !earlier.is_empty() => self.again(earlier),
            _ => self.new_id(earlier.len()),
        };
        let task = TASKS[self.random.usize(..TASKS.len())].parse().unwrap();
        let body: Vec<u8> = (0..self.random.usize(..9)).map(|_| self.random.u8(..)).collect();
        let mut job = NewJob::new(id, task, Bytes::from(body));
        job.when = self.when();
        if self.random.u8(..3) == 0 {
            job.priority = [i32::MIN, i32::MAX, -1, 1, 7][self.random.usize(..5)];
        }
        if self.random.u8(..6) == 0 {
            job.needs = [0, 2, 3, 4, u16::MAX][self.random.usize(..5)];
        }
        job.at_most_once = self.random.u8(..6) == 0;
        if self.random.u8(..4) == 0 {
            job.expires = self.random.bool().then(|| self.when());
            job.deadline = self.random.bool().then(|| self.when());
        }
        job.tags = self.tags();
        if self.random.u8(..3) == 0 {
            job.waits_for = self.edges(id, earlier);
        }
        self.hold_back(&mut job);
        self.weave(&mut job);
        job
    }

    fn edges(&mut self, id: JobId, earlier: &[NewJob]) -> Vec<JobId> {
        let known = if self.random.u8(..8) == 0 { &self.ids } else { &self.live };
        let pool: Vec<JobId> = known.iter().copied().chain(earlier.iter().map(|job| job.id)).collect();
        let count = self.random.usize(1..5);
        let mut edges: Vec<JobId> = (0..count).filter_map(|_| self.random.choice(&pool).copied()).collect();
        if self.random.u8(..20) == 0 {
            edges.push(id);
        }
        edges
    }

    fn tags(&mut self) -> Vec<Tag> {
        let rarely = self.random.u8(..4) == 0;
        TAGS.iter().filter(|_| rarely && self.random.bool()).map(|tag| tag.parse().unwrap()).collect()
    }

    // What holds jobs back for others.

    fn any_key(&mut self) -> Key {
        KEYS[self.random.usize(..KEYS.len())].parse().unwrap()
    }

    fn any_rate(&mut self) -> Rate {
        Rate::per(self.span(1, 6_000_000), self.random.u32(1..4)).burst(self.random.u32(1..4))
    }

    fn any_limit(&mut self) -> Limit {
        let key = self.any_key();
        if self.random.bool() {
            let full = if self.random.u8(..6) == 0 { WhenFull::Cancel } else { WhenFull::Wait };
            return Limit::Slots { key, most: self.random.u32(1..4), full };
        }
        let rate = self.any_rate();
        Limit::Rate { key, rate, cost: self.random.u32(1..=rate.burst) }
    }

    fn any_unique(&mut self) -> Unique {
        let length = self.span(0, 20_000_000);
        let windows = [Window::Started, Window::Finished, Window::For(length), Window::Forever];
        let conflicts = [Conflict::Existing, Conflict::Reject, Conflict::Replace, Conflict::Debounce];
        let window = windows[self.random.usize(..4)];
        // What is kept out for ever is soon all there is.
        let key = if window == Window::Forever { "for/ever".parse().unwrap() } else { self.any_key() };
        Unique::new(key, window, conflicts[self.random.usize(..4)])
    }

    fn hold_back(&mut self, job: &mut NewJob) {
        if self.random.u8(..4) == 0 {
            job.unique = Some(self.any_unique());
        }
        let is_slots = |limit: &Limit| matches!(limit, Limit::Slots { .. });
        for _ in 0..[0, 0, 0, 1, 1, 2, 3][self.random.usize(..7)] {
            let limit = self.any_limit();
            let is_like = |other: &Limit| is_slots(other) == is_slots(&limit) && other.key() == limit.key();
            if !job.limits.iter().any(is_like) {
                job.limits.push(limit);
            }
        }
        // A suspect that is parked before its turn has no limits: whoever waits for the same would come before its turn, too.
        job.at_most_once |= self.leeway.parks_early && self.strange && !job.limits.is_empty();
    }

    // What becomes of a run.

    pub(super) fn settlement(&mut self) -> Settlement {
        let keep = self.span(0, 60_000_000);
        let failure = Failure::new(FailureKind::Error, "boom\0é").of_type("a::B");
        // No two lines have the same time: what is due at once is not ordered.
        let when = When::In(self.span(1, 15_000_000));
        match self.random.u8(..14) {
            0..3 => Settlement::Complete { result: None, keep },
            3..5 => Settlement::Complete { result: Some(Bytes::from_static(b"\0result")), keep },
            5 => Settlement::Complete { result: Some(Bytes::new()), keep: Duration::MAX },
            6..8 => Settlement::Retry { when, failure },
            8 => Settlement::Snooze { when, hold: self.random.bool().then(|| self.span(0, 8_000_000)) },
            9 => Settlement::Release,
            10 => Settlement::Cancel { reason: EndReason::CalledOff, failure: None, keep },
            11 => Settlement::Cancel { reason: EndReason::Deadline, failure: Some(failure), keep },
            _ => Settlement::Die { reason: EndReason::Fatal, failure, keep },
        }
    }

    // What people want.

    pub(super) fn any_edit(&mut self) -> Edit {
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

    fn soon(&mut self) -> Option<Timestamp> {
        let later = self.span(0, 8_000_000);
        (self.random.u8(..4) > 0).then(|| self.clock.now() + later)
    }

    fn any_revocation(&mut self) -> Revocation {
        let mut one = Revocation::default();
        let (job, task) = (self.any_job(), self.random.usize(..TASKS.len()));
        match self.random.u8(..5) {
            0 => one.job = Some(job),
            1 => one.tag = TAGS[self.random.usize(..TAGS.len())].parse().ok(),
            2 => (one.job, one.task) = (Some(job), TASKS[task].parse().ok()),
            3 => one.key = Some(self.any_key()),
            _ => (one.task, one.tag) = (TASKS[task].parse().ok(), TAGS[0].parse().ok()),
        }
        (one.until, one.next_only) = (self.soon(), self.random.bool());
        one
    }

    /// A limit of the whole shard, mostly none.
    fn any_shard_limit(&mut self) -> Control {
        let limited = self.random.u8(..3) == 0;
        if self.random.bool() {
            Control::Slots(limited.then(|| self.random.u32(..5)))
        } else {
            Control::Rate(if limited { Some(self.any_rate()) } else { None })
        }
    }

    pub(super) fn any_control(&mut self) -> Control {
        let scope = match self.random.u8(..4) {
            0 => Scope::Queue,
            1 => Scope::Worker(self.actors[self.random.usize(..self.actors.len())].record.id),
            _ if !self.strange => Scope::Queue,
            _ => Scope::Task(TASKS[self.random.usize(..TASKS.len())].parse().unwrap()),
        };
        match self.random.u8(..12) {
            0..2 => Control::Pause(scope, self.soon()),
            2..5 => Control::Resume(scope),
            5..7 => Control::Revoke(self.any_revocation()),
            7 => Control::Restore(self.any_revocation()),
            _ => self.any_shard_limit(),
        }
    }
}
