//! The jobs this worker holds: what the renewer renews, what it tells of how far they got, and how a run learns that its
//! lease is lost or that someone cancelled it.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use queue_storage::model::{Fence, JobId, Shard};
use queue_storage::storage::Renewed;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::progress::{Bell, Said, Told};

#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Shared with the renewer's thread, so never locked across an await or a call of the user's.
    jobs: Mutex<HashMap<JobId, Hold>>,
    /// Rung when a run says how far it got.
    pub(crate) bell: Arc<Bell>,
    /// Told when a run has ended whose last word is not sent yet.
    pub(crate) hurry: Notify,
    /// How often it was heard that jobs are to stop.
    pub(crate) stops: AtomicU64,
    /// Told when that was heard between a claim and its answer: a job that has just come may be meant.
    pub(crate) missed: Notify,
}

/// What a run hears while it runs, and what it says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// Cancelled when its lease is lost.
    pub(crate) lost: CancellationToken,
    /// Cancelled when someone cancelled the job.
    pub(crate) asked: CancellationToken,
    /// Cancelled when it should stop for whatever reason: what its context shows.
    pub(crate) over: CancellationToken,
    /// How far it got.
    pub(crate) told: Arc<Told>,
}

impl Signals {
    pub(crate) fn new(bell: &Arc<Bell>) -> Self {
        Self { told: Arc::new(Told::new(Arc::clone(bell))), ..Self::default() }
    }

    /// Acts on what became of the lease.
    pub(crate) fn hear(&self, answer: Renewed) {
        match answer {
            Renewed::Lost => self.lose(),
            Renewed::Stop => {
                self.asked.cancel();
                self.over.cancel();
            }
            _ => {}
        }
    }

    fn lose(&self) {
        self.lost.cancel();
        self.over.cancel();
    }
}

/// What a renewal says of one job.
pub(crate) type Word = (JobId, Fence, Option<Said>);

#[derive(Clone, Debug)]
struct Hold {
    shard: Shard,
    fence: Fence,
    signals: Signals,
    /// How often its lease is still renewed; `None` for as long as it runs. Counted in renewals and not told by a clock,
    /// which may be set.
    renewals: Option<u32>,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Hold>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a job from its claim on.
    pub(crate) fn insert(&self, id: JobId, shard: Shard, fence: Fence) -> Signals {
        let signals = Signals::new(&self.bell);
        let hold = Hold { shard, fence, signals: signals.clone(), renewals: None };
        // A job that is claimed again was lost before: the older run learns it.
        if let Some(older) = self.lock().insert(id, hold) {
            older.signals.lose();
        }
        signals
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

    /// The leases to renew in this round, by shard, with what their runs have to say.
    pub(crate) fn to_renew(&self) -> HashMap<Shard, Vec<Word>> {
        let mut words: HashMap<Shard, Vec<_>> = HashMap::new();
        for (id, hold) in self.lock().iter_mut() {
            match &mut hold.renewals {
                Some(0) => continue,
                Some(left) => *left -= 1,
                None => {}
            }
            words.entry(hold.shard.clone()).or_default().push(hold.word(*id));
        }
        words
    }

    /// The leases to renew beside the rounds, since one of the shard's jobs may have been asked to stop.
    pub(crate) fn in_shard(&self, shard: &Shard) -> Vec<Word> {
        let jobs = self.lock();
        let there = jobs.iter().filter(|(_, hold)| hold.shard == *shard && hold.renewals != Some(0));
        there.map(|(id, hold)| hold.word(*id)).collect()
    }

    /// The leases whose runs have something to say, by shard.
    pub(crate) fn to_tell(&self) -> HashMap<Shard, Vec<Word>> {
        self.bell.silence();
        let mut words: HashMap<Shard, Vec<_>> = HashMap::new();
        for (id, hold) in self.lock().iter().filter(|(_, hold)| hold.renewals != Some(0)) {
            if let Some(said) = hold.signals.told.take() {
                words.entry(hold.shard.clone()).or_default().push((*id, hold.fence, Some(said)));
            }
        }
        words
    }

    /// Whether the run that said this still holds its lease.
    pub(crate) fn holds(&self, (id, fence, _): &Word) -> bool {
        self.lock().get(id).is_some_and(|hold| hold.fence == *fence)
    }

    /// Passes on what became of a lease, and of what its run said.
    pub(crate) fn answered(&self, word: &Word, answer: Option<Renewed>) {
        let (id, fence, said) = word;
        let signals = self.lock().get(id).filter(|hold| hold.fence == *fence).map(|hold| hold.signals.clone());
        let Some(signals) = signals else { return };
        match (answer, said) {
            (None, Some(said)) => signals.told.unsent(said.clone()),
            (Some(_), Some(_)) => signals.told.sent(),
            _ => {}
        }
        if let Some(answer) = answer {
            signals.hear(answer);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Hold {
    fn word(&self, id: JobId) -> Word {
        (id, self.fence, self.signals.told.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue_storage::model::Progress;

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
        assert!(first.lost.is_cancelled() && first.over.is_cancelled() && !second.over.is_cancelled());
        held.answered(&(id, Fence(1), None), Some(Renewed::Lost));
        assert!(!second.lost.is_cancelled());
        held.answered(&(id, Fence(2), None), Some(Renewed::Lost));
        assert!(second.lost.is_cancelled() && second.over.is_cancelled() && !second.asked.is_cancelled());
    }

    #[test]
    fn a_run_that_is_asked_to_stop_keeps_its_lease() {
        let held = Held::default();
        let shard = Shard::of("q".parse().unwrap());
        let id = JobId::new(&shard);
        let signals = held.insert(id, shard.clone(), Fence(1));
        held.answered(&(id, Fence(1), None), Some(Renewed::Held));
        assert!(!signals.over.is_cancelled());
        held.answered(&(id, Fence(1), None), Some(Renewed::Stop));
        assert!(signals.asked.is_cancelled() && signals.over.is_cancelled() && !signals.lost.is_cancelled());
        assert_eq!(held.in_shard(&shard), [(id, Fence(1), None)]);
    }

    #[test]
    fn words_are_told_beside_the_rounds_and_cost_none_of_them() {
        let held = Held::default();
        let shard = Shard::of("q".parse().unwrap());
        let (loud, quiet) = (JobId::new(&shard), JobId::new(&shard));
        let signals = held.insert(loud, shard.clone(), Fence(1));
        held.insert(quiet, shard.clone(), Fence(1));
        held.expect_end(loud, Fence(1), 1);
        let half = Said { task: "t".parse().unwrap(), progress: Progress::new(1, 2, "") };
        signals.told.say(half.clone());
        for _ in 0..3 {
            let word = (loud, Fence(1), Some(half.clone()));
            assert_eq!(held.to_tell(), HashMap::from([(shard.clone(), vec![word.clone()])]));
            held.answered(&word, None);
        }
        assert_eq!(
            (held.in_shard(&shard).len(), held.to_renew()[&shard].len(), held.to_renew()[&shard].len()),
            (2, 2, 1)
        );
    }
}
