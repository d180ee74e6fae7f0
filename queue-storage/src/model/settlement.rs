//! What must become true of a job after a run: decided here, written by a storage.

use std::time::Duration;

use bytes::Bytes;

use super::id::{Fence, JobId};
use super::job::{EndReason, Failure};
use super::outcome::{Outcome, Verdict};
use super::retry::RetryPolicy;
use super::state::{Move, State};
use super::time::When;

/// What must become true of a running job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Settlement {
    /// It is completed, with what it returned, kept that long.
    Complete {
        /// What the task returned; `None` for nothing.
        result: Option<Bytes>,
        /// How long the ended job is kept; its result longer, while a waiting job needs it.
        keep: Duration,
    },
    /// It is retrying, due then.
    Retry {
        /// When it is due.
        when: When,
        /// What went wrong.
        failure: Failure,
    },
    /// It is scheduled, due then.
    Snooze {
        /// When it is due.
        when: When,
    },
    /// It is ready, in its old place.
    Release,
    /// It is dead.
    Die {
        /// Why.
        reason: EndReason,
        /// What went wrong.
        failure: Failure,
        /// How long the dead letter is kept.
        keep: Duration,
    },
}

impl Settlement {
    /// The move this is, and where it leads.
    #[must_use]
    pub const fn target(&self) -> (Move, State) {
        match self {
            Self::Complete { .. } => (Move::Complete, State::Completed),
            Self::Retry { .. } => (Move::Retry, State::Retrying),
            Self::Snooze { .. } => (Move::Snooze, State::Scheduled),
            Self::Release => (Move::Release, State::Ready),
            Self::Die { .. } => (Move::Die, State::Dead),
        }
    }
}

/// A settlement with the claim that allows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The job.
    pub job: JobId,
    /// The lease under which it ran.
    pub fence: Fence,
    /// What [`Job::attempts`](super::Job::attempts) is now: a value and not an increment, so that writing it twice is
    /// writing it once.
    pub attempts: u32,
    /// What must become true.
    pub settlement: Settlement,
}

/// What [`decide`] needs to know of a run beside its outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Answered runs before this one.
    pub attempts: u32,
    /// How often the job runs again after failures.
    pub policy: RetryPolicy,
    /// How long a completed job is kept.
    pub keep_completed: Duration,
    /// How long a dead letter is kept.
    pub keep_dead: Duration,
    /// The draw for the jitter, in `[0, 1)`.
    pub random: f64,
}

/// Decides what follows from an outcome: the new count of attempts and the settlement. Pure: no clock, no chance but
/// the one handed in.
#[must_use]
pub fn decide(outcome: Outcome, run: &Run) -> (u32, Settlement) {
    let answered = run.attempts.saturating_add(1);
    let die = |reason, failure| Settlement::Die { reason, failure, keep: run.keep_dead };
    match outcome {
        Outcome::Succeeded(result) => (answered, Settlement::Complete { result, keep: run.keep_completed }),
        Outcome::Failed { failure, verdict } => (answered, after_failure(failure, verdict, answered, run)),
        Outcome::Unstorable(failure) => (answered, die(EndReason::Unstorable, failure)),
        Outcome::Undecodable(failure) => (run.attempts, die(EndReason::Undecodable, failure)),
        Outcome::Snoozed(delay) => (run.attempts, Settlement::Snooze { when: When::In(delay) }),
        Outcome::Released => (run.attempts, Settlement::Release),
    }
}

fn after_failure(failure: Failure, verdict: Verdict, answered: u32, run: &Run) -> Settlement {
    let die = |reason, failure| Settlement::Die { reason, failure, keep: run.keep_dead };
    match (verdict, run.policy.delay_after(answered, run.random)) {
        (Verdict::Fatal, _) => die(EndReason::Fatal, failure),
        (_, None) => die(EndReason::Exhausted, failure),
        (Verdict::RetryAt(when), Some(_)) => Settlement::Retry { when, failure },
        (Verdict::Policy, Some(delay)) => Settlement::Retry { when: When::In(delay), failure },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::FailureKind;
    use crate::model::retry::{Backoff, Jitter};

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);

    fn run(attempts: u32, retries: u32) -> Run {
        let policy = RetryPolicy { retries, backoff: Backoff::fixed(MINUTE), jitter: Jitter::None };
        Run { attempts, policy, keep_completed: MINUTE, keep_dead: DAY, random: 0.5 }
    }

    fn failed(verdict: Verdict) -> Outcome {
        Outcome::Failed { failure: boom(), verdict }
    }

    fn boom() -> Failure {
        Failure::new(FailureKind::Error, "boom")
    }

    #[test]
    fn the_table_of_decisions() {
        let retry = |when| Settlement::Retry { when, failure: boom() };
        let die = |reason| Settlement::Die { reason, failure: boom(), keep: DAY };
        let hour = When::In(Duration::from_secs(3_600));
        let result = Some(Bytes::from_static(b"\x07"));
        let cases = [
            (Outcome::Succeeded(result.clone()), run(0, 0), 1, Settlement::Complete { result, keep: MINUTE }),
            (failed(Verdict::Policy), run(0, 0), 1, die(EndReason::Exhausted)),
            (failed(Verdict::Policy), run(0, 1), 1, retry(When::In(MINUTE))),
            (failed(Verdict::Policy), run(1, 1), 2, die(EndReason::Exhausted)),
            (failed(Verdict::RetryAt(hour)), run(0, 1), 1, retry(hour)),
            (failed(Verdict::RetryAt(hour)), run(1, 1), 2, die(EndReason::Exhausted)),
            (failed(Verdict::Fatal), run(0, 9), 1, die(EndReason::Fatal)),
            (Outcome::Undecodable(boom()), run(2, 9), 2, die(EndReason::Undecodable)),
            (Outcome::Unstorable(boom()), run(2, 9), 3, die(EndReason::Unstorable)),
            (Outcome::Snoozed(MINUTE), run(2, 9), 2, Settlement::Snooze { when: When::In(MINUTE) }),
            (Outcome::Released, run(2, 9), 2, Settlement::Release),
        ];
        for (outcome, run, attempts, settlement) in cases {
            assert_eq!(decide(outcome.clone(), &run), (attempts, settlement), "{outcome:?}");
        }
    }

    #[test]
    fn an_always_failing_job_runs_retries_plus_one_times() {
        for retries in [0, 1, 3, 10] {
            let mut runs = 0;
            loop {
                let (attempts, settlement) = decide(failed(Verdict::Policy), &run(runs, retries));
                runs = attempts;
                if matches!(settlement, Settlement::Die { .. }) {
                    break;
                }
            }
            assert_eq!(runs, retries + 1);
        }
    }

    #[test]
    fn every_settlement_is_a_legal_move_from_running() {
        for outcome in [Outcome::Released, Outcome::Succeeded(None), failed(Verdict::Policy), failed(Verdict::Fatal)] {
            let (mv, to) = decide(outcome, &run(0, 1)).1.target();
            mv.check(State::Running, to).unwrap();
        }
    }
}
