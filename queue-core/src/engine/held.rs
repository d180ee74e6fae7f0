//! The jobs this worker holds: what the renewer renews, and how a run learns that its lease is lost.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use queue_storage::model::{Fence, JobId, Shard};
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
    /// How often its lease is still renewed; `None` for as long as it runs. Counted in renewals and not told by a clock,
    /// which may be set.
    renewals: Option<u32>,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Hold>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a job from its claim on; the token is cancelled when its lease is lost.
    pub(crate) fn insert(&self, id: JobId, shard: Shard, fence: Fence) -> CancellationToken {
        let lost = CancellationToken::new();
        let hold = Hold { shard, fence, lost: lost.clone(), renewals: None };
        // A job that is claimed again was lost before: the older run learns it.
        if let Some(older) = self.lock().insert(id, hold) {
            older.lost.cancel();
        }
        lost
    }

    /// Stops renewing the job after so many renewals: by then it should long have ended.
    pub(crate) fn expect_end(&self, id: JobId, fence: Fence, renewals: u32) {
        if let Some(hold) = self.lock().get_mut(&id).filter(|hold| hold.fence == fence) {
            hold.renewals = Some(renewals);
        }
    }

    /// The run has ended, and its outcome is to be written: until then the lease is renewed, timeout or not.
    pub(crate) fn run_ended(&self, id: JobId, fence: Fence) {
        if let Some(hold) = self.lock().get_mut(&id).filter(|hold| hold.fence == fence) {
            hold.renewals = None;
        }
    }

    /// Lets a job go; a later claim of the same job stays.
    pub(crate) fn remove(&self, id: JobId, fence: Fence) {
        let mut jobs = self.lock();
        if jobs.get(&id).is_some_and(|hold| hold.fence == fence) {
            jobs.remove(&id);
        }
    }

    /// The leases to renew in this round, by shard.
    pub(crate) fn to_renew(&self) -> HashMap<Shard, Vec<(JobId, Fence)>> {
        let mut leases: HashMap<Shard, Vec<_>> = HashMap::new();
        for (id, hold) in self.lock().iter_mut() {
            match &mut hold.renewals {
                Some(0) => continue,
                Some(left) => *left -= 1,
                None => {}
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overdue_run_loses_its_lease_and_an_ended_one_does_not() {
        let held = Held::default();
        let shard = Shard::of("q".parse().unwrap());
        let (overdue, ended) = (JobId::new(&shard), JobId::new(&shard));
        for id in [overdue, ended] {
            held.insert(id, shard.clone(), Fence(1));
            held.expect_end(id, Fence(1), 2);
        }
        let renewed = || held.to_renew().into_values().map(|leases| leases.len()).sum::<usize>();
        assert_eq!((renewed(), renewed()), (2, 2));
        held.run_ended(ended, Fence(1));
        assert_eq!((renewed(), renewed()), (1, 1));
        held.remove(ended, Fence(9));
        assert_eq!(renewed(), 1, "another claim's fence");
        held.remove(ended, Fence(1));
        assert_eq!(renewed(), 0);
    }

    #[test]
    fn a_job_that_is_claimed_again_was_lost() {
        let held = Held::default();
        let shard = Shard::of("q".parse().unwrap());
        let id = JobId::new(&shard);
        let first = held.insert(id, shard.clone(), Fence(1));
        let second = held.insert(id, shard, Fence(2));
        assert!(first.is_cancelled() && !second.is_cancelled());
        held.lose(id, Fence(1));
        assert!(!second.is_cancelled());
        held.lose(id, Fence(2));
        assert!(second.is_cancelled());
    }
}
