//! Immediate mode: `enqueue` runs the job at once, with the same executor a worker uses.
//!
//! Time does not pass in it: a failed job is retried at once, and a job that is scheduled for later stays scheduled.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use queue_storage::model::{Claimed, Settled, Settlement, Shard, TaskName, When, WorkerId};
use queue_storage::storage::{Exchange, Exchanged, Renewal, StorageError, Topic};
use tokio_util::sync::CancellationToken;

use super::courier::carry;
use super::deaths::died;
use super::{DeathHook, Engine, Registry, RunFacts, Signals, WorkerConfig, executor};
use crate::client::{Client, Inline};
use crate::data::DataMap;

/// Runs jobs inside `enqueue`, as the worker it was made of would. It is a worker without the client, which holds it.
#[derive(Debug)]
pub(crate) struct Immediate {
    id: WorkerId,
    config: WorkerConfig,
    registry: Arc<Registry>,
    data: Arc<DataMap>,
    hook: DeathHook,
    /// The number of the last exchange, and the order of exchanges; held for one call at a time and never over a run, so
    /// that a task can enqueue.
    turn: tokio::sync::Mutex<u64>,
}

impl Immediate {
    pub(crate) fn of(engine: &Engine) -> Self {
        Self {
            id: engine.id,
            config: engine.config.clone(),
            registry: Arc::clone(&engine.registry),
            data: Arc::clone(&engine.data),
            hook: engine.deaths.hook.clone(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    async fn exchange(
        &self,
        engine: &Engine,
        shard: &Shard,
        settlements: Vec<Settled>,
    ) -> Result<Exchanged, StorageError> {
        let mut number = self.turn.lock().await;
        if *number == 0 {
            engine.register(vec![shard.clone()]).await?;
        }
        *number += 1;
        let call =
            Exchange { worker: engine.id, shard: shard.clone(), number: *number, settlements, want: 1, suspects: 1 };
        match engine.storage().exchange(call.clone()).await {
            Err(error) if error.is_unknown_worker() => {
                engine.register(vec![shard.clone()]).await?;
                engine.storage().exchange(call).await
            }
            answer => answer,
        }
    }
}

#[async_trait]
impl Inline for Immediate {
    fn check(&self, task: &TaskName) -> Result<(), String> {
        match self.registry.get(task) {
            Some(_) => Ok(()),
            None => Err(format!(
                "this client is in immediate mode, and its worker does not know task `{task}`: add it to the worker's \
                 `.tasks(tasks![…])`"
            )),
        }
    }

    async fn run(self: Arc<Self>, client: Client, shard: Shard) -> Result<(), StorageError> {
        let (registry, data) = (Arc::clone(&self.registry), Arc::clone(&self.data));
        let engine = Engine::new(self.id, client, self.config.clone(), registry, data, self.hook.clone());
        let (mut settlements, mut runs): (Vec<Settled>, Vec<RunFacts>) = (Vec::new(), Vec::new());
        loop {
            let answer = self.exchange(&engine, &shard, settlements.clone()).await?;
            engine.deaths.tell(&engine, died(&settlements, &answer));
            engine.tell_exchanged(&shard, &settlements, &runs, &answer);
            if answer.claimed.is_empty() && settlements.is_empty() {
                if !answer.outbox {
                    return Ok(());
                }
                // What these jobs handed on is taken at once elsewhere, and may come back here.
                for target in carry_all(&engine, &shard).await? {
                    engine.client.run_inline(&target).await?;
                }
            }
            (settlements, runs) = (Vec::new(), Vec::new());
            for job in answer.claimed {
                // A task that enqueues comes back here.
                if let Some((settled, run)) = execute(&engine, job).await {
                    settlements.push(at_once(settled));
                    runs.push(run);
                }
            }
        }
    }
}

/// Carries all that stands in the outbox of a shard; where to.
async fn carry_all(engine: &Engine, shard: &Shard) -> Result<BTreeSet<Shard>, StorageError> {
    let (mut sent, mut all) = (Vec::new(), BTreeSet::new());
    loop {
        let targets = carry(engine, shard, &mut sent).await?;
        if targets.is_empty() {
            return Ok(all);
        }
        all.extend(targets);
    }
}

/// Runs one job, and attends to it meanwhile as a renewer would: it may be asked to stop, and say how far it got.
async fn execute(engine: &Engine, claimed: Claimed) -> Option<(Settled, RunFacts)> {
    let signals = Signals::new(&engine.held.bell);
    let stop = engine.storage().listen(Topic::Stop(engine.id, claimed.job.shard.clone()));
    let renewal = Renewal {
        worker: engine.id,
        shard: claimed.job.shard.clone(),
        leases: vec![(claimed.job.id, claimed.fence)],
        progress: Vec::new(),
    };
    let ended = CancellationToken::new();
    let attending = async {
        // A call in flight is not dropped, for what it says would be lost.
        while !ended.is_cancelled() {
            tokio::select! {
                () = stop.changed() => {}
                () = engine.held.bell.rung() => {}
                () = ended.cancelled() => break,
            }
            attend(engine, renewal.clone(), &signals).await;
        }
    };
    let running = async {
        let executed = executor::execute(engine, Box::new(claimed), &signals).await;
        ended.cancel();
        executed
    };
    let (executed, ()) = tokio::join!(running, attending);
    if signals.told.is_due() {
        attend(engine, renewal, &signals).await;
    }
    executed.settled.map(|settled| (settled, executed.facts))
}

/// One renewal, with what the run has to say.
async fn attend(engine: &Engine, mut renewal: Renewal, signals: &Signals) {
    engine.held.bell.silence();
    let shard = renewal.shard.clone();
    let said = renewal.leases.first().map(|(id, _)| *id).zip(signals.told.take());
    renewal.progress = said.iter().map(|(id, said)| (*id, said.progress.clone())).collect();
    // What a storage does not hear now is of no use later: the run is this call.
    let answer = engine.storage().renew(renewal).await.ok();
    if answer.is_some() {
        engine.tell_progress(&shard, said.iter().map(|(id, said)| (*id, said)));
    }
    signals.told.sent();
    answer.iter().flatten().for_each(|answer| signals.hear(*answer));
}

/// Time does not pass: what would be retried later is retried at once.
fn at_once(mut settled: Settled) -> Settled {
    if let Settlement::Retry { when, .. } = &mut settled.settlement {
        *when = When::Now;
    }
    settled
}
