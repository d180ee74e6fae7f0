//! Clients and workers that go on whatever happens to the server, and remember what they were told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use queue_redis::RedisStorage;
use queue_storage::model::{Fence, JobId};
use queue_storage::storage::{LeaseTerms, Operate};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::kit::{Caller, Hand, PATIENCE, insist, jobs, mail};

/// Two clients and two workers at work.
pub(crate) struct Work {
    stop: watch::Sender<bool>,
    answered: watch::Sender<u64>,
    callers: JoinSet<BTreeSet<JobId>>,
    hands: JoinSet<Vec<(JobId, Fence)>>,
}

/// What the server has told them.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) enqueued: BTreeSet<JobId>,
    /// By job, in no order.
    pub(crate) settled: Vec<(JobId, Fence)>,
}

impl Told {
    /// Everything that was taken in was settled, and once.
    pub(crate) fn all_settled_once(&self) {
        let settled: BTreeSet<JobId> = self.settled.iter().map(|(job, _)| *job).collect();
        assert_eq!(settled.len(), self.settled.len(), "a job was settled twice");
        assert!(self.enqueued.is_subset(&settled), "jobs that were taken in are lost");
    }
}

impl Work {
    /// Each has a storage of its own by turns.
    pub(crate) fn start(storages: &[Arc<RedisStorage>]) -> Self {
        let (stop, answered) = (watch::Sender::new(false), watch::Sender::new(0));
        let (mut callers, mut hands) = (JoinSet::new(), JoinSet::new());
        for storage in storages.iter().cycle().take(2.max(storages.len())) {
            callers.spawn(enqueue(Arc::clone(storage), stop.subscribe(), answered.clone()));
            hands.spawn(settle(Arc::clone(storage), stop.subscribe(), answered.clone()));
        }
        Self { stop, answered, callers, hands }
    }

    /// Waits until so many more calls have been answered.
    pub(crate) async fn goes_on(&self, more: u64) {
        let mut answered = self.answered.subscribe();
        let end = *answered.borrow_and_update() + more;
        timeout(PATIENCE, answered.wait_for(|count| *count >= end)).await.expect("the work stands still").unwrap();
    }

    /// Takes no more in, and waits until all that is there is done.
    pub(crate) async fn finish(self) -> Told {
        self.stop.send_replace(true);
        let all = async { (self.callers.join_all().await, self.hands.join_all().await) };
        let (enqueued, settled) = timeout(2 * PATIENCE, all).await.expect("the work does not end");
        Told { enqueued: enqueued.into_iter().flatten().collect(), settled: settled.into_iter().flatten().collect() }
    }
}

async fn enqueue(
    storage: Arc<RedisStorage>,
    stop: watch::Receiver<bool>,
    answered: watch::Sender<u64>,
) -> BTreeSet<JobId> {
    let mut caller = Caller::new();
    let mut all = BTreeSet::new();
    while !*stop.borrow() {
        all.extend(caller.enqueue(&storage, jobs(fastrand::usize(1..=8))).await);
        answered.send_modify(|count| *count += 1);
    }
    all
}

async fn settle(
    storage: Arc<RedisStorage>,
    stop: watch::Receiver<bool>,
    answered: watch::Sender<u64>,
) -> Vec<(JobId, Fence)> {
    let mut hand = Hand::stranger(mail());
    // What is held when nobody knows any more who holds it is soon free again.
    hand.lease = LeaseTerms { crash_limit: None, ..LeaseTerms::of(Duration::from_secs(2)) };
    hand.register(&storage).await;
    loop {
        let answer = hand.exchange(&storage, fastrand::u32(1..=30)).await;
        answered.send_modify(|count| *count += 1);
        if answer.claimed.is_empty() && *stop.borrow() {
            let shard = mail();
            let counts = insist(|| storage.counts(&shard)).await;
            if counts.live() == 0 {
                return hand.settled;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}
