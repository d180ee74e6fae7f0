//! Renews leases from a thread of its own, so that a blocked runtime of the user's does not lose them.

use std::sync::Arc;
use std::thread::JoinHandle;

use queue_storage::storage::{MAX_RENEWALS, Renewal, Renewed};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// The renewer's thread; it stops when this is dropped.
#[derive(Debug)]
pub(super) struct Renewer {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Renewer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(engine: Arc<Engine>) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = std::thread::Builder::new().name("queue-renewer".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = renew_for_ever(&engine) => {}
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

async fn renew_for_ever(engine: &Engine) {
    loop {
        engine.sleep(engine.config.lease.renew_every).await;
        for (shard, leases) in engine.held.to_renew() {
            for leases in leases.chunks(MAX_RENEWALS) {
                let renewal = Renewal { worker: engine.id, shard: shard.clone(), leases: leases.to_vec() };
                renew(engine, renewal).await;
            }
        }
    }
}

/// One call; whoever lost its lease is told. A call that fails is made up for by the next.
async fn renew(engine: &Engine, renewal: Renewal) {
    let leases = renewal.leases.clone();
    match engine.storage().renew(renewal).await {
        Ok(answers) => {
            for ((id, fence), answer) in leases.into_iter().zip(answers) {
                if answer == Renewed::Lost {
                    engine.held.lose(id, fence);
                }
            }
        }
        Err(error) => tracing::warn!(%error, "leases not renewed: trying again"),
    }
}
