//! The same calls to the reference in memory and to SQLite, on one clock: every answer, every job, every count and the
//! use of every key must be the same. Jobs have limits and unique keys, queues have slots and rates, and people meddle.
//! A failure prints the seed; `QUEUE_SEED` plays it again, `QUEUE_TWINS` plays so many.
//!
//! Not compared: whether suspects are left where the claim, or the whole queue, was full.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use queue_sqlite::{SqliteOptions, SqliteStorage};
use queue_storage::clock::{Clock, ManualClock};
use queue_storage::memory::MemoryStorage;
use queue_storage::model::{
    CallerId, Claimed, Conflict, EndReason, Failure, FailureKind, Job, JobId, Key, Limit, NewJob, Rate, Settled,
    Settlement, Unique, When, WhenFull, Window, WorkerId,
};
use queue_storage::storage::{
    Act, Claim, Control, Edit, Enqueue, EnqueueCall, Exchange, Exchanged, JobQuery, LeaseTerms, Maintain, Operate,
    Retention, Revocation, Scope, Storage, WorkerRecord,
};
use tempfile::TempDir;

use crate::kit::{mail, record};

const STEPS: usize = 300;
const SEEDS: u64 = 4;
const TASKS: [&str; 3] = ["t", "u", "v"];
const KEYS: [&str; 4] = ["a", "a.b", "b", "c"];

#[tokio::test]
async fn sqlite_does_what_memory_does() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("QUEUE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("QUEUE_TWINS").unwrap_or(SEEDS)).map(|_| fastrand::u64(..)).collect(),
    };
    for seed in seeds {
        println!("QUEUE_SEED={seed}");
        let mut twins = Twins::new(seed).await;
        for _ in 0..STEPS {
            twins.step().await;
            twins.compare().await;
        }
    }
}

struct Actor {
    record: WorkerRecord,
    number: u64,
    last: Option<Exchange>,
    /// What it believes to hold; settled or lost ones linger.
    held: Vec<Claimed>,
}

struct Twins {
    clock: ManualClock,
    memory: MemoryStorage,
    sqlite: SqliteStorage,
    _folder: TempDir,
    random: Rng,
    actors: Vec<Actor>,
    caller: CallerId,
    calls: u64,
    last: Option<EnqueueCall>,
    ids: Vec<JobId>,
}

impl Twins {
    async fn new(seed: u64) -> Self {
        let (clock, folder, mut random) = (ManualClock::new(), TempDir::new().unwrap(), Rng::with_seed(seed));
        let memory = MemoryStorage::with_clock(Arc::new(clock.clone()));
        let options = SqliteOptions::new(folder.path().join("jobs.db")).clock(Arc::new(clock.clone()));
        let (sqlite, caller) = (options.open().await.unwrap(), CallerId::from_u128(random.u128(..)));
        let (actors, ids) = (Vec::new(), Vec::new());
        let mut twins =
            Self { clock, memory, sqlite, _folder: folder, random, actors, caller, calls: 0, last: None, ids };
        for _ in 0..3 {
            twins.join().await;
        }
        twins
    }

    async fn step(&mut self) {
        let who = self.random.usize(..self.actors.len());
        match self.random.u32(..200) {
            0..50 => self.enqueue().await,
            50..125 => self.exchange(who).await,
            125..130 => self.repeat(who).await,
            130..165 => self.clock.advance(Duration::from_micros(self.random.u64(1..3_000_000))),
            165..169 => self.clock.advance(Duration::from_micros(self.random.u64(1..30_000_000))),
            169..184 => self.act().await,
            184..193 => self.control().await,
            193..196 => self.replace(who).await,
            _ => self.prune().await,
        }
    }

    async fn join(&mut self) {
        let random = &mut self.random;
        let mut record = record(WorkerId::from_u128(random.u128(..)));
        record.tasks = TASKS.iter().filter(|_| random.u8(..5) > 0).map(|name| name.parse().unwrap()).collect();
        record.lease = LeaseTerms { crash_limit: Some(random.u32(1..4)), ..LeaseTerms::default() };
        self.memory.register(record.clone()).await.unwrap();
        self.sqlite.register(record.clone()).await.unwrap();
        self.actors.push(Actor { record, number: 0, last: None, held: Vec::new() });
    }

    /// A worker vanishes, with or without a word, and another comes.
    async fn replace(&mut self, who: usize) {
        let gone = self.actors.swap_remove(who);
        if self.random.bool() {
            self.memory.deregister(gone.record.id).await.unwrap();
            self.sqlite.deregister(gone.record.id).await.unwrap();
        }
        self.join().await;
    }

    fn key(&mut self) -> Key {
        KEYS[self.random.usize(..KEYS.len())].parse().unwrap()
    }

    fn rate(&mut self) -> Rate {
        Rate::per(Duration::from_secs(self.random.u64(1..5)), self.random.u32(1..4)).burst(self.random.u32(1..4))
    }

    fn when(&mut self) -> When {
        match self.random.u8(..8) {
            0..6 => When::Now,
            // No two are due at the same time: what is due at once is not ordered.
            _ => When::In(Duration::from_micros(self.random.u64(1..9_000_000))),
        }
    }

    fn limits(&mut self) -> Vec<Limit> {
        let mut limits: Vec<Limit> = Vec::new();
        for _ in 0..self.random.usize(..4) {
            let key = self.key();
            let limit = if self.random.bool() {
                let full = if self.random.u8(..6) == 0 { WhenFull::Cancel } else { WhenFull::Wait };
                Limit::Slots { key, most: self.random.u32(1..4), full }
            } else {
                let rate = self.rate();
                Limit::Rate { key, rate, cost: self.random.u32(1..=rate.burst) }
            };
            let like =
                |one: &Limit| one.key() == limit.key() && std::mem::discriminant(one) == std::mem::discriminant(&limit);
            if !limits.iter().any(like) {
                limits.push(limit);
            }
        }
        limits
    }

    fn unique(&mut self) -> Unique {
        let length = Duration::from_micros(self.random.u64(1..20_000_000));
        let windows = [Window::Started, Window::Finished, Window::For(length), Window::Forever];
        let conflicts = [Conflict::Existing, Conflict::Reject, Conflict::Replace, Conflict::Debounce];
        let (window, conflict) = (windows[self.random.usize(..4)], conflicts[self.random.usize(..4)]);
        Unique::new(self.key(), window, conflict)
    }

    async fn new_job(&mut self, earlier: &[NewJob]) -> NewJob {
        let millis = u128::from(self.clock.now().as_micros().unsigned_abs() / 1_000);
        // In the order in which they come: who is reached first of those that waited for one job is not said.
        let fresh = JobId::from_u128(millis << 80 | ((self.ids.len() + earlier.len()) as u128) << 16).at_home(&mail());
        // Only what is stored comes again: of those that end at the same time, the order of arrival or of the ids says who
        // is pruned first.
        let again = if self.random.u8(..15) == 0 { self.random.choice(&self.ids).copied() } else { None };
        let id = match again {
            Some(id) => self.memory.get(id).await.unwrap().found().map(|job| job.id),
            None => None,
        };
        let task = TASKS[self.random.usize(..TASKS.len())].parse().unwrap();
        let body: Vec<u8> = (0..self.random.usize(..9)).map(|_| self.random.u8(..)).collect();
        let mut job = NewJob::new(id.unwrap_or(fresh), task, Bytes::from(body));
        job.when = self.when();
        job.priority = self.random.i32(-1..2);
        job.at_most_once = self.random.u8(..8) == 0;
        job.limits = self.limits();
        if self.random.u8(..3) == 0 {
            job.unique = Some(self.unique());
        }
        if self.random.u8(..10) == 0 {
            job.expires = Some(When::In(Duration::from_micros(self.random.u64(1..9_000_000))));
        }
        if id.is_none() && self.random.u8(..6) == 0 {
            let pool: Vec<JobId> =
                self.ids.iter().rev().take(9).copied().chain(earlier.iter().map(|one| one.id)).collect();
            job.waits_for.extend(self.random.choice(&pool).filter(|parent| **parent != job.id));
        }
        job
    }

    async fn enqueue(&mut self) {
        if let Some(last) = self.last.clone().filter(|_| self.random.u8(..8) == 0) {
            assert_eq!(self.sqlite.enqueue(last.clone()).await.unwrap(), self.memory.enqueue(last).await.unwrap());
            return;
        }
        let mut jobs = Vec::new();
        for _ in 0..self.random.usize(..6) {
            let job = self.new_job(&jobs).await;
            jobs.push(job);
        }
        self.ids.extend(jobs.iter().map(|job| job.id));
        self.calls += 1;
        let call = EnqueueCall { caller: self.caller, shard: mail(), number: self.calls, jobs };
        let expected = self.memory.enqueue(call.clone()).await.unwrap();
        assert_eq!(self.sqlite.enqueue(call.clone()).await.unwrap(), expected, "{call:#?}");
        self.last = Some(call);
    }

    fn settlement(&mut self) -> Settlement {
        let keep = Duration::from_micros(self.random.u64(..60_000_000));
        let failure = Failure::new(FailureKind::Error, "boom");
        let when = When::In(Duration::from_micros(self.random.u64(1..9_000_000)));
        let hold = self.random.bool().then(|| Duration::from_micros(self.random.u64(1..5_000_000)));
        match self.random.u8(..12) {
            0..6 => Settlement::Complete { result: None, keep },
            6..8 => Settlement::Retry { when, failure },
            8..10 => Settlement::Snooze { when, hold },
            10 => Settlement::Release,
            _ => Settlement::Die { reason: EndReason::Fatal, failure, keep },
        }
    }

    async fn exchange(&mut self, who: usize) {
        let (mut settlements, mut kept): (Vec<Settled>, Vec<Claimed>) = Default::default();
        for run in std::mem::take(&mut self.actors[who].held) {
            if self.random.u8(..3) > 0 && settlements.iter().all(|settled| settled.job != run.job.id) {
                let settlement = self.settlement();
                settlements.push(Settled { job: run.job.id, fence: run.fence, attempts: 1, settlement });
            } else {
                kept.push(run);
            }
        }
        let (want, suspects) = (self.random.u32(..7), self.random.u32(..3));
        let actor = &mut self.actors[who];
        (actor.held, actor.number) = (kept, actor.number + 1);
        let (worker, number) = (actor.record.id, actor.number);
        let call = Exchange { worker, shard: mail(), number, settlements, want, suspects };
        actor.last = Some(call.clone());
        self.make(who, call, false).await;
    }

    async fn repeat(&mut self, who: usize) {
        if let Some(call) = self.actors[who].last.clone() {
            self.make(who, call, true).await;
        }
    }

    async fn make(&mut self, who: usize, call: Exchange, again: bool) {
        let mut expected = self.memory.exchange(call.clone()).await.unwrap();
        let mut answer = self.sqlite.exchange(call.clone()).await.unwrap();
        // Leases that end at the same time are taken back in any order.
        answer.died.sort_unstable();
        expected.died.sort_unstable();
        if again && [answer.look_again, expected.look_again].contains(&Some(Duration::ZERO)) {
            // Of a pause that has ended a repeat tells until somebody else has looked, or longer.
            answer.look_again = expected.look_again;
        }
        let controls = self.memory.controls(&mail()).await.unwrap();
        let full = controls.slots.is_some() || controls.rate.is_some();
        if again || full || answer.claimed.len() == call.want as usize {
            (answer.suspects_left, expected.suspects_left) = (false, false);
        }
        let brief = |answer: &Exchanged| {
            let claimed: Vec<JobId> = answer.claimed.iter().map(|run| run.job.id).collect();
            (claimed, Exchanged { claimed: Vec::new(), ..answer.clone() })
        };
        assert_eq!(brief(&answer), brief(&expected), "{call:?}");
        assert_eq!(answer, expected, "{call:?}");
        if self.random.u8(..8) > 0 {
            self.actors[who].held.extend(answer.claimed);
        }
    }

    async fn act(&mut self) {
        let ids: Vec<JobId> = (0..3).filter_map(|_| self.random.choice(&self.ids).copied()).collect();
        let keep = Duration::from_micros(self.random.u64(..60_000_000));
        let mut edit = Edit::new();
        edit.priority = self.random.bool().then(|| self.random.i32(-1..2));
        // One line for each: those due at the same time are not ordered.
        let id = &ids[..ids.len().min(1)];
        // Whether one that is waited for goes at once is not said.
        let all = jobs(&self.memory, &JobQuery::default()).await;
        let needed = |id: &JobId| all.iter().any(|job| job.waits_for.contains(id) && !job.state.is_end());
        let unneeded: Vec<JobId> = ids.iter().copied().filter(|id| !needed(id)).collect();
        let (act, ids) = match self.random.u8(..4) {
            0 => (Act::Cancel { keep }, &ids[..]),
            1 => (Act::Delete, &unneeded[..]),
            2 => (Act::Revive(edit.when(self.when())), id),
            _ if self.random.bool() => (Act::Edit(edit), &ids[..]),
            _ => (Act::Edit(edit.when(self.when())), id),
        };
        let expected = self.memory.act(&mail(), ids, &act).await.unwrap();
        assert_eq!(self.sqlite.act(&mail(), ids, &act).await.unwrap(), expected, "{act:?}");
    }

    async fn control(&mut self) {
        let task = TASKS[self.random.usize(..TASKS.len())].parse().unwrap();
        let until = Some(self.clock.now() + Duration::from_micros(self.random.u64(1..9_000_000)));
        let mut revocation = Revocation::default();
        (revocation.key, revocation.until, revocation.next_only) = (Some(self.key()), until, self.random.bool());
        let change = match self.random.u8(..8) {
            0 => Control::Slots(Some(self.random.u32(..6))),
            1..3 => Control::Slots(None),
            3 => Control::Rate(Some(self.rate())),
            4..6 => Control::Rate(None),
            6 => Control::Pause(Scope::Task(task), until),
            _ => Control::Revoke(revocation),
        };
        let expected = self.memory.control(&mail(), &change).await.unwrap();
        assert_eq!(self.sqlite.control(&mail(), &change).await.unwrap(), expected, "{change:?}");
    }

    async fn prune(&mut self) {
        let mut retention = Retention::default();
        (retention.traces, retention.dead) = (self.random.u64(..12), self.random.u64(..8));
        let expected = self.memory.prune(&mail(), retention).await.unwrap();
        assert_eq!(self.sqlite.prune(&mail(), retention).await.unwrap(), expected, "{retention:?}");
    }

    async fn compare(&self) {
        let mut query = JobQuery::default();
        let (expected, found) = (jobs(&self.memory, &query).await, jobs(&self.sqlite, &query).await);
        let ids = |jobs: &[Job]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
        let other = |jobs: &[Job]| jobs.iter().find(|job| !found.contains(job)).cloned();
        assert_eq!(ids(&found), ids(&expected), "{:?}", other(&expected));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected);
        }
        let counts = self.memory.counts(&mail()).await.unwrap();
        assert_eq!(self.sqlite.counts(&mail()).await.unwrap(), counts);
        for key in KEYS {
            let key: Key = key.parse().unwrap();
            let usage = self.memory.usage(&mail(), &key).await.unwrap();
            assert_eq!(self.sqlite.usage(&mail(), &key).await.unwrap(), usage, "{key}");
        }
        query.key = KEYS[0].parse().ok();
        let fit: Vec<Job> = expected.into_iter().filter(|job| query.fits(job)).collect();
        assert_eq!(ids(&jobs(&self.sqlite, &query).await), ids(&fit));
    }
}

async fn jobs(storage: &dyn Storage, query: &JobQuery) -> Vec<Job> {
    let (mut jobs, mut query) = (Vec::new(), query.clone());
    loop {
        let page = storage.list(&query).await.unwrap();
        jobs.extend(page.jobs);
        query.after = page.next;
        if query.after.is_none() {
            return jobs;
        }
    }
}
