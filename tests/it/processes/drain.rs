//! Waiting until all work is done.

use queue::{Client, Counts};

use super::stage::Process;
use crate::support::eventually;

/// Waits until no job is live, however long that takes, as long as jobs go on ending and the workers live.
pub async fn drained(client: &Client, workers: &mut [Process]) -> Counts {
    drained_to(client, workers, u64::MAX).await
}

/// The same until so many have ended.
pub async fn drained_to(client: &Client, workers: &mut [Process], enough: u64) -> Counts {
    let mut before = None;
    loop {
        let progress = async || {
            // Nobody can say while the storage is away.
            let counts = client.counts("default").await.ok()?;
            let ended = counts.ended.total();
            (counts.live() == 0 || before.is_none_or(|before| ended > before)).then_some(counts)
        };
        let counts = eventually("jobs go on ending", progress).await;
        for worker in &mut *workers {
            assert!(worker.ended().is_none(), "{} ended: {}", worker.name, worker.stderr());
        }
        if counts.live() == 0 || counts.ended.total() >= enough {
            return counts;
        }
        before = Some(counts.ended.total());
    }
}
