//! A worker, and what it drains.

use std::sync::Arc;
use std::time::Duration;

use queue::{BoxError, StorageError, Worker, tasks};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{enqueue, expect};
use crate::options::Run;
use crate::progress::Progress;
use crate::report::{Meter, Report};
use crate::target::Target;
use crate::tasks::{Probe, QUEUE, noop};

/// A measure that waits this long for jobs that do nothing has failed.
const PATIENCE: Duration = Duration::from_secs(600);

/// A worker that runs until it is stopped.
pub(super) struct Working {
    stop: oneshot::Sender<()>,
    worker: JoinHandle<Result<(), StorageError>>,
    pub(super) probe: Arc<Probe>,
}

impl Working {
    pub(super) fn start(run: &Run, target: &Target, probe: Probe) -> Result<Self, BoxError> {
        let probe = Arc::new(probe);
        let worker = Worker::builder(&target.client)
            .tasks(tasks![noop])
            .data_arc(Arc::clone(&probe))
            .queue(QUEUE)
            .concurrency(run.concurrency())
            .build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = tokio::spawn(worker.run_until(async {
            let _ = stopped.await;
        }));
        Ok(Self { stop, worker, probe })
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

/// All jobs are there before the worker starts; it is over when the last is settled.
pub(super) async fn drain(run: &Run, target: &Target) -> Result<Report, BoxError> {
    {
        let (done, _progress) = enqueue::counted(run);
        enqueue::fill(&target.client, run.jobs(), run.payload, |call| call, &done).await?;
    }
    let settled = target.clone();
    let _progress = Progress::of("drained", run.jobs(), move || settled.counting.settled());
    let meter = Meter::start(target);
    let working = Working::start(run, target, Probe::default())?;
    working.settles(target, run.jobs()).await?;
    let report = meter.read(run, target);
    let probe = Arc::clone(&working.probe);
    working.stop().await?;
    expect("runs", probe.runs(), run.jobs())?;
    Ok(report)
}
