//! The same calls to the reference in memory and to Redis, on one clock: every answer, every job and every count must be
//! the same, as far as the contract says. A failure prints the seed; `QUEUE_SEED` plays it again, `QUEUE_TWINS` plays so
//! many.
//!
//! Not compared: which suspects that fit nobody were parked, whether suspects are left where the claim was full.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use queue_redis::{RedisOptions, RedisStorage};
use queue_storage::clock::{Clock, ManualClock};
use queue_storage::memory::MemoryStorage;
use queue_storage::model::{
    CallerId, Claimed, EndReason, Failure, FailureKind, Fence, Job, JobId, Namespace, NewJob, Progress, Settled,
    Settlement, Shard, State, TaskName, Timestamp, When, WorkerId,
};
use queue_storage::storage::{
    Claim, Counts, Enqueue, EnqueueCall, Exchange, Exchanged, JobQuery, LeaseTerms, Lookup, Maintain, Operate, Renewal,
    Retention, Storage, WorkerRecord,
};

use crate::consistent::consistent;
use crate::kit::namespace;

const STEPS: usize = 300;
const SEEDS: usize = 4;
/// The last is a prefix of the second, and one is not ASCII.
pub(crate) const TASKS: [&str; 4] = ["mail", "mail.send", "évènement", "mail."];

#[tokio::test]
async fn redis_does_what_memory_does() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("QUEUE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("QUEUE_TWINS").map_or(SEEDS, |many| many as usize)).map(|_| fastrand::u64(..)).collect(),
    };
    for seed in seeds {
        println!("QUEUE_SEED={seed}");
        let mut twins = Twins::new(seed).await;
        for step in 0..STEPS {
            twins.step().await;
            twins.compare(step % 20 == 19).await;
        }
    }
}

pub(crate) struct Actor {
    pub(crate) record: WorkerRecord,
    number: u64,
    last: Option<Exchange>,
    /// What it believes to hold; settled or lost ones linger.
    held: Vec<Claimed>,
}

pub(crate) struct Twins {
    pub(crate) clock: ManualClock,
    pub(crate) memory: MemoryStorage,
    pub(crate) redis: RedisStorage,
    namespace: Namespace,
    pub(crate) shard: Shard,
    pub(crate) random: Rng,
    /// Whether ids are taken in again once they were pruned.
    again: bool,
    /// Whether some jobs are strange to some workers, which Redis may set aside before their turn: those of them that are
    /// suspects hold no slots then, for whoever waits for one would come before its turn, too.
    pub(crate) strange: bool,
    pub(crate) actors: Vec<Actor>,
    caller: CallerId,
    calls: u64,
    last: Option<EnqueueCall>,
    pub(crate) ids: Vec<JobId>,
    pub(crate) live: Vec<JobId>,
}

impl Twins {
    async fn new(seed: u64) -> Self {
        let clock = ManualClock::new();
        let namespace = namespace();
        let memory = MemoryStorage::with_clock(Arc::new(clock.clone()));
        let options = RedisOptions::from_url(&queue_servers::shared().url()).unwrap().clock(Arc::new(clock.clone()));
        let redis = options.namespace(namespace.clone()).connect().await.unwrap();
        let mut random = Rng::with_seed(seed);
        let caller = CallerId::from_u128(random.u128(..));
        let (again, strange) = (random.bool(), random.bool());
        let (shard, actors, ids) = (Shard::of("a:b/c".parse().unwrap()), Vec::new(), Vec::new());
        let mut twins = Self {
            clock,
            memory,
            redis,
            namespace,
            shard,
            random,
            again,
            strange,
            actors,
            caller,
            calls: 0,
            last: None,
            ids,
            live: Vec::new(),
        };
        for _ in 0..3 {
            twins.join().await;
        }
        twins
    }

    async fn step(&mut self) {
        let who = self.random.usize(..self.actors.len());
        match self.random.u32(..244) {
            0..45 => self.enqueue().await,
            45..120 => self.exchange(who).await,
            120..130 => self.repeat(who).await,
            130..150 => self.renew(who).await,
            150..175 => self.clock.advance(Duration::from_micros(self.random.u64(1..6_000_000))),
            175..179 => self.clock.advance(Duration::from_micros(self.random.u64(1..60_000_000))),
            179..182 => self.clock.set(self.clock.now() - Duration::from_micros(self.random.u64(1..30_000_000))),
            182..190 => self.prune().await,
            190..194 => self.replace(who).await,
            194..196 => self.register_anew(who).await,
            196 => self.a_day_passes().await,
            200..220 => self.act().await,
            220..244 => self.control().await,
            _ => self.look().await,
        }
    }

    async fn join(&mut self) {
        let random = &mut self.random;
        let id = WorkerId::from_u128(random.u128(..));
        let lease = LeaseTerms {
            renew_every: Duration::from_micros(2 * random.u64(500_000..1_600_000)),
            crash_limit: [None, Some(1), Some(2), Some(3)][random.usize(..4)],
            keep_dead: Duration::from_secs(random.u64(0..100)),
            keep_ended: Duration::from_secs(random.u64(0..100)),
            keep_attempts: random.u32(..4),
            ..LeaseTerms::default()
        };
        let tasks = some_tasks(random, self.strange);
        let record = WorkerRecord {
            id,
            host: "here".into(),
            version: None,
            shards: vec![self.shard.clone()],
            tasks,
            understands: if self.strange { random.u16(1..4) } else { u16::MAX },
            lease,
            concurrency: 64,
            started_at: Timestamp::EPOCH,
            seen_at: Timestamp::EPOCH,
        };
        self.register(&record).await;
        self.actors.push(Actor { record, number: 0, last: None, held: Vec::new() });
    }

    async fn register(&self, record: &WorkerRecord) {
        self.memory.register(record.clone()).await.unwrap();
        self.redis.register(record.clone()).await.unwrap();
    }

    async fn register_anew(&mut self, who: usize) {
        self.actors[who].record.tasks = some_tasks(&mut self.random, self.strange);
        let record = self.actors[who].record.clone();
        self.register(&record).await;
    }

    fn new_id(&mut self) -> JobId {
        let ahead = Duration::from_millis(self.random.u64(..5_000));
        let behind = Duration::from_millis(self.random.u64(..5_000_000));
        let at = if self.random.u8(..4) == 0 { self.clock.now() + ahead } else { self.clock.now() - behind };
        let millis = u128::from(at.as_micros().unsigned_abs() / 1_000);
        JobId::from_u128(millis << 80 | self.random.u128(..) >> 48).at_home(&self.shard)
    }

    pub(crate) fn when(&mut self) -> When {
        let now = self.clock.now();
        let micros = self.random.u64(..20_000_000);
        match self.random.u8(..12) {
            0..6 => When::Now,
            6..9 => When::In(Duration::from_micros(micros)),
            9 => When::At(now + Duration::from_micros(micros)),
            10 => When::At(now - Duration::from_micros(micros)),
            _ => [
                When::In(Duration::from_micros(1 << 53)),
                When::At(Timestamp::EPOCH),
                When::In(Duration::ZERO),
                When::At(Timestamp::MAX),
            ][self.random.usize(..4)],
        }
    }

    fn new_job(&mut self, earlier: &[NewJob]) -> NewJob {
        let id = match self.random.u8(..12) {
            // Taken in before, and perhaps pruned meanwhile.
            0 if self.again && !self.ids.is_empty() => self.ids[self.random.usize(..self.ids.len())],
            1 if !earlier.is_empty() => earlier[self.random.usize(..earlier.len())].id,
            _ => self.new_id(),
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
            let known = if self.random.u8(..8) == 0 { &self.ids } else { &self.live };
            let pool: Vec<JobId> = known.iter().copied().chain(earlier.iter().map(|job| job.id)).collect();
            let edges = self.random.usize(1..5);
            job.waits_for = (0..edges).filter_map(|_| self.random.choice(&pool).copied()).collect();
            if self.random.u8(..20) == 0 {
                job.waits_for.push(id);
            }
        }
        self.hold_back(&mut job);
        job
    }

    async fn enqueue(&mut self) {
        if let Some(last) = self.last.clone().filter(|_| self.random.u8(..6) == 0) {
            assert_eq!(self.redis.enqueue(last.clone()).await.unwrap(), self.memory.enqueue(last).await.unwrap());
            return;
        }
        let mut jobs = Vec::new();
        for _ in 0..self.random.usize(..7) {
            let job = self.new_job(&jobs);
            jobs.push(job);
        }
        self.ids.extend(jobs.iter().map(|job| job.id));
        self.calls += 1;
        let call = EnqueueCall { caller: self.caller, shard: self.shard.clone(), number: self.calls, jobs };
        let expected = self.memory.enqueue(call.clone()).await.unwrap();
        assert_eq!(self.redis.enqueue(call.clone()).await.unwrap(), expected, "{call:#?}");
        self.last = Some(call);
    }

    fn settlement(&mut self) -> Settlement {
        let keep = Duration::from_micros(self.random.u64(..60_000_000));
        let failure = Failure::new(FailureKind::Error, "boom\0é").of_type("a::B");
        // No two lines have the same time: what is due at once is not ordered.
        let when = When::In(Duration::from_micros(self.random.u64(1..15_000_000)));
        match self.random.u8(..14) {
            0..3 => Settlement::Complete { result: None, keep },
            3..5 => Settlement::Complete { result: Some(Bytes::from_static(b"\0result")), keep },
            5 => Settlement::Complete { result: Some(Bytes::new()), keep: Duration::MAX },
            6..8 => Settlement::Retry { when, failure },
            8 => Settlement::Snooze { when, hold: self.any_hold() },
            9 => Settlement::Release,
            10 => Settlement::Cancel { reason: EndReason::CalledOff, failure: None, keep },
            11 => Settlement::Cancel { reason: EndReason::Deadline, failure: Some(failure), keep },
            _ => Settlement::Die { reason: EndReason::Fatal, failure, keep },
        }
    }

    async fn exchange(&mut self, who: usize) {
        let mut held = std::mem::take(&mut self.actors[who].held);
        let mut settlements: Vec<Settled> = Vec::new();
        let mut kept = Vec::new();
        for run in held.drain(..) {
            if self.random.bool() && settlements.iter().all(|settled| settled.job != run.job.id) {
                let settlement = self.settlement();
                let fence = if self.random.u8(..20) == 0 { Fence(run.fence.0 - 1) } else { run.fence };
                settlements.push(Settled { job: run.job.id, fence, attempts: self.random.u32(..5), settlement });
            } else {
                kept.push(run);
            }
        }
        let actor = &mut self.actors[who];
        actor.held = kept;
        actor.number += self.random.u64(1..3);
        let (want, suspects) = (self.random.u32(..7), self.random.u32(..3));
        let (worker, shard, number) = (actor.record.id, self.shard.clone(), actor.number);
        let call = Exchange { worker, shard, number, settlements, want, suspects };
        self.actors[who].last = Some(call.clone());
        self.make(who, call, false).await;
    }

    async fn repeat(&mut self, who: usize) {
        if let Some(mut call) = self.actors[who].last.clone() {
            if self.random.bool() {
                (call.want, call.suspects) = (0, 0);
            }
            self.make(who, call, true).await;
        }
    }

    async fn make(&mut self, who: usize, call: Exchange, again: bool) {
        let expected = self.memory.exchange(call.clone()).await.unwrap();
        let answer = self.redis.exchange(call.clone()).await.unwrap();
        let (want, claimed) = (call.want as usize, answer.claimed.len());
        // Redis follows the edges to those that an ended job waited for, too, and may come to its bound by them.
        let follows = answer.look_again == Some(Duration::ZERO) && self.has_to_follow();
        let plain = |answer: &Exchanged| {
            let mut answer = answer.clone();
            answer.parked.clear();
            answer.claimed.iter_mut().for_each(|run| run.job = comparable(run.job.clone()));
            if again || want == 0 || claimed == want {
                answer.suspects_left = false;
            }
            if follows {
                answer.look_again = None;
            }
            answer
        };
        assert_eq!(plain(&answer), plain(&expected), "{call:#?}");
        assert!(again || answer.suspects_left || !expected.suspects_left, "{call:#?}");
        if self.random.u8(..6) > 0 {
            self.actors[who].held.extend(answer.claimed);
        }
    }

    fn has_to_follow(&self) -> bool {
        let key = format!("{}:{{{}}}:follow", self.namespace, self.shard);
        queue_servers::shared().cli(&["EXISTS", &key]) == "1"
    }

    async fn renew(&mut self, who: usize) {
        let actor = &self.actors[who];
        let leases: Vec<_> =
            actor.held.iter().filter(|_| self.random.u8(..4) > 0).map(|run| (run.job.id, run.fence)).collect();
        let mut progress: Vec<(JobId, Progress)> = Vec::new();
        for (id, _) in &leases {
            if self.random.u8(..3) == 0 && progress.iter().all(|(told, _)| told != id) {
                progress.push((*id, Progress::new(self.random.u64(..9), 9, "on its way")));
            }
        }
        let call = Renewal { worker: actor.record.id, shard: self.shard.clone(), leases, progress };
        let expected = self.memory.renew(call.clone()).await.unwrap();
        assert_eq!(self.redis.renew(call).await.unwrap(), expected);
    }

    /// Redis follows what an enqueue call cancelled with the next exchange only.
    pub(crate) async fn follow(&mut self) {
        loop {
            let actor = &mut self.actors[0];
            actor.number += 1;
            let (worker, shard, number) = (actor.record.id, self.shard.clone(), actor.number);
            let call = Exchange { worker, shard, number, settlements: Vec::new(), want: 0, suspects: 0 };
            actor.last = Some(call.clone());
            let expected = self.memory.exchange(call.clone()).await.unwrap();
            let answer = self.redis.exchange(call).await.unwrap();
            assert_eq!(answer.look_again, expected.look_again);
            if answer.look_again != Some(Duration::ZERO) {
                return;
            }
        }
    }

    async fn prune(&mut self) {
        self.follow().await;
        let retention = self.retention().await;
        let expected = self.memory.prune(&self.shard, retention).await.unwrap();
        assert_eq!(self.redis.prune(&self.shard, retention).await.unwrap(), expected, "{retention:?}");
    }

    /// Tasks may be unknown for a while, unless it is not known who is a stranger.
    async fn retention(&mut self) -> Retention {
        let known = jobs(&self.memory, 0).await.iter().all(|job| !job.suspect);
        let limit = Duration::from_micros(self.random.u64(..30_000_000));
        let keep_dead = Duration::from_secs(self.random.u64(..60));
        Retention {
            traces: self.random.u64(..12),
            dead: self.random.u64(..8),
            unknown: known.then_some(limit),
            keep_dead,
        }
    }

    /// A worker vanishes, with or without a word, and another comes.
    async fn replace(&mut self, who: usize) {
        let gone = self.actors.swap_remove(who);
        if self.random.bool() {
            self.memory.deregister(gone.record.id).await.unwrap();
            self.redis.deregister(gone.record.id).await.unwrap();
        }
        self.join().await;
    }

    /// Everyone is forgotten, and others come.
    async fn a_day_passes(&mut self) {
        self.last = None;
        self.clock.advance(Duration::from_secs(86_400));
        for _ in 0..3 {
            self.actors.remove(0);
            self.join().await;
        }
        for _ in 0..2 {
            self.follow().await;
            self.clock.advance(Duration::from_secs(5));
        }
        self.prune().await;
    }

    async fn look(&mut self) {
        for _ in 0..5 {
            if let Some(id) = self.random.choice(&self.ids).copied() {
                let expected = self.memory.get(id).await.unwrap();
                let found = self.redis.get(id).await.unwrap();
                match (found, expected) {
                    (Lookup::Found(found), Lookup::Found(expected)) => {
                        assert_eq!(comparable(*found), comparable(*expected));
                    }
                    (found, expected) => assert_eq!(found, expected),
                }
            }
        }
    }

    async fn compare(&mut self, deep: bool) {
        let limit = self.random.u32(..40);
        let (expected, found) = (jobs(&self.memory, 0).await, jobs(&self.redis, limit).await);
        assert!(found.iter().map(|job| job.id).eq(expected.iter().map(|job| job.id)), "other jobs, or in other order");
        assert_eq!(by_sequence(&found), by_sequence(&expected));
        let plain = |jobs: &[Job]| jobs.iter().cloned().map(comparable).collect::<Vec<_>>();
        for (found, expected) in plain(&found).iter().zip(&plain(&expected)) {
            assert_eq!(found, expected);
        }
        let counts = |counts: Counts| Counts { parked: 0, ..counts };
        let expected_counts = counts(self.memory.counts(&self.shard).await.unwrap());
        assert_eq!(counts(self.redis.counts(&self.shard).await.unwrap()), expected_counts);
        self.live = expected.iter().map(|job| job.id).collect();
        if deep && !self.again {
            // Blocks keep the ids of the pruned, which this reads as jobs once they are back.
            consistent(&[queue_servers::shared()], &self.namespace);
        }
        if deep {
            self.compare_keys().await;
            let state = State::ALL[self.random.usize(..State::ALL.len())];
            let by = |jobs: &[Job]| jobs.iter().filter(|job| job.state == state).map(|job| job.id).collect::<Vec<_>>();
            let mut query = JobQuery::default();
            query.state = Some(state);
            if state != State::Dead {
                assert_eq!(by(&self.redis.list(&query).await.unwrap().jobs), by(&expected));
            }
        }
        self.search(&expected).await;
    }
}

fn some_tasks(random: &mut Rng, strange: bool) -> BTreeSet<TaskName> {
    TASKS.iter().filter(|_| !strange || random.u8(..4) > 0).map(|name| name.parse().unwrap()).collect()
}

async fn jobs(storage: &dyn Storage, limit: u32) -> Vec<Job> {
    let mut query = JobQuery::default();
    query.limit = limit;
    jobs_of(storage, query).await
}

/// All that fits a query, page by page.
pub(crate) async fn jobs_of(storage: &dyn Storage, mut query: JobQuery) -> Vec<Job> {
    let mut jobs = Vec::new();
    loop {
        let page = storage.list(&query).await.unwrap();
        jobs.extend(page.jobs);
        query.after = page.next;
        if query.after.is_none() {
            return jobs;
        }
    }
}

/// Whoever has a place in the line, in order; each storage gives places of its own.
fn by_sequence(jobs: &[Job]) -> Vec<JobId> {
    let mut places: Vec<_> = jobs.iter().filter_map(|job| Some((job.sequence?, job.id))).collect();
    places.sort_unstable();
    places.into_iter().map(|(_, id)| id).collect()
}

pub(crate) fn comparable(mut job: Job) -> Job {
    if job.suspect {
        (job.parked, job.parked_at) = (None, None);
    }
    job.sequence = job.sequence.map(|_| 0);
    job
}
