//! What workers and clients do to the twins.

use std::collections::BTreeSet;
use std::time::Duration;

use super::draw::TASKS;
use super::{Turn, Twin, Twins, both};
use crate::model::{Claimed, Fence, JobId, Progress, Settled, TaskName, Timestamp, WorkerId};
use crate::storage::{EnqueueCall, Exchange, LeaseTerms, Renewal, WorkerRecord};

pub(super) struct Actor {
    pub(super) record: WorkerRecord,
    number: u64,
    last: Option<Exchange>,
    /// What it believes to hold; settled or lost ones linger.
    held: Vec<Claimed>,
}

impl<T: Twin> Twins<T> {
    pub(super) async fn join(&mut self) {
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
        let tasks = self.some_tasks();
        let record = WorkerRecord {
            id,
            host: "here".into(),
            version: None,
            shards: vec![self.shard.clone()],
            tasks,
            understands: if self.strange { self.random.u16(1..4) } else { u16::MAX },
            lease,
            concurrency: 64,
            started_at: Timestamp::EPOCH,
            seen_at: Timestamp::EPOCH,
        };
        both!(self.register(record.clone()), "{record:?}");
        self.actors.push(Actor { record, number: 0, last: None, held: Vec::new() });
    }

    fn some_tasks(&mut self) -> BTreeSet<TaskName> {
        let (random, strange) = (&mut self.random, self.strange);
        TASKS.iter().filter(|_| !strange || random.u8(..4) > 0).map(|name| name.parse().unwrap()).collect()
    }

    pub(super) async fn register_anew(&mut self, who: usize) {
        self.actors[who].record.tasks = self.some_tasks();
        let record = self.actors[who].record.clone();
        both!(self.register(record.clone()), "{record:?}");
    }

    /// A worker vanishes, with or without a word, and another comes.
    pub(super) async fn replace(&mut self, who: usize) {
        let mut gone = self.actors.swap_remove(who).record;
        if self.random.bool() {
            if self.leeway.keeps_terms {
                gone.lease = LeaseTerms::default();
                both!(self.register(gone.clone()), "{gone:?}");
            }
            both!(self.deregister(gone.id), "{gone:?}");
        }
        self.join().await;
    }

    /// Everyone is forgotten, and others come.
    pub(super) async fn a_day_passes(&mut self) {
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

    pub(super) async fn enqueue(&mut self) {
        if let Some(last) = self.last.clone().filter(|_| self.random.u8(..6) == 0) {
            both!(self.enqueue(last.clone()), "again {last:#?}");
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
        both!(self.enqueue(call.clone()), "{call:#?}");
        self.last = Some(call);
    }

    pub(super) async fn exchange(&mut self, who: usize) {
        let mut settlements: Vec<Settled> = Vec::new();
        let mut kept = Vec::new();
        for run in std::mem::take(&mut self.actors[who].held) {
            if self.random.bool() && settlements.iter().all(|settled| settled.job != run.job.id) {
                let settlement = self.settlement();
                let fence = if self.random.u8(..20) == 0 { Fence(run.fence.0 - 1) } else { run.fence };
                settlements.push(Settled { job: run.job.id, fence, attempts: self.random.u32(..5), settlement });
            } else {
                kept.push(run);
            }
        }
        self.actors[who].held = kept;
        self.actors[who].number += self.random.u64(..2);
        let (want, suspects) = (self.random.u32(..7), self.random.u32(..3));
        let call = self.call_of(who, settlements, want, suspects);
        self.make(who, call, false).await;
    }

    /// The next call of a worker.
    pub(super) fn call_of(&mut self, who: usize, settlements: Vec<Settled>, want: u32, suspects: u32) -> Exchange {
        let actor = &mut self.actors[who];
        actor.number += 1;
        let (worker, shard, number) = (actor.record.id, self.shard.clone(), actor.number);
        let call = Exchange { worker, shard, number, settlements, want, suspects };
        actor.last = Some(call.clone());
        call
    }

    pub(super) async fn repeat(&mut self, who: usize) {
        if let Some(mut call) = self.actors[who].last.clone() {
            if self.random.bool() {
                (call.want, call.suspects) = (0, 0);
            }
            self.make(who, call, true).await;
        }
    }

    async fn make(&mut self, who: usize, call: Exchange, again: bool) {
        let mut expected = self.memory.exchange(call.clone()).await.unwrap();
        let mut answer = self.twin.storage().exchange(call.clone()).await.unwrap();
        if self.random.u8(..6) > 0 {
            self.actors[who].held.extend(answer.claimed.iter().cloned());
        }
        for run in answer.claimed.iter_mut().chain(&mut expected.claimed) {
            run.job = self.twin.plain(run.job.clone());
        }
        let controls = self.memory.controls(&self.shard).await.unwrap();
        let limited = controls.slots.is_some() || controls.rate.is_some();
        self.twin.level(&Turn { call: &call, again, limited }, &mut answer, &mut expected);
        assert_eq!(answer, expected, "{call:#?}");
    }

    pub(super) async fn renew(&mut self, who: usize) {
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
        both!(self.renew(call.clone()), "{call:?}");
    }
}
