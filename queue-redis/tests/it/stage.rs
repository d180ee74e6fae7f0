//! A queue that is overfilled, on a server that writes down what takes it long.

use std::sync::Arc;
use std::time::Duration;

use queue_redis::RedisStorage;
use queue_servers::Redis;
use queue_storage::clock::ManualClock;
use queue_storage::model::{JobId, NewJob};
use queue_storage::storage::{Counts, MAX_CLAIM, Operate};

use crate::consistent::all_is_well;
use crate::kit::{Caller, Hand, mail, options};

/// Of the scripts that took a millisecond or more since the last look: the slowest and the median, in microseconds, and
/// how many they are.
const LOOK: &str = "local all = {}
for _, entry in ipairs(redis.call('SLOWLOG', 'GET', -1)) do
  if entry[4][1] == 'EVALSHA' then
    all[#all + 1] = entry[3]
  end
end
redis.call('SLOWLOG', 'RESET')
table.sort(all)
return {all[#all] or 0, all[math.ceil(#all / 2)] or 0, #all}";

pub(crate) struct Stage {
    pub(crate) clock: ManualClock,
    pub(crate) storage: RedisStorage,
    pub(crate) server: Redis,
    story: &'static str,
}

impl Stage {
    pub(crate) async fn set(story: &'static str) -> Self {
        let server = Redis::start_with(&["--slowlog-log-slower-than", "1000", "--slowlog-max-len", "100000"]);
        let clock = ManualClock::new();
        let own = options(&server.url()).clock(Arc::new(clock.clone())).timeout(Duration::from_secs(60));
        let storage = own.connect().await.unwrap();
        Self { clock, storage, server, story }
    }

    /// Prints the slowest call since the last look.
    pub(crate) fn look(&self, step: &str) {
        let answer = self.server.cli(&["EVAL", LOOK, "0"]);
        let [slowest, median, count] = answer.lines().collect::<Vec<_>>()[..] else { panic!("{answer}") };
        println!("{}: {step}: slowest {slowest} µs, median {median} µs of {count} above 1 ms", self.story);
    }

    /// How many commands the server has done, those of scripts among them and this question not.
    pub(crate) fn commands(&self) -> u64 {
        let stats = self.server.cli(&["INFO", "commandstats"]);
        let lines = stats.lines().filter(|line| !line.starts_with("cmdstat_info") && !line.starts_with("cmdstat_ping"));
        let calls = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
        lines.filter_map(calls).sum()
    }

    /// How many fields one of the hashes of the shard has.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.server.cli(&["HLEN", &format!("queue:{{mail}}:{name}")]).parse().unwrap()
    }

    /// Every key, in order.
    pub(crate) fn keys(&self) -> String {
        let all = self.server.cli(&["KEYS", "*"]);
        let mut all: Vec<_> = all.lines().collect();
        all.sort_unstable();
        all.join("\n")
    }

    /// How many workers sleep.
    pub(crate) fn sleepers(&self) -> u64 {
        self.server.cli(&["ZCARD", "queue:{mail}:sleepers"]).parse().unwrap()
    }

    /// The fields of the shard's `meta`, in order.
    pub(crate) fn meta(&self) -> Vec<(String, String)> {
        let all = self.server.cli(&["HGETALL", "queue:{mail}:meta"]);
        let all: Vec<_> = all.lines().collect();
        let mut fields: Vec<_> = all.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
        fields.sort();
        fields
    }

    pub(crate) async fn counts(&self) -> Counts {
        self.storage.counts(&mail()).await.unwrap()
    }

    /// Takes jobs in, a thousand a call.
    pub(crate) async fn take_in(&self, count: usize, make: impl Fn(usize) -> NewJob) -> Vec<JobId> {
        let (mut caller, mut ids) = (Caller::new(), Vec::with_capacity(count));
        while ids.len() < count {
            let batch = (ids.len()..ids.len() + 1_000).map(&make).collect();
            ids.extend(caller.enqueue(&self.storage, batch).await);
        }
        self.look("enqueue");
        ids
    }

    /// Exchanges until there is nothing left to do at this moment. After each call `left` jobs are left of what it eats
    /// up, and it ate no more than its bound, and would not sleep while any are left.
    pub(crate) async fn eat_up(&self, hand: &mut Hand, step: &str, bound: u64, left: impl Fn(&Counts) -> u64) {
        let mut before = left(&self.counts().await);
        let (mut calls, all) = (0, before);
        loop {
            let answer = hand.exchange(&self.storage, 256).await;
            let now = left(&self.counts().await);
            assert!(before - now <= bound, "one call ate {} of {before}", before - now);
            let goes_on = answer.look_again == Some(Duration::ZERO) || answer.claimed.len() == MAX_CLAIM as usize;
            assert!(now == 0 || goes_on, "it would sleep while {now} are left");
            (before, calls) = (now, calls + 1);
            if now == 0 && answer.claimed.is_empty() {
                break;
            }
        }
        self.look(&format!("{calls} exchanges for {all} {step}"));
    }

    pub(crate) async fn end(self) {
        all_is_well(&self.storage, &[&self.server], &"queue".parse().unwrap()).await;
    }
}
