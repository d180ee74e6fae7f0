//! Lives at random: workers that vanish, answers that get lost, clocks that jump; after each step everything must make
//! sense, and in the end every job has ended. A failure prints the seed; `QUEUE_SEED` plays it again.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

use super::actors::{TestCaller, TestWorker, settled};
use super::check;
use super::keys::MIXED;
use super::meddle::Done;
use super::nodes::{any_trigger, check_inputs, check_worked_off};
use super::stage::{HALF, Stage, at_most, boom, completed, died, retry_in, returned, secs, tag, terms};
use super::stage::{key, rate, rate_at_cost, slots, slots_now_or_never};
use crate::model::{
    Claimed, EndReason, Fence, Job, JobId, Move, NewJob, Node, Progress, Settled, Settlement, State, When,
};
use crate::model::{Conflict, Limit, Tag, Unique, Window, WorkerId};
use crate::storage::{Admission, Control, Exchanged, LeaseTerms, Receipt, Renewal, Renewed, Retention, SettleAnswer};

const SEEDS: usize = 6;
const STEPS: usize = 150;
/// More runs than any worker remembers.
const KEEP: u32 = 6;

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

/// Some limits under keys that many share, by words that differ.
fn any_limits(random: &mut Rng) -> Vec<Limit> {
    let slots_of = if random.u8(..4) == 0 { slots_now_or_never } else { slots };
    let some = [
        [slots_of("k0", 1), slots_of("k1", 2), slots(MIXED, random.u32(1..4))][random.usize(..3)].clone(),
        slots("k2", 2),
        rate(["r0", "k0"][random.usize(..2)], secs(random.u64(1..20)), random.u32(1..4)),
        rate_at_cost("r1", secs(5), 4, random.u32(1..5)),
    ];
    let count = random.usize(1..=4);
    random.choose_multiple(some, count)
}

/// The only one of a key that others want too.
fn any_unique(random: &mut Rng) -> Unique {
    let windows = [Window::Started, Window::Finished, Window::For(secs(random.u64(..300))), Window::Forever];
    let conflicts = [Conflict::Existing, Conflict::Reject, Conflict::Replace, Conflict::Debounce];
    let name = ["u0", "u1", "u2", "k0"][random.usize(..4)];
    Unique::new(key(name), windows[random.usize(..4)], conflicts[random.usize(..4)])
}

/// A worker, the jobs it believes to run, and whether the answer to its last exchange was lost.
pub(super) struct Actor {
    pub(super) worker: TestWorker,
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

pub(super) struct Play<'a> {
    pub(super) stage: &'a Stage,
    pub(super) random: Rng,
    pub(super) actors: Vec<Actor>,
    caller: TestCaller,
    /// The jobs as they were at the last check.
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// Jobs taken in, once more for each revival.
    pub(super) acknowledged: u64,
    pub(super) done: Done,
    /// What has arrived, as may be said again.
    pub(super) receipts: Vec<Receipt>,
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
            done: Done::default(),
            receipts: Vec::new(),
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
        let lease = LeaseTerms { crash_limit, keep_attempts: self.random.u32(..KEEP), ..terms() };
        let worker = self.stage.worker_with(tasks, |record| record.lease = lease).await;
        Actor { worker, held: Vec::new(), unanswered: false }
    }

    async fn step(&mut self) {
        let who = self.random.usize(..self.actors.len());
        match self.random.u32(..100) {
            0..15 => self.enqueue().await,
            15..50 => self.exchange(who).await,
            50..58 => self.renew(who).await,
            58..70 => self.act().await,
            70..75 => self.say().await,
            75..80 => self.carry().await,
            80..90 => self.stage.advance(secs(self.random.u64(1..50))).await,
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
        self.acknowledged += answer.iter().filter(|one| matches!(one, Admission::Added(_))).count() as u64;
        self.done.touched.extend(answer.iter().filter_map(|one| match one {
            Admission::Replaced(other, _) => Some(*other),
            _ => None,
        }));
        if self.random.u8(..4) == 0 {
            assert_eq!(self.caller.repeat().await, answer);
        }
    }

    fn new_job(&mut self, earlier: &[NewJob]) -> NewJob {
        let stored: Vec<_> = self.jobs.keys().copied().chain(earlier.iter().map(|job| job.id)).collect();
        if self.random.u8(..4) == 0 {
            return self.any_node(stored);
        }
        let random = &mut self.random;
        let edges = if random.u8(..3) == 0 { random.usize(1..4) } else { 0 };
        NewJob {
            priority: random.i32(-1..=1),
            when: if random.bool() { When::Now } else { When::In(secs(random.u64(..200))) },
            at_most_once: random.u8(..10) == 0,
            expires: (random.u8(..4) == 0).then(|| When::In(secs(random.u64(..300)))),
            deadline: (random.u8(..4) == 0).then(|| When::In(secs(random.u64(..600)))),
            tags: if random.u8(..4) == 0 { vec![tag("x")] } else { Vec::<Tag>::new() },
            waits_for: random.choose_multiple(stored, edges),
            trigger: any_trigger(random),
            unique: (random.u8(..5) == 0).then(|| any_unique(random)),
            limits: if random.bool() { any_limits(random) } else { Vec::new() },
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
            let said = self.stage.controls().await;
            let answer = actor.worker.exchange(settlements, want, suspects).await;
            self.check_controls(&said, actor.worker.id(), &answer);
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
        match self.random.u32(..11) {
            0..3 => completed(),
            3..5 => returned(b"result", delay),
            5 => retry_in(delay),
            6 => Settlement::Snooze { when: When::In(delay), hold: self.random.bool().then_some(delay) },
            7 => Settlement::Release,
            8 => Settlement::Retry { when: When::Now, failure: boom() },
            9 => Settlement::Cancel { reason: EndReason::CalledOff, failure: None, keep: delay },
            _ => died(),
        }
    }

    /// What a settlement must be answered: it is held, or it is not.
    fn expected(&self, worker: WorkerId, settlements: &[Settled]) -> Vec<SettleAnswer> {
        let held = |settled: &Settled| {
            let job = self.jobs.get(&settled.job)?;
            job.lease.filter(|lease| lease.worker == worker && lease.fence == settled.fence).map(|_| job)
        };
        let answer = |settled: &Settled| match (held(settled), settled.settlement.target().1.is_end()) {
            (None, _) => SettleAnswer::Lost,
            (Some(job), false) if job.cancel_requested => SettleAnswer::Cancelled,
            (Some(_), _) => SettleAnswer::Applied,
        };
        settlements.iter().map(answer).collect()
    }

    fn check_claims(&mut self, worker: &TestWorker, answer: &Exchanged) {
        let call = &worker.last;
        let suspects = answer.claimed.iter().filter(|run| run.job.suspect).count();
        assert!(answer.claimed.len() <= call.want as usize && suspects <= call.suspects as usize);
        let place = |run: &Claimed| (std::cmp::Reverse(run.job.priority), run.job.sequence);
        // One that comes back into line meanwhile may come late.
        let in_line = answer.claimed.iter().filter(|run| run.job.limits.is_empty());
        assert!(in_line.is_sorted_by_key(place), "claimed out of order: {answer:?}");
        for run in &answer.claimed {
            let lease = run.job.lease.expect("it is leased");
            assert_eq!((run.job.state, lease.worker, lease.fence), (State::Running, worker.id(), run.fence));
            assert!(worker.record.tasks.contains(&run.job.task) && run.fence > self.last_fence);
            check_inputs(&run.job, &run.inputs);
        }
        self.last_fence = answer.claimed.first().map_or(self.last_fence, |run| run.fence);
    }

    async fn renew(&mut self, who: usize) {
        let actor = &self.actors[who];
        let leases = actor.held.iter().map(|run| (run.job.id, run.fence)).collect();
        let tellers = actor.held.iter().filter(|_| self.random.bool());
        let progress = tellers.map(|run| (run.job.id, Progress::new(1, 2, "on its way"))).collect();
        let renewal = Renewal { progress, ..actor.worker.renewal(leases) };
        let answers = self.stage.storage().renew(renewal).await.unwrap();
        for (run, answer) in actor.held.iter().zip(answers) {
            let held = |job: &&Job| job.lease.is_some_and(|lease| lease.fence == run.fence);
            let expected = match self.jobs.get(&run.job.id).filter(held) {
                Some(job) if job.cancel_requested => Renewed::Stop,
                Some(_) => Renewed::Held,
                None => Renewed::Lost,
            };
            assert_eq!(answer, expected, "{run:?}");
        }
    }

    async fn prune(&mut self) {
        let unknown = self.random.bool().then(|| secs(self.random.u64(..500)));
        let retention = at_most(self.random.u64(..20), self.random.u64(..20));
        let retention = Retention { unknown, ..retention };
        // What it buried it may have pruned too.
        self.done.deleted.extend(self.stage.prune(retention).await.died);
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
                Some(after) if !self.done.touched.contains(id) => check_step(before, after),
                Some(after) => {
                    assert_eq!((after.id, &after.task, &after.tags), (before.id, &before.task, &before.tags));
                }
                None => assert!(before.state.is_end() || self.done.deleted.contains(id), "vanished: {before:?}"),
            }
        }
        assert!(now.values().all(|job| job.history.len() <= KEEP as usize), "histories are bounded");
        self.check_flows(&now).await;
        self.done = Done::default();
        self.jobs = now;
        assert_eq!(self.stage.counts().await.enqueued, self.acknowledged);
    }

    /// Runs what is left, until every job has ended.
    async fn drain(&mut self) {
        self.resume_all().await;
        self.stage.control(Control::Slots(None)).await;
        self.stage.control(Control::Rate(None)).await;
        let mut worker = self.stage.worker_of(&["t", "u"]).await;
        for _ in 0..1_000 {
            let runs = worker.claim(50).await;
            worker.complete_all(&runs).await;
            worker.work_off().await;
            let jobs = check::shard(&**self.stage.storage(), self.stage.shard()).await;
            check_worked_off(&jobs);
            self.release(&jobs).await;
            if self.stage.counts().await.live() == 0 {
                return;
            }
            self.stage.advance(if runs.is_empty() { HALF } else { Duration::ZERO }).await;
        }
        panic!("jobs that never end: {:?}", self.stage.counts().await);
    }
}

fn check_step(before: &Job, after: &Job) {
    let recalled = matches!(before.node, Node::Relay { .. });
    assert!(leads(before.state, after.state, recalled), "no moves lead there: {before:?} to {after:?}");
    assert_eq!((after.enqueued_at, after.priority), (before.enqueued_at, before.priority));
    assert!(after.crashes >= before.crashes && after.lapses >= before.lapses, "{before:?} to {after:?}");
    let waits = recalled && after.state == State::Waiting;
    assert!(waits || after.sequence >= before.sequence, "places are kept or given anew: {before:?} to {after:?}");
    if before.state.is_end() {
        assert_eq!(after, before, "an ended job is as it was");
    }
    assert_eq!((after.expires, after.deadline, &after.tags), (before.expires, before.deadline, &before.tags));
    assert!(before.first_started_at.is_none() || after.first_started_at == before.first_started_at);
}

/// Whether some moves that no person makes lead from one state to another, of a job that may be recalled or of one that
/// may not.
fn leads(from: State, to: State, recalled: bool) -> bool {
    let by_people = |mv: &Move| matches!(mv, Move::Revive | Move::Reschedule | Move::Rearm);
    let moves = || Move::ALL.into_iter().filter(|mv| !by_people(mv) && (recalled || *mv != Move::Recall));
    let mut reached = vec![from];
    let mut at = 0;
    while let Some(&state) = reached.get(at) {
        for mv in moves() {
            for &next in mv.row().1 {
                if mv.allows(state, next) && !reached.contains(&next) {
                    reached.push(next);
                }
            }
        }
        at += 1;
    }
    reached.contains(&to)
}
