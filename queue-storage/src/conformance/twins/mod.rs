//! Twins: the same calls, drawn at random, to the reference in memory and to a storage, on one clock. Every answer, every
//! job, every count and the use of every key must be the same, as far as the contract says. Jobs wait, gather and carry, have
//! limits and unique keys, schedules tick, workers vanish and are strange to tasks, answers are lost, and people meddle.

mod draw;
mod flows;
mod people;
mod ticks;
mod workers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::clock::{Clock, ManualClock};
use crate::memory::MemoryStorage;
use crate::model::{CallerId, Job, JobId, Key, Node, Shard, State};
use crate::storage::{Counts, EnqueueCall, Exchange, Exchanged, JobQuery, Receipt, Storage};
use draw::KEYS;
use ticks::Book;
use workers::Actor;

const STEPS: usize = 300;
const SEEDS: u64 = 4;
/// After so many steps all of it is compared, which takes long.
const DEEP: usize = 20;

/// A storage that is played against the reference, and what the contract leaves to it.
pub trait Twin {
    /// The storage, empty and on the clock that it was made with.
    fn storage(&self) -> &dyn Storage;

    /// Where it takes other ways than the reference.
    fn leeway(&self) -> Leeway {
        Leeway::default()
    }

    /// A job without what this storage and the reference may tell otherwise.
    fn plain(&self, job: Job) -> Job {
        job
    }

    /// Counts without what this storage and the reference may tell otherwise.
    fn plain_counts(&self, counts: Counts) -> Counts {
        counts
    }

    /// Takes out of two answers what this storage and the reference may tell otherwise. The jobs in them are
    /// [`plain`](Self::plain) already.
    fn level(&self, turn: &Turn<'_>, answer: &mut Exchanged, expected: &mut Exchanged) {
        let _ = (turn, answer, expected);
    }

    /// Looks now and then at what only this storage has inside. `ids_return` says whether ids that were pruned are
    /// taken in again in this play.
    fn check(&self, ids_return: bool) {
        let _ = ids_return;
    }
}

/// What the contract leaves open and a storage does otherwise than the reference. What is drawn for it avoids the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leeway {
    /// What an enqueue call or an act cancels is followed with the next exchange only.
    pub follows_later: bool,
    /// Suspects that fit nobody are parked before their turn, perhaps, with what follows for their limits.
    pub parks_early: bool,
    /// Of what is due, ends or is reached at one time the first is the one that came first, not the one with the lowest id.
    pub ties_by_arrival: bool,
    /// What has ended by its moment (a pause, the window of a unique key) is forgotten later, so that it holds again once
    /// the clock goes back. It never does here.
    pub forgets_late: bool,
    /// The terms of a worker that signed off hold for the leases that it left; elsewhere the default ones do.
    pub keeps_terms: bool,
}

/// An exchange that both have answered.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The call.
    pub call: &'a Exchange,
    /// Whether it repeats the one before.
    pub again: bool,
    /// Whether the whole shard has slots or a rate.
    pub limited: bool,
}

/// Plays some lives, each against a twin of its own that `make` makes with the clock it is given. A failure prints the
/// seed; `QUEUE_SEED` plays it again, `QUEUE_TWINS` plays so many.
///
/// # Panics
/// When the two differ.
pub async fn twins<T: Twin>(make: impl AsyncFn(Arc<dyn Clock>) -> T) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("QUEUE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("QUEUE_TWINS").unwrap_or(SEEDS)).map(|_| fastrand::u64(..)).collect(),
    };
    for seed in seeds {
        println!("QUEUE_SEED={seed}");
        let clock = ManualClock::new();
        let twin = make(Arc::new(clock.clone())).await;
        let mut twins = Twins::new(twin, clock, seed).await;
        for step in 1..=STEPS {
            twins.step().await;
            twins.compare(step % DEEP == 0).await;
        }
    }
}

/// Makes a call to both, which must answer the same.
macro_rules! both {
    ($twins:ident.$role:ident($($argument:expr),*), $($told:tt)+) => {{
        let expected = $twins.memory.$role($($argument),*).await.unwrap();
        let answer = $twins.twin.storage().$role($($argument),*).await.unwrap();
        assert_eq!(answer, expected, $($told)+);
    }};
}
use both;

struct Twins<T> {
    clock: ManualClock,
    memory: Arc<dyn Storage>,
    twin: T,
    leeway: Leeway,
    shard: Shard,
    random: Rng,
    /// Whether ids are taken in again once they were pruned.
    ids_return: bool,
    /// Whether some jobs are strange to some workers.
    strange: bool,
    actors: Vec<Actor>,
    caller: CallerId,
    calls: u64,
    last: Option<EnqueueCall>,
    ids: Vec<JobId>,
    /// Those that were stored when all was compared last.
    live: Vec<JobId>,
    /// Those of them that are holds and wait.
    holds: Vec<JobId>,
    /// The schedules.
    book: Book,
    /// What has arrived, as both may be told again.
    receipts: Vec<[Receipt; 2]>,
}

impl<T: Twin> Twins<T> {
    async fn new(twin: T, clock: ManualClock, seed: u64) -> Self {
        let memory = Arc::new(MemoryStorage::with_clock(Arc::new(clock.clone())));
        let mut random = Rng::with_seed(seed);
        let caller = CallerId::from_u128(random.u128(..));
        let leeway = twin.leeway();
        let (ids_return, strange) = (random.bool(), random.bool());
        let mut twins = Self {
            clock,
            memory,
            leeway,
            twin,
            shard: Shard::of("a:b/c".parse().unwrap()),
            random,
            ids_return: ids_return && !leeway.ties_by_arrival,
            strange,
            actors: Vec::new(),
            caller,
            calls: 0,
            last: None,
            ids: Vec::new(),
            live: Vec::new(),
            holds: Vec::new(),
            book: Book::default(),
            receipts: Vec::new(),
        };
        for _ in 0..3 {
            twins.join().await;
        }
        twins
    }

    async fn step(&mut self) {
        let who = self.random.usize(..self.actors.len());
        match self.random.u32(..290) {
            0..45 => self.enqueue().await,
            45..120 => self.exchange(who).await,
            120..130 => self.repeat(who).await,
            130..150 => self.renew(who).await,
            150..175 => self.advance(6_000_000),
            175..179 => self.advance(60_000_000),
            179..182 => self.rewind(30_000_000),
            182..190 => self.prune().await,
            190..194 => self.replace(who).await,
            194..196 => self.register_anew(who).await,
            196 => self.a_day_passes().await,
            200..220 => self.act().await,
            220..244 => self.control().await,
            244..264 => self.carry().await,
            264..290 => self.tick().await,
            _ => self.look().await,
        }
    }

    /// Moves on by less than so many microseconds.
    fn advance(&mut self, below: u64) {
        let by = self.span(1, below);
        self.clock.advance(by);
    }

    fn rewind(&mut self, below: u64) {
        let by = self.span(1, below);
        if !self.leeway.forgets_late {
            self.clock.set(self.clock.now() - by);
        }
    }

    async fn compare(&mut self, deep: bool) {
        let mut query = JobQuery::default();
        let expected = self.expected(&query).await;
        query.limit = self.random.u32(..40);
        let found = all(self.twin.storage(), &query).await;
        let ids = |jobs: &[Job]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
        assert_eq!(ids(&found), ids(&expected), "other jobs, or in other order");
        assert_eq!(by_sequence(&found), by_sequence(&expected));
        let counts = self.twin.plain_counts(self.memory.counts(&self.shard).await.unwrap());
        assert_eq!(self.twin.plain_counts(self.twin.storage().counts(&self.shard).await.unwrap()), counts);
        for (found, expected) in self.plain(found).into_iter().zip(self.plain(expected.clone())) {
            assert_eq!(found, expected);
        }
        self.live = ids(&expected);
        let holds = expected.iter().filter(|job| job.node == Node::Hold && job.state == State::Waiting);
        self.holds = holds.map(|job| job.id).collect();
        self.compare_keys(deep).await;
        self.compare_inputs().await;
        if deep {
            self.twin.check(self.ids_return);
            self.compare_schedules().await;
            let state = State::ALL[self.random.usize(..State::ALL.len())];
            query.state = Some(state);
            query.limit = 0;
            // The dead are listed in an order of their own, which a search looks at.
            if state != State::Dead {
                let found = all(self.twin.storage(), &query).await;
                let expected: Vec<_> = expected.iter().filter(|job| job.state == state).map(|job| job.id).collect();
                assert_eq!(ids(&found), expected);
            }
        }
        self.search(&expected).await;
    }

    /// How each key is used, and who has it.
    async fn compare_keys(&self, deep: bool) {
        for key in KEYS.iter().chain(&["for/ever", "nobody"]) {
            let key: Key = key.parse().unwrap();
            both!(self.usage(&self.shard, &key), "{key}");
            if deep {
                self.compare_list(&JobQuery { key: Some(key), ..JobQuery::default() }).await;
            }
        }
    }

    /// Both find the same, in the same order.
    async fn compare_list(&self, query: &JobQuery) {
        let found = self.plain(all(self.twin.storage(), query).await);
        assert_eq!(found, self.plain(self.expected(query).await), "{query:?}");
    }

    async fn expected(&self, query: &JobQuery) -> Vec<Job> {
        all(&*self.memory, query).await
    }

    fn plain(&self, jobs: Vec<Job>) -> Vec<Job> {
        jobs.into_iter().map(|job| self.twin.plain(job)).collect()
    }

    /// Lets what was cancelled be followed, where that takes an exchange.
    async fn follow(&mut self) {
        while self.leeway.follows_later {
            let call = self.call_of(0, Vec::new(), 0, 0);
            let expected = self.memory.exchange(call.clone()).await.unwrap();
            let answer = self.twin.storage().exchange(call).await.unwrap();
            assert_eq!(answer.look_again, expected.look_again);
            if answer.look_again != Some(Duration::ZERO) {
                return;
            }
        }
    }
}

/// All that fits a query, page by page.
async fn all(storage: &dyn Storage, query: &JobQuery) -> Vec<Job> {
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

/// Whoever has a place in the line, in order; each storage may give places of its own.
fn by_sequence(jobs: &[Job]) -> Vec<JobId> {
    let places: BTreeSet<_> = jobs.iter().filter_map(|job| Some((job.sequence?, job.id))).collect();
    places.into_iter().map(|(_, id)| id).collect()
}
