//! A worker in this process.

use std::sync::Arc;
use std::time::Duration;

use queue::{BoxError, Worker, WorkerError, tasks};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::target::Target;
use crate::tasks::{QUEUE, Runs, echo, flaky, more, noop, number, sum};

/// A measure that waits this long for jobs that do nothing has failed.
const PATIENCE: Duration = Duration::from_secs(600);

/// A worker that runs until it is stopped.
pub(super) struct Working {
    stop: oneshot::Sender<()>,
    worker: JoinHandle<Result<(), WorkerError>>,
    pub(super) runs: Arc<Runs>,
}

impl Working {
    pub(super) fn start(concurrency: u32, target: &Target, runs: Runs) -> Result<Self, BoxError> {
        Self::serving(&[QUEUE], concurrency, target, runs)
    }

    /// One that serves these queues.
    pub(super) fn serving(queues: &[&str], concurrency: u32, target: &Target, runs: Runs) -> Result<Self, BoxError> {
        let runs = Arc::new(runs);
        let builder = Worker::builder(&target.client)
            .tasks(tasks![noop, flaky, echo, number, more, sum])
            .data_arc(Arc::clone(&runs))
            .concurrency(concurrency);
        let worker = queues.iter().fold(builder, |builder, queue| builder.queue(*queue)).build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = tokio::spawn(worker.run_until(async {
            let _ = stopped.await;
        }));
        Ok(Self { stop, worker, runs })
    }

    pub(super) async fn stop(self) -> Result<(), BoxError> {
        // It is there still, or `worker` says why it is not.
        let _ = self.stop.send(());
        Ok(self.worker.await??)
    }

    /// Waits until so many jobs are settled since the target was opened.
    pub(super) async fn settles(&self, target: &Target, jobs: u64) -> Result<(), BoxError> {
        let waited = tokio::time::timeout(PATIENCE, target.counting.settles(jobs)).await;
        waited.map_err(|_| format!("only {} of {jobs} jobs settled in {PATIENCE:?}", target.counting.settled()).into())
    }

    /// Waits until nothing has been asked of the storage for `pause`: then the worker sleeps.
    pub(super) async fn sleeps(&self, target: &Target, pause: Duration) {
        loop {
            let before = target.counting.calls().total();
            tokio::time::sleep(pause).await;
            if !target.counting.is_busy() && target.counting.calls().total() == before {
                return;
            }
        }
    }
}
