//! How far a worker has come, told to whoever asks: a health check, a service manager.

use std::fmt;

use tokio::sync::watch;

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Starting,
    Ready,
    Draining,
    Stopped,
}

/// How far a worker has come, which outlives the call that runs it: what [`Worker::readiness`](crate::Worker::readiness)
/// returns. Cheap to clone.
///
/// It starts, is *ready* once the storage knows it, *draining* from the moment it is asked to stop, and *stopped* when its
/// run has ended, however that ended. It never goes back.
///
/// ```
/// # use queue_core::{Call, Client, Context, Task, TaskError, TaskList, Worker};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Add;
/// # impl Task for Add { type Output = (); const NAME: &'static str = "add";
/// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
/// # let client = Client::memory();
/// let worker = Worker::builder(&client).tasks(TaskList::new().with::<Add>()).build()?;
/// let readiness = worker.readiness();
/// assert!(!readiness.is_ready());
/// let asked = readiness.clone();
/// worker.run_until(async move { assert!(asked.ready().await) }).await?;
/// assert!(readiness.is_stopped());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Readiness(watch::Receiver<Stage>);

impl Readiness {
    /// Whether it runs jobs: the storage knows it, and nobody has asked it to stop.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.stage() == Stage::Ready
    }

    /// Whether it was asked to stop and has jobs that may still end. It claims no more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.stage() == Stage::Draining
    }

    /// Whether it has ended, or its run was dropped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stage() == Stage::Stopped
    }

    /// Waits until it is ready, and says whether it is: not if it is asked to stop before, or dropped.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ready(&self) -> bool {
        self.reached(Stage::Ready).await == Stage::Ready
    }

    /// Waits until it is asked to stop, or has ended.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn draining(&self) {
        self.reached(Stage::Draining).await;
    }

    /// Waits until it has ended.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn stopped(&self) {
        self.reached(Stage::Stopped).await;
    }

    /// Waits until it is further than this value, or another clone of it, has seen: once for each step that is not missed.
    /// Comes back at once, always, when it is stopped.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn changed(&mut self) {
        // Whoever would tell of a step is gone: it was stopped before.
        let _ = self.0.changed().await;
    }

    fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// The first stage that is at least this one.
    async fn reached(&self, least: Stage) -> Stage {
        let mut stages = self.0.clone();
        stages.wait_for(|stage| *stage >= least).await.map_or(Stage::Stopped, |stage| *stage)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Readiness({:?})", self.stage())
    }
}

/// What a worker tells its stages with. Dropped, it tells that the worker is stopped.
#[derive(Debug)]
pub(super) struct Progress(watch::Sender<Stage>);

impl Progress {
    pub(super) fn starting() -> Self {
        Self(watch::Sender::new(Stage::Starting))
    }

    pub(super) fn readiness(&self) -> Readiness {
        Readiness(self.0.subscribe())
    }

    pub(super) fn ready(&self) {
        self.0.send_replace(Stage::Ready);
    }

    pub(super) fn draining(&self) {
        self.0.send_replace(Stage::Draining);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.send_replace(Stage::Stopped);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn each_stage_is_told_and_the_end_by_dropping() {
        let progress = Progress::starting();
        let readiness = progress.readiness();
        let told = || (readiness.is_ready(), readiness.is_draining(), readiness.is_stopped());
        assert_eq!(told(), (false, false, false));
        progress.ready();
        assert_eq!(told(), (true, false, false));
        progress.draining();
        assert_eq!(told(), (false, true, false));
        drop(progress);
        assert_eq!(told(), (false, false, true));
    }

    #[test]
    fn who_waits_for_ready_learns_that_it_never_will_be() {
        let progress = Progress::starting();
        let readiness = progress.readiness();
        assert_eq!(readiness.ready().now_or_never(), None);
        progress.ready();
        assert_eq!(readiness.ready().now_or_never(), Some(true));
        drop(progress);
        assert_eq!(readiness.ready().now_or_never(), Some(false));
        assert_eq!(readiness.draining().now_or_never(), Some(()));
        assert_eq!(readiness.stopped().now_or_never(), Some(()));
    }

    #[test]
    fn a_change_is_seen_once() {
        let progress = Progress::starting();
        let mut readiness = progress.readiness();
        assert_eq!(readiness.changed().now_or_never(), None);
        progress.ready();
        assert_eq!(readiness.changed().now_or_never(), Some(()));
        assert_eq!(readiness.changed().now_or_never(), None);
        drop(progress);
        assert_eq!((0..3).filter_map(|_| readiness.changed().now_or_never()).count(), 3, "a stopped worker: at once");
    }
}
