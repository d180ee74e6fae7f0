//! A worker while it runs: its lanes, its keepers and its jobs, and the order in which they stop.

use std::sync::Arc;

use queue_storage::model::Shard;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::courier::{self, Desk};
use super::lane::Lane;
use super::outbox::Outbox;
use super::slots::Slots;
use crate::engine::Engine;
use crate::events::EventKind;
use crate::keeper::reconciler::{self, Defined};
use crate::keeper::ticker::{self, Bell};
use crate::keeper::{pruner, sentry};

/// The tasks of a running worker. Dropped, they end where they are.
pub(super) struct Running {
    lanes: JoinSet<()>,
    keepers: JoinSet<()>,
    /// They go on while jobs end.
    couriers: JoinSet<()>,
    /// What tells tickers of ticks, one for each lane.
    bells: Arc<[Bell]>,
    /// Lanes that may have a claim in flight.
    claiming: TaskTracker,
    runs: TaskTracker,
    /// Aborts runs when this is dropped.
    _abort: AbortRuns,
    stop: CancellationToken,
    last: CancellationToken,
}

struct AbortRuns(CancellationToken);

impl Drop for AbortRuns {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Running {
    pub(super) fn start(engine: &Arc<Engine>, slots: &Arc<Slots>, desks: &Arc<[Desk]>, shards: &Arc<[Shard]>) -> Self {
        let (stop, last) = (CancellationToken::new(), CancellationToken::new());
        let (runs, claiming) = (TaskTracker::new(), TaskTracker::new());
        let (mut lanes, mut couriers) = (JoinSet::new(), JoinSet::new());
        let bells: Arc<[Bell]> = shards.iter().map(|_| Bell::default()).collect();
        for (index, shard) in shards.iter().enumerate() {
            let lane = Lane {
                engine: Arc::clone(engine),
                shard: shard.clone(),
                shards: Arc::clone(shards),
                index,
                slots: Arc::clone(slots),
                desks: Arc::clone(desks),
                bells: Arc::clone(&bells),
                outbox: Arc::new(Outbox::default()),
                runs: runs.clone(),
                stop: stop.clone(),
                claiming: Some(claiming.token()),
                last: last.clone(),
            };
            spawn(&mut lanes, engine, lane.run());
            let carrying = courier::carry_for_ever(Arc::clone(engine), shard.clone(), Arc::clone(desks), index);
            spawn(&mut couriers, engine, carrying);
        }
        let mut keepers = JoinSet::new();
        spawn(&mut keepers, engine, pruner::prune_for_ever(Arc::clone(engine), Arc::clone(shards)));
        spawn(&mut keepers, engine, sentry::watch_for_ever(Arc::clone(engine), Arc::clone(shards)));
        Self { lanes, keepers, couriers, bells, claiming, runs, _abort: AbortRuns(engine.cut.clone()), stop, last }
    }

    /// Carries out ticks, and stores the schedules that the code defines.
    pub(super) fn keep_time(&mut self, engine: &Arc<Engine>, shards: &Arc<[Shard]>, defined: &Arc<[Defined]>) {
        for (index, shard) in shards.iter().enumerate() {
            let bells = Arc::clone(&self.bells);
            let ticking = ticker::tick_for_ever(Arc::clone(engine), shard.clone(), bells, index);
            spawn(&mut self.keepers, engine, ticking);
        }
        spawn(&mut self.keepers, engine, reconciler::reconcile_for_ever(Arc::clone(engine), Arc::clone(defined)));
    }

    /// Waits until nothing is claimed any more, as far as the storage answers, and every run has ended.
    async fn ended(&self, engine: &Engine) {
        tokio::select! {
            () = self.claiming.wait() => {}
            () = engine.sleep(engine.config.last_words) => {}
        }
        self.runs.wait().await;
    }

    /// Stops in order: claim no more, wait for the grace or until it must be at once, cut, settle what has ended, say
    /// goodbye.
    pub(super) async fn stop(mut self, engine: &Engine, at_once: impl Future<Output = ()>) {
        tracing::info!(running = engine.held.len(), grace = ?engine.config.grace, "worker stops: claiming no more");
        engine.tell_worker(EventKind::WorkerDraining, None);
        self.stop.cancel();
        self.keepers.abort_all();
        self.claiming.close();
        self.runs.close();
        tokio::select! {
            () = self.ended(engine) => {}
            () = engine.sleep(engine.config.grace) => engine.cut.cancel(),
            () = at_once => {
                tracing::warn!(running = engine.held.len(), "worker stops at once: what runs is dropped and given back");
                engine.cut.cancel();
            }
        }
        tokio::select! {
            () = self.ended(engine) => {}
            () = engine.sleep(engine.config.last_words) => {
                tracing::warn!(left = engine.held.len(), "jobs on threads that can't be stopped are left to run out");
            }
        }
        self.last.cancel();
        let farewell = async {
            while self.lanes.join_next().await.is_some() {}
            engine.storage().deregister(engine.id).await
        };
        tokio::select! {
            goodbye = farewell => match goodbye {
                Ok(()) => engine.tell_worker(EventKind::WorkerStopped, None),
                Err(error) => tracing::warn!(%error, "stopped without deregistering"),
            },
            () = engine.sleep(engine.config.last_words) => {
                tracing::warn!("the storage does not answer: outcomes not written are lost, their jobs will run again");
            }
        }
        let told = async {
            engine.deaths.told().await;
            engine.client.teller().told_of(engine.id).await;
        };
        tokio::select! {
            () = told => {}
            () = engine.sleep(engine.config.last_words) => {
                tracing::warn!("handlers of events, or of deaths, have not ended: they are left where they are");
            }
        }
        self.couriers.abort_all();
        tracing::info!(worker = %engine.id, "worker stopped");
    }
}

/// Starts a part of the worker.
fn spawn(parts: &mut JoinSet<()>, engine: &Arc<Engine>, part: impl Future<Output = ()> + Send + 'static) {
    let engine = Arc::clone(engine);
    parts.spawn(async move { engine.broken.part_of(part).await });
}
