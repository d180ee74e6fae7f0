//! What the measured jobs do: next to nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use queue::{Data, task};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;

/// The queue of every measured job.
pub(crate) const QUEUE: &str = "bench";

/// Sees every run.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    runs: AtomicU64,
    /// Where the starts are told, if anyone wants to know.
    starts: Option<UnboundedSender<Duration>>,
}

impl Probe {
    /// One that tells when each run started.
    pub(crate) fn telling(starts: UnboundedSender<Duration>) -> Self {
        Self { runs: AtomicU64::new(0), starts: Some(starts) }
    }

    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    fn see(&self) {
        if let Some(starts) = &self.starts {
            // The measure may have given up.
            let _ = starts.send(clock::now());
        }
        self.runs.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does nothing with its payload.
#[task(queue = "bench")]
pub(crate) async fn noop(payload: String, probe: Data<Probe>) {
    probe.see();
    drop(payload);
}
