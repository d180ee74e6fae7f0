//! Renews leases from a thread of its own, so that a blocked runtime of the user's does not lose them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::select_all;
use queue_storage::model::Shard;
use queue_storage::storage::{Listener, MAX_RENEWALS, Renewal, Renewed, Topic};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Word};

/// The renewer's thread; it stops when this is dropped.
#[derive(Debug)]
pub(super) struct Renewer {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Renewer {
    /// Starts the thread; from now on it hears of jobs that are asked to stop.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(engine: Arc<Engine>, shards: &[Shard]) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        // Before anything is claimed, whenever the thread comes to run.
        let stops = Stops::listen(&engine, shards);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = std::thread::Builder::new().name("queue-renewer".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = engine.broken.part_of(renew_for_ever(&engine, stops)) => {}
                }
            });
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Renewer {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It ends at its next await; a storage call it waits for ends by the storage's own deadline.
            drop(thread);
        }
    }
}

/// Renews in rounds; beside them at once where a job may have been asked to stop, and where runs say how far they got.
async fn renew_for_ever(engine: &Engine, stops: Stops) {
    // Begun once and not told by a moment, so that a clock that is set does not stretch it.
    let round = engine.sleep(engine.config.lease.renew_every);
    let pause = engine.sleep(Duration::ZERO);
    tokio::pin!(round, pause);
    loop {
        tokio::select! {
            () = &mut round => {
                renew_all(engine, engine.held.to_renew()).await;
                round.set(engine.sleep(engine.config.lease.renew_every));
            }
            shard = stops.heard() => {
                engine.held.stops.fetch_add(1, Ordering::AcqRel);
                renew_all(engine, [(shard.clone(), engine.held.in_shard(shard))]).await;
            }
            () = engine.held.missed.notified() => {
                for shard in stops.shards() {
                    renew_all(engine, [(shard.clone(), engine.held.in_shard(shard))]).await;
                }
            }
            () = engine.held.hurry.notified() => {
                renew_all(engine, engine.held.to_tell()).await;
            }
            () = async { engine.held.bell.rung().await; (&mut pause).await } => {
                let heard = renew_all(engine, engine.held.to_tell()).await;
                // A storage that does not answer is not asked more often than for renewals.
                pause.set(engine.sleep(if heard { engine.config.tell_every } else { engine.config.lease.renew_every }));
            }
        }
    }
}

/// Hears of jobs that were asked to stop. What it misses comes with the next round.
struct Stops(Vec<(Shard, Listener)>);

impl Stops {
    fn listen(engine: &Engine, shards: &[Shard]) -> Self {
        let listen = |shard: &Shard| engine.storage().listen(Topic::Stop(engine.id, shard.clone()));
        Self(shards.iter().map(|shard| (shard.clone(), listen(shard))).collect())
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.0.iter().map(|(shard, _)| shard)
    }

    async fn heard(&self) -> &Shard {
        let each = self.0.iter().map(|(shard, listener)| {
            Box::pin(async move {
                listener.changed().await;
                shard
            })
        });
        select_all(each).await.0
    }
}

/// Whether the storage answered.
async fn renew_all(engine: &Engine, words: impl IntoIterator<Item = (Shard, Vec<Word>)>) -> bool {
    let mut answered = true;
    for (shard, words) in words {
        for words in words.chunks(MAX_RENEWALS) {
            answered &= renew(engine, &shard, words).await;
        }
    }
    answered
}

/// One call; whoever lost its lease or is to stop is told. A call that fails is made up for by the next. Whether it was
/// answered.
async fn renew(engine: &Engine, shard: &Shard, words: &[Word]) -> bool {
    let leases = words.iter().map(|(id, fence, _)| (*id, *fence)).collect();
    let progress = words.iter().filter_map(|(id, _, said)| Some((*id, said.as_ref()?.progress.clone()))).collect();
    let renewal = Renewal { worker: engine.id, shard: shard.clone(), leases, progress };
    let answers = engine.storage().renew(renewal).await;
    if let Err(error) = &answers {
        tracing::warn!(%error, "leases not renewed: trying again");
    }
    let answered = answers.is_ok();
    let answers = answers.unwrap_or_default();
    // Told first: once a run's last word is sent its end may be told.
    let heard = words.iter().zip(&answers).filter(|(_, answer)| **answer != Renewed::Lost);
    let heard = heard.filter_map(|(word, _)| Some((word.0, word.2.as_ref().filter(|_| engine.held.holds(word))?)));
    engine.tell_progress(shard, heard);
    for (index, word) in words.iter().enumerate() {
        engine.held.answered(word, answers.get(index).copied());
    }
    answered
}
