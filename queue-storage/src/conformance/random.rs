//! Lives at random: workers that vanish, answers that get lost, clocks that jump; after each step everything must make
//! sense, and in the end every job has ended. A failure prints the seed; `QUEUE_SEED` plays it again.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

use super::actors::{TestCaller, TestWorker, settled};
use super::check;
use super::moves::is_door;
use super::stage::{HALF, Stage, boom, completed, died, retry_in, returned, secs, snooze_in, terms};
use crate::model::{Claimed, Fence, Job, JobId, Move, NewJob, Settled, Settlement, State, When, WorkerId};
use crate::storage::{Exchanged, LeaseTerms, Renewed, Retention, SettleAnswer};

const SEEDS: usize = 6;
const STEPS: usize = 150;

/// Whatever workers, clients and clocks do, and whatever answers are lost, jobs move by the table and none is lost.
pub(super) async fn lives(stage: &Stage) {
    let told = std::env::var("QUEUE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = told.map_or_else(|| (0..SEEDS).map(|_| fastrand::u64(..)).collect(), |seed| vec![seed]);
    for seed in seeds {
        println!("QUEUE_SEED={seed}");
        let stage = stage.beside(&format!("seed-{seed}"));
        let mut play = Play::new(&stage, seed).await;
        for _ in 0..STEPS {
            play.step().await;
            play.check().await;
        }
        play.drain().await;
    }
}

/// A worker, the jobs it believes to run, and whether the answer to its last exchange was lost.
struct Actor {
    worker: TestWorker,
    held: Vec<Claimed>,
    unanswered: bool,
}

impl Actor {
    /// Begins runs; one of the same job that it still believes in is over.
    fn hold(&mut self, runs: Vec<Claimed>) {
        self.held.retain(|old| runs.iter().all(|new| new.job.id != old.job.id));
        self.held.extend(runs);
    }
}

struct Play<'a> {
    stage: &'a Stage,
    random: Rng,
    actors: Vec<Actor>,
    caller: TestCaller,
    jobs: BTreeMap<JobId, Job>,
    acknowledged: u64,
    last_fence: Fence,
}

impl<'a> Play<'a> {
    async fn new(stage: &'a Stage, seed: u64) -> Self {
        let mut play = Self {
            stage,
            random: Rng::with_seed(seed),
            actors: Vec::new(),
            caller: stage.caller(),
            jobs: BTreeMap::new(),
            acknowledged: 0,
            last_fence: Fence(0),
        };
        for _ in 0..3 {
            let actor = play.actor().await;
            play.actors.push(actor);
        }
        play
    }

    async fn actor(&mut self) -> Actor {
        let tasks: &[&str] = [&["t", "u"][..], &["t"], &["u"]][self.random.usize(..3)];
        let crash_limit = [None, Some(2), Some(3)][self.random.usize(..3)];
        let lease = LeaseTerms { crash_limit, ..terms() };
        let worker = self.stage.worker_with(tasks, |record| record.lease = lease).await;
        Actor { worker, held: Vec::new(), unanswered: false }
    }

    async fn step(&mut self) {
        let who = self.random.usize(..self.actors.len());
        match self.random.u32(..100) {
            0..20 => self.enqueue().await,
            20..65 => self.exchange(who).await,
            65..75 => self.renew(who).await,
            75..90 => self.stage.advance(secs(self.random.u64(1..50))).await,
            90..92 => self.stage.advance(secs(self.random.u64(60..400))).await,
            92..93 => self.stage.rewind(secs(self.random.u64(1..100))).await,
            93..96 => self.prune().await,
            _ => self.replace(who).await,
        }
    }

    async fn enqueue(&mut self) {
        let mut jobs = Vec::new();
        for _ in 0..self.random.usize(1..6) {
            let job = self.new_job(&jobs);
            jobs.push(job);
        }
        let answer = self.caller.enqueue(jobs).await;
        self.acknowledged += answer.iter().filter(|one| one.state().is_some()).count() as u64;
        if self.random.u8(..4) == 0 {
            assert_eq!(self.caller.repeat().await, answer);
        }
    }

    fn new_job(&mut self, earlier: &[NewJob]) -> NewJob {
        let random = &mut self.random;
        let stored: Vec<_> = self.jobs.keys().copied().chain(earlier.iter().map(|job| job.id)).collect();
        let edges = if random.u8(..3) == 0 { random.usize(1..4) } else { 0 };
        NewJob {
            priority: random.i32(-1..=1),
            when: if random.bool() { When::Now } else { When::In(secs(random.u64(..200))) },
            at_most_once: random.u8(..10) == 0,
            waits_for: random.choose_multiple(stored, edges),
            ..self.stage.job_of(["t", "u"][random.usize(..2)])
        }
    }

    /// Settles some of what a worker holds and claims more; a lost answer is asked for again, now or later.
    async fn exchange(&mut self, who: usize) {
        let mut actor = self.actors.swap_remove(who);
        if !std::mem::take(&mut actor.unanswered) {
            let settlements = self.settlements(&mut actor.held);
            let expected = self.expected(actor.worker.id(), &settlements);
            let (want, suspects) = (self.random.u32(..5), self.random.u32(..3));
            let answer = actor.worker.exchange(settlements, want, suspects).await;
            assert_eq!(answer.settled, expected);
            self.check_claims(&actor.worker, &answer);
            if self.random.u8(..5) > 0 {
                actor.hold(answer.claimed);
            } else {
                actor.unanswered = true;
            }
        }
        if actor.unanswered && self.random.bool() {
            let again = actor.worker.repeat().await.claimed;
            actor.hold(again);
            actor.unanswered = false;
        }
        self.actors.push(actor);
    }

    fn settlements(&mut self, held: &mut Vec<Claimed>) -> Vec<Settled> {
        let mut settlements = Vec::new();
        for run in std::mem::take(held) {
            if self.random.bool() {
                settlements.push(settled(&run, self.settlement()));
            } else {
                held.push(run);
            }
        }
        settlements
    }

    fn settlement(&mut self) -> Settlement {
        let delay = secs(self.random.u64(..100));
        match self.random.u32(..10) {
            0..3 => completed(),
            3..5 => returned(b"result", delay),
            5 => retry_in(delay),
            6 => snooze_in(delay),
            7 => Settlement::Release,
            8 => Settlement::Retry { when: When::Now, failure: boom() },
            _ => died(),
        }
    }

    /// What a settlement must be answered: it is held, or it is not.
    fn expected(&self, worker: WorkerId, settlements: &[Settled]) -> Vec<SettleAnswer> {
        let holds = |settled: &Settled| {
            let lease = self.jobs.get(&settled.job).and_then(|job| job.lease);
            lease.is_some_and(|lease| lease.worker == worker && lease.fence == settled.fence)
        };
        let answer = |settled| if holds(settled) { SettleAnswer::Applied } else { SettleAnswer::Lost };
        settlements.iter().map(answer).collect()
    }

    fn check_claims(&mut self, worker: &TestWorker, answer: &Exchanged) {
        let call = &worker.last;
        let suspects = answer.claimed.iter().filter(|run| run.job.suspect).count();
        assert!(answer.claimed.len() <= call.want as usize && suspects <= call.suspects as usize);
        let place = |run: &Claimed| (std::cmp::Reverse(run.job.priority), run.job.sequence);
        assert!(answer.claimed.is_sorted_by_key(place), "claimed out of order: {answer:?}");
        for run in &answer.claimed {
            let lease = run.job.lease.expect("it is leased");
            assert_eq!((run.job.state, lease.worker, lease.fence), (State::Running, worker.id(), run.fence));
            assert!(worker.record.tasks.contains(&run.job.task) && run.fence > self.last_fence);
            assert_eq!(run.inputs.len(), run.job.waits_for.len());
        }
        self.last_fence = answer.claimed.first().map_or(self.last_fence, |run| run.fence);
    }

    async fn renew(&mut self, who: usize) {
        let actor = &mut self.actors[who];
        let answers = actor.worker.renew(&actor.held.iter().collect::<Vec<_>>()).await;
        for (run, answer) in actor.held.iter().zip(answers) {
            let lease = self.jobs.get(&run.job.id).and_then(|job| job.lease);
            let held = lease.is_some_and(|lease| lease.fence == run.fence);
            assert_eq!(answer == Renewed::Held, held, "{run:?}");
        }
    }

    async fn prune(&mut self) {
        let retention = Retention { traces: self.random.u64(..20), dead: self.random.u64(..20) };
        self.stage.storage().prune(self.stage.shard(), retention).await.unwrap();
    }

    /// A worker vanishes, with or without a word, and another takes its place.
    async fn replace(&mut self, who: usize) {
        let gone = self.actors.swap_remove(who);
        if self.random.bool() {
            gone.worker.deregister().await;
        }
        let actor = self.actor().await;
        self.actors.push(actor);
    }

    /// Compares everything with how it was before the step.
    async fn check(&mut self) {
        let jobs = check::shard(&**self.stage.storage(), self.stage.shard()).await;
        let now: BTreeMap<_, _> = jobs.into_iter().map(|job| (job.id, job)).collect();
        for (id, before) in &self.jobs {
            match now.get(id) {
                Some(after) => check_step(before, after),
                None => assert!(before.state.is_end(), "vanished: {before:?}"),
            }
        }
        self.jobs = now;
        assert_eq!(self.stage.counts().await.enqueued, self.acknowledged);
    }

    /// Runs what is left, until every job has ended.
    async fn drain(&mut self) {
        let mut worker = self.stage.worker_of(&["t", "u"]).await;
        for _ in 0..1_000 {
            let runs = worker.claim(50).await;
            worker.complete_all(&runs).await;
            if self.stage.counts().await.live() == 0 {
                return;
            }
            self.stage.advance(if runs.is_empty() { HALF } else { Duration::ZERO }).await;
        }
        panic!("jobs that never end: {:?}", self.stage.counts().await);
    }
}

fn check_step(before: &Job, after: &Job) {
    assert!(leads(before.state, after.state), "no moves lead there: {before:?} to {after:?}");
    assert_eq!((after.enqueued_at, after.priority), (before.enqueued_at, before.priority));
    assert!(after.crashes >= before.crashes && after.lapses >= before.lapses, "{before:?} to {after:?}");
    assert!(after.sequence >= before.sequence, "places are kept or given anew: {before:?} to {after:?}");
    if before.state.is_end() {
        assert_eq!(after, before, "an ended job is as it was");
    }
}

/// Whether some moves that calls can make lead from one state to another.
fn leads(from: State, to: State) -> bool {
    let mut reached = vec![from];
    let mut at = 0;
    while let Some(&state) = reached.get(at) {
        for mv in Move::ALL {
            for &next in mv.row().1 {
                if mv.allows(state, next) && !is_door(mv, state, next) && !reached.contains(&next) {
                    reached.push(next);
                }
            }
        }
        at += 1;
    }
    reached.contains(&to)
}
