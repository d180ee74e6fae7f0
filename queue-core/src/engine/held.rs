//! The jobs this worker holds: what the renewer renews, and how a run learns that its lease is lost.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use queue_storage::model::{Fence, JobId, Shard, Timestamp};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Shared with the renewer's thread, so never locked across an await or a call of the user's.
    jobs: Mutex<HashMap<JobId, Hold>>,
}

#[derive(Clone, Debug)]
struct Hold {
    shard: Shard,
    fence: Fence,
    /// Cancelled when the lease is lost.
    lost: CancellationToken,
    /// After this the run should long have ended: its lease is not renewed any more.
    overdue: Option<Timestamp>,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Hold>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a job from its claim on; the token is cancelled when its lease is lost.
    pub(crate) fn insert(&self, id: JobId, shard: Shard, fence: Fence) -> CancellationToken {
        let lost = CancellationToken::new();
        let hold = Hold { shard, fence, lost: lost.clone(), overdue: None };
        // A job that is claimed again was lost before: the older run learns it.
        if let Some(older) = self.lock().insert(id, hold) {
            older.lost.cancel();
        }
        lost
    }

    /// Stops renewing the job after `overdue`.
    pub(crate) fn expect_end(&self, id: JobId, fence: Fence, overdue: Timestamp) {
        if let Some(hold) = self.lock().get_mut(&id).filter(|hold| hold.fence == fence) {
            hold.overdue = Some(overdue);
        }
    }

    /// The run has ended, and its outcome is to be written: until then the lease is renewed, timeout or not.
    pub(crate) fn run_ended(&self, id: JobId, fence: Fence) {
        if let Some(hold) = self.lock().get_mut(&id).filter(|hold| hold.fence == fence) {
            hold.overdue = None;
        }
    }

    /// Lets a job go; a later claim of the same job stays.
    pub(crate) fn remove(&self, id: JobId, fence: Fence) {
        let mut jobs = self.lock();
        if jobs.get(&id).is_some_and(|hold| hold.fence == fence) {
            jobs.remove(&id);
        }
    }

    /// The leases to renew now, by shard.
    pub(crate) fn to_renew(&self, now: Timestamp) -> HashMap<Shard, Vec<(JobId, Fence)>> {
        let mut leases: HashMap<Shard, Vec<_>> = HashMap::new();
        for (id, hold) in self.lock().iter().filter(|(_, hold)| hold.overdue.is_none_or(|overdue| now < overdue)) {
            leases.entry(hold.shard.clone()).or_default().push((*id, hold.fence));
        }
        leases
    }

    /// Tells the run of a job that its lease is lost.
    pub(crate) fn lose(&self, id: JobId, fence: Fence) {
        if let Some(hold) = self.lock().get(&id).filter(|hold| hold.fence == fence) {
            hold.lost.cancel();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}
