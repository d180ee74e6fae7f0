//! Every setting of a worker, defaulted and checked here.

use std::sync::Arc;
use std::time::Duration;

use queue_storage::storage::{LeaseTerms, Retention};

use crate::middleware::Chain;
use crate::redact::Redact;

/// Settings of a worker.
#[derive(Clone, Debug)]
pub(crate) struct WorkerConfig {
    /// The version of the program.
    pub(crate) version: Option<Arc<str>>,
    /// What each run passes.
    pub(crate) middleware: Chain,
    /// How arguments are logged, if they are.
    pub(crate) log_arguments: Option<Redact>,
    /// Jobs in flight at once.
    pub(crate) concurrency: u32,
    /// How long a claim lasts, and what becomes of jobs that lose theirs.
    pub(crate) lease: LeaseTerms,
    /// How long jobs may go on after the worker was asked to stop.
    pub(crate) grace: Duration,
    /// How long a run may go on after its job was cancelled.
    pub(crate) cancel_grace: Duration,
    /// The longest an idle worker goes without looking.
    pub(crate) poll_every: Duration,
    /// How often ended jobs are pruned.
    pub(crate) prune_every: Duration,
    /// Results above this many bytes are not stored.
    pub(crate) result_limit: usize,
    /// What is kept of ended jobs.
    pub(crate) retention: Retention,
    /// How long a completed job is kept: with a result, and without.
    pub(crate) keep_result: Duration,
    pub(crate) keep_trace: Duration,
    /// How long the end of a stop may take: threads that can't be stopped, and a storage that does not answer.
    pub(crate) last_words: Duration,
    /// How often runs that say how far they got are heard at most.
    pub(crate) tell_every: Duration,
    /// How long the settlement of a run waits for its last word to be heard.
    pub(crate) last_word: Duration,
    /// Whether it carries out ticks, and stores the schedules of its code.
    pub(crate) periodic: bool,
    /// How long others have for a schedule that it can't read, before it puts it off; and for how long it does.
    pub(crate) leave_after: Duration,
    pub(crate) tick_again: Duration,
    /// How often it looks for workers that are lost, while anyone wants to know.
    pub(crate) look_for_lost_every: Duration,
    /// How often a worker that is to stop when there is nothing left looks whether that is so.
    pub(crate) drain_look_every: Duration,
}

/// The shortest lease that renewals can keep up with.
const MIN_LEASE: Duration = Duration::from_millis(100);

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            version: None,
            middleware: Chain::default(),
            log_arguments: None,
            concurrency: default_concurrency(),
            lease: LeaseTerms::default(),
            grace: Duration::from_secs(25),
            cancel_grace: Duration::from_secs(5),
            poll_every: Duration::from_secs(10),
            prune_every: Duration::from_secs(15),
            result_limit: 1024 * 1024,
            retention: Retention::default(),
            keep_result: Duration::from_secs(3_600),
            keep_trace: Duration::from_secs(60),
            last_words: Duration::from_secs(5),
            tell_every: Duration::from_millis(100),
            last_word: Duration::from_secs(1),
            periodic: true,
            leave_after: Duration::from_secs(5),
            tick_again: Duration::from_secs(30),
            look_for_lost_every: Duration::from_secs(10),
            drain_look_every: Duration::from_millis(500),
        }
    }
}

/// Ten jobs for each core: most tasks wait for something.
fn default_concurrency() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX).saturating_mul(10)
}

impl WorkerConfig {
    /// What is wrong with it, for people; empty when nothing is.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.concurrency == 0 {
            problems.push("`concurrency` is 0: the worker could run nothing; give it at least 1".to_owned());
        }
        if self.lease.length < MIN_LEASE {
            let given = self.lease.length;
            problems.push(format!("`lease` is {given:?}: renewals can't keep up below {MIN_LEASE:?}"));
        }
        if self.poll_every.is_zero() {
            problems.push("`poll_every` is 0: an idle worker would ask the storage without a rest".to_owned());
        }
        if self.lease.crash_limit == Some(0) {
            problems.push("`crash_limit` is 0: use `None` to turn it off, or at least 1".to_owned());
        }
        problems
    }
}
