//! One shard's exchanges: settlements down, jobs up, one call in flight.
//!
//! A lane is *hungry* until an answer brought fewer jobs than it had room for; then it sleeps until it is signalled, the
//! storage's `look_again` has passed, or a settlement is to be sent. Settlements that finish while a call is in flight
//! ride on the next one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use queue_storage::model::{Claimed, Shard, TaskName, Timestamp};
use queue_storage::storage::{Exchange, Exchanged, Listener, MAX_CLAIM, SettleAnswer, Topic};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::courier::Desk;
use super::outbox::Outbox;
use super::slots::Slots;
use super::suspects;
use crate::engine::executor::{self, Executed};
use crate::engine::{Backoff, Engine, RunFacts, died};
use crate::keeper::ticker::Bell;

/// One shard of a worker.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) engine: Arc<Engine>,
    pub(super) shard: Shard,
    /// Every shard of the worker, to register again when the storage has forgotten it.
    pub(super) shards: Arc<[Shard]>,
    pub(super) index: usize,
    pub(super) slots: Arc<Slots>,
    pub(super) desks: Arc<[Desk]>,
    pub(super) bells: Arc<[Bell]>,
    pub(super) outbox: Arc<Outbox>,
    /// Runs that have not ended.
    pub(super) runs: TaskTracker,
    /// Cancelled when nothing more is to be claimed.
    pub(super) stop: CancellationToken,
    /// Let go of once the lane has seen the stop and no claim of its is in flight.
    pub(super) claiming: Option<TaskTrackerToken>,
    /// Cancelled when nothing more will come into the outbox.
    pub(super) last: CancellationToken,
}

/// When the lane looks next.
#[derive(Debug)]
struct Next {
    number: u64,
    look_at: Timestamp,
    hungry: bool,
    suspects_left: bool,
    /// Tasks it has said that it does not know.
    unknown: BTreeSet<TaskName>,
}

impl Lane {
    /// Exchanges until the worker has stopped and the outbox is empty.
    pub(super) async fn run(mut self) {
        // It listens before its first look, so that no job falls between look and sleep.
        let listener = self.engine.storage().listen(Topic::Worker(self.engine.id, self.shard.clone()));
        let mut next = Next {
            number: 0,
            look_at: self.engine.clock().now(),
            hungry: true,
            suspects_left: false,
            unknown: BTreeSet::new(),
        };
        let mut changes = self.slots.watch();
        let mut permit = None;
        loop {
            changes.mark_unchanged();
            if self.stop.is_cancelled() {
                self.claiming = None;
            }
            if let Some((call, runs)) = self.compose(&mut next, &mut permit) {
                let stops = self.engine.held.stops.load(Ordering::Acquire);
                let Some((call, answer)) = self.exchange(call, &listener, &mut next, &mut permit).await else { return };
                let Exchange { want, settlements, .. } = call;
                // Until its outcome was written, a job that had ended kept its lease.
                settlements.iter().for_each(|settled| self.engine.held.remove(settled.job, settled.fence));
                self.engine.deaths.tell(&self.engine, died(&settlements, &answer));
                self.engine.tell_exchanged(&self.shard, &settlements, &runs, &answer);
                self.take_in(answer, want, &mut next, permit.take());
                if stops != self.engine.held.stops.load(Ordering::Acquire) {
                    self.engine.held.missed.notify_one();
                }
            } else if self.last.is_cancelled() && self.outbox.is_empty() {
                return;
            } else {
                self.wait(&listener, &mut changes, &mut next, &mut permit).await;
            }
        }
    }

    /// The next exchange, if there is reason for one: something to settle, room to fill, or upkeep that is due.
    fn compose(&self, next: &mut Next, permit: &mut Option<suspects::Permit>) -> Option<(Exchange, Vec<RunFacts>)> {
        let (settlements, runs) = self.outbox.take();
        let stopping = self.stop.is_cancelled();
        let now = self.engine.clock().now();
        let due = !stopping && is_time(next.look_at, now, self.engine.config.poll_every);
        if due && !next.hungry {
            self.set_hungry(next, true);
        }
        let want = if next.hungry && !stopping { self.slots.reserve(self.index, MAX_CLAIM) } else { 0 };
        if want == 0 {
            // No room for a suspect now: another lane or worker may have it.
            *permit = None;
        }
        if settlements.is_empty() && want == 0 && !due {
            return None;
        }
        let suspects = match self.engine.config.lease.crash_limit {
            None => want,
            Some(_) if want == 0 => 0,
            Some(_) => {
                *permit = permit.take().or_else(suspects::try_acquire);
                u32::from(permit.is_some())
            }
        };
        next.number += 1;
        self.bells[self.index].seen(now);
        let (worker, shard, number) = (self.engine.id, self.shard.clone(), next.number);
        Some((Exchange { worker, shard, number, settlements, want, suspects }, runs))
    }

    /// Asks until there is an answer, and returns it with the call that was answered. `None` when the worker stops,
    /// the storage does not answer, and there is nothing to settle any more.
    async fn exchange(
        &mut self,
        mut call: Exchange,
        listener: &Listener,
        next: &mut Next,
        permit: &mut Option<suspects::Permit>,
    ) -> Option<(Exchange, Exchanged)> {
        let mut backoff = Backoff::new();
        let mut registered = false;
        loop {
            let error = match self.engine.storage().exchange(call.clone()).await {
                Ok(answer) => {
                    if !backoff.is_fresh() {
                        tracing::info!(storage = %self.engine.client.location(), "the storage answers again");
                        self.set_hungry(next, true);
                    }
                    return Some((call, answer));
                }
                Err(error) => error,
            };
            if error.is_unknown_worker() && !registered {
                tracing::info!(queue = %self.shard, "the storage does not know this worker: registering again");
                registered = self.engine.register(self.shards.to_vec()).await.is_ok();
                if registered {
                    self.engine.forgotten.notify_one();
                    continue;
                }
            }
            // Nobody waits for a shard that does not answer: its slots, its turn and the permit are others'.
            self.slots.give_back(self.index, call.want);
            (call.want, call.suspects, *permit) = (0, 0, None);
            self.set_hungry(next, false);
            let storage = self.engine.client.location();
            let pause = backoff.pause();
            tracing::warn!(%error, storage, queue = %self.shard, ?pause, "the storage does not answer: trying again");
            let settled = call.settlements.is_empty() && self.outbox.is_empty();
            tokio::select! {
                () = self.engine.sleep(pause) => {}
                // Whoever signals is back.
                () = listener.changed(), if error.is_unavailable() => {}
                // What it may have claimed is not known and not begun: the stop need not wait for it.
                () = self.stop.cancelled(), if self.claiming.is_some() => self.claiming = None,
                () = self.last.cancelled(), if settled => return None,
            }
        }
    }

    /// Acts on an answer: starts what was claimed, and notes when to look next.
    fn take_in(&self, answer: Exchanged, want: u32, next: &mut Next, mut permit: Option<suspects::Permit>) {
        let lost = answer.settled.iter().filter(|answer| **answer == SettleAnswer::Lost).count();
        if lost > 0 {
            tracing::warn!(lost, queue = %self.shard, "outcomes discarded: their leases were lost meanwhile");
        }
        self.say_unknown(&answer.parked, next);
        if answer.outbox {
            self.desks[self.index].note();
        }
        if answer.ticks {
            self.bells[self.index].ring();
        }
        let claimed = u32::try_from(answer.claimed.len()).unwrap_or(u32::MAX);
        let config = &self.engine.config;
        if self.stop.is_cancelled() {
            // What was claimed while the worker was told to stop goes back unbegun.
            self.slots.give_back(self.index, want);
            for job in answer.claimed {
                self.outbox.push(executor::given_back(&job), RunFacts::of(Box::new(job), None));
            }
        } else {
            self.slots.give_back(self.index, want.saturating_sub(claimed));
            // A repeat that wanted nothing may bring what its first try claimed: it is run all the same.
            self.slots.take(self.index, claimed.saturating_sub(want));
            let limited = config.lease.crash_limit.is_some();
            for job in answer.claimed {
                let own = if job.job.suspect && limited { permit.take() } else { None };
                self.start(Box::new(job), own);
            }
        }
        let poll = spread(config.poll_every);
        let again = answer.look_again.map_or(poll, |again| again.min(poll));
        next.look_at = self.bells[self.index].sooner(self.engine.clock().now() + again);
        if want > 0 {
            // An exchange without room looks at no suspects: it does not know.
            next.suspects_left = answer.suspects_left;
            if claimed < want {
                self.set_hungry(next, again.is_zero());
            }
        }
    }

    /// Says once for each task that its jobs wait for another worker.
    fn say_unknown(&self, parked: &BTreeSet<TaskName>, next: &mut Next) {
        for task in parked {
            if next.unknown.insert(task.clone()) {
                tracing::warn!(
                    %task, queue = %self.shard,
                    "this worker can't run jobs of this task: they are parked for a worker that can; add it to \
                     `.tasks(tasks![…])`, or upgrade the worker"
                );
            }
        }
    }

    fn start(&self, claimed: Box<Claimed>, permit: Option<suspects::Permit>) {
        let engine = Arc::clone(&self.engine);
        let (outbox, slots) = (Arc::clone(&self.outbox), Arc::clone(&self.slots));
        let (id, fence) = (claimed.job.id, claimed.fence);
        let must_wait = permit.is_none() && claimed.job.suspect && engine.config.lease.crash_limit.is_some();
        let signals = engine.held.insert(id, claimed.job.shard.clone(), fence);
        let run = async move {
            let whole = async {
                // A suspect that a repeat brought has no permit yet.
                let mut permit = if must_wait { until_cut(&engine, &signals.lost).await } else { permit };
                let Executed { settled, facts, threads } = executor::execute(&engine, claimed, &signals).await;
                if settled.is_some() {
                    engine.held.run_ended(id, fence);
                } else {
                    engine.held.remove(id, fence);
                    engine.tell_stalled(&facts);
                }
                if threads.is_none() {
                    // The slot is free before the settlement is seen, so that the exchange that carries it can claim for it.
                    permit = None;
                    slots.free_one();
                }
                if let Some(settled) = settled {
                    outbox.hand_in(&engine, settled, facts, &signals).await;
                }
                if let Some(threads) = threads {
                    threads.ended(&engine).await;
                    drop(permit);
                    slots.free_one();
                }
            };
            engine.broken.part_of(whole).await;
        };
        // Boxed: what is spawned is moved whole several times, so each of its bytes is paid for by each run.
        self.runs.spawn(Box::pin(run));
    }

    async fn wait(
        &self,
        listener: &Listener,
        changes: &mut tokio::sync::watch::Receiver<u64>,
        next: &mut Next,
        permit: &mut Option<suspects::Permit>,
    ) {
        let stopping = self.stop.is_cancelled();
        let upkeep = async {
            if stopping { std::future::pending().await } else { self.engine.clock().sleep_until(next.look_at).await }
        };
        tokio::select! {
            () = self.outbox.arrived() => {}
            () = listener.changed(), if !stopping => self.set_hungry(next, true),
            _ = changes.changed(), if next.hungry && !stopping => {}
            () = upkeep => {}
            () = self.bells[self.index].comes(), if !stopping => {
                next.look_at = self.bells[self.index].sooner(next.look_at);
            }
            free = suspects::acquire(), if next.suspects_left && !stopping && permit.is_none() => {
                *permit = free;
                next.suspects_left = false;
                self.set_hungry(next, true);
            }
            () = self.stop.cancelled(), if !stopping => *permit = None,
            () = self.last.cancelled(), if stopping => {}
        }
    }

    fn set_hungry(&self, next: &mut Next, hungry: bool) {
        next.hungry = hungry;
        self.slots.set_hungry(self.index, hungry);
    }
}

/// Waits for the permit, unless the run is not to begin any more.
async fn until_cut(engine: &Engine, lost: &CancellationToken) -> Option<suspects::Permit> {
    tokio::select! {
        permit = suspects::acquire() => permit,
        () = lost.cancelled() => None,
        () = engine.cut.cancelled() => None,
    }
}

/// Whether it is time to look. A moment that is further away than any look is meant to be tells of a clock that was set back.
fn is_time(look_at: Timestamp, now: Timestamp, poll_every: Duration) -> bool {
    look_at <= now || look_at - now > poll_every
}

/// The longest wait of an idle lane is spread, so that many workers do not look at once.
fn spread(poll_every: Duration) -> Duration {
    poll_every.mul_f64(0.9 + fastrand::f64() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_puts_no_look_off() {
        let (poll, at) = (Duration::from_secs(10), Timestamp::from_micros(1_700_000_000_000_000));
        for (look_at, time) in [(at, true), (at + poll, false), (at + poll * 2, true), (at - poll, true)] {
            assert_eq!(is_time(look_at, at, poll), time, "{look_at}");
        }
    }
}
