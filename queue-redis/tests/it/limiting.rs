//! What holds the twins' jobs back for others: slots, rates and unique keys, of each and of the whole shard.

use std::time::Duration;

use queue_storage::model::{Conflict, Job, Key, Limit, NewJob, Rate, Unique, WhenFull, Window};
use queue_storage::storage::{Control, JobQuery, Operate};

use crate::twins::{Twins, comparable, jobs_of};

/// The first is a prefix of the second.
const KEYS: [&str; 3] = ["k", "k:1", "tenant/7"];

impl Twins {
    pub(crate) fn any_key(&mut self) -> Key {
        KEYS[self.random.usize(..KEYS.len())].parse().unwrap()
    }

    fn any_rate(&mut self) -> Rate {
        Rate::per(Duration::from_micros(self.random.u64(1..6_000_000)), 1).burst(self.random.u32(1..4))
    }

    fn any_limit(&mut self) -> Limit {
        let key = self.any_key();
        if self.random.bool() {
            let full = if self.random.u8(..6) == 0 { WhenFull::Cancel } else { WhenFull::Wait };
            return Limit::Slots { key, most: self.random.u32(1..3), full };
        }
        let rate = self.any_rate();
        Limit::Rate { key, rate, cost: self.random.u32(1..=rate.burst) }
    }

    fn any_unique(&mut self) -> Unique {
        let window = [
            Window::Started,
            Window::Finished,
            Window::For(Duration::from_micros(self.random.u64(..20_000_000))),
            Window::Forever,
        ][self.random.usize(..4)];
        let conflicts = [Conflict::Existing, Conflict::Reject, Conflict::Replace, Conflict::Debounce];
        // What is kept out for ever is soon all there is.
        let key = if window == Window::Forever { "for/ever".parse().unwrap() } else { self.any_key() };
        Unique::new(key, window, conflicts[self.random.usize(..4)])
    }

    pub(crate) fn hold_back(&mut self, job: &mut NewJob) {
        if self.random.u8(..4) == 0 {
            job.unique = Some(self.any_unique());
        }
        for _ in 0..[0, 0, 0, 1, 1, 2, 3][self.random.usize(..7)] {
            let limit = self.any_limit();
            let is_like = |other: &Limit| {
                matches!(other, Limit::Slots { .. }) == matches!(limit, Limit::Slots { .. })
                    && other.key() == limit.key()
            };
            if !job.limits.iter().any(is_like) {
                job.limits.push(limit);
            }
        }
        job.at_most_once |= self.strange && job.limits.iter().any(|limit| matches!(limit, Limit::Slots { .. }));
    }

    /// How long a snooze closes the rates of its job.
    pub(crate) fn any_hold(&mut self) -> Option<Duration> {
        self.random.bool().then(|| Duration::from_micros(self.random.u64(..8_000_000)))
    }

    /// A limit of the whole shard, mostly none.
    pub(crate) fn any_shard_limit(&mut self) -> Control {
        let limited = self.random.u8(..3) == 0;
        if self.random.bool() {
            Control::Slots(limited.then(|| self.random.u32(..5)))
        } else {
            Control::Rate(if limited { Some(self.any_rate()) } else { None })
        }
    }

    /// How each key is used, and who has it.
    pub(crate) async fn compare_keys(&mut self) {
        for key in KEYS.iter().chain(&["for/ever", "nobody"]) {
            let key: Key = key.parse().unwrap();
            let expected = self.memory.usage(&self.shard, &key).await.unwrap();
            assert_eq!(self.redis.usage(&self.shard, &key).await.unwrap(), expected, "{key}");
            let mut query = JobQuery::default();
            query.key = Some(key);
            let plain = |jobs: Vec<Job>| jobs.into_iter().map(comparable).collect::<Vec<_>>();
            let expected = plain(jobs_of(&self.memory, query.clone()).await);
            assert_eq!(plain(jobs_of(&self.redis, query).await), expected);
        }
    }
}
