//! What must become true of a job after a run: decided here, written by a storage.

use std::time::Duration;

use bytes::Bytes;

use super::id::{Fence, JobId};
use super::job::{EndReason, Failure};
use super::outcome::{Outcome, Verdict};
use super::retry::RetryPolicy;
use super::state::{Move, State};
use super::time::{Timestamp, When};

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
        /// How long the rates it is under admit nothing, for anyone; `None` for no such hold.
        hold: Option<Duration>,
    },
    /// It is ready, in its old place.
    Release,
    /// It is cancelled.
    Cancel {
        /// Why.
        reason: EndReason,
        /// What its task said to it, if anything.
        failure: Option<Failure>,
        /// How long the ended job is kept.
        keep: Duration,
    },
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
            Self::Cancel { .. } => (Move::Cancel, State::Cancelled),
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
    /// The moment at which the run ended, by the storage's clock as far as the worker can tell.
    pub now: Timestamp,
    /// No retry is due later than this: what is left of the time for retries.
    pub retry_until: Option<Timestamp>,
    /// [`Job::deadline_at`](super::Job::deadline_at): no run starts any more at it or past it.
    pub deadline_at: Option<Timestamp>,
    /// How long a completed job is kept.
    pub keep_completed: Duration,
    /// How long a dead letter is kept.
    pub keep_dead: Duration,
    /// How long a job is kept that its task has called off.
    pub keep_cancelled: Duration,
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
        Outcome::Failed { verdict: Verdict::Snooze(delay), .. } => {
            (run.attempts, Settlement::Snooze { when: When::In(delay), hold: None })
        }
        Outcome::Failed { verdict: Verdict::RateLimited(after), .. } => {
            (run.attempts, Settlement::Snooze { when: When::In(after), hold: Some(after) })
        }
        Outcome::Failed { failure, verdict } => (answered, after_failure(failure, verdict, answered, run)),
        Outcome::Overdue(failure) => (answered, die(EndReason::Deadline, failure)),
        Outcome::Unstorable(failure) => (answered, die(EndReason::Unstorable, failure)),
        Outcome::Undecodable(failure) => (run.attempts, die(EndReason::Undecodable, failure)),
        Outcome::Released => (run.attempts, Settlement::Release),
    }
}

fn after_failure(failure: Failure, verdict: Verdict, answered: u32, run: &Run) -> Settlement {
    let die = |reason, failure| Settlement::Die { reason, failure, keep: run.keep_dead };
    match (verdict, run.policy.delay_after(answered, run.random)) {
        (Verdict::Fatal, _) => die(EndReason::Fatal, failure),
        (Verdict::Cancel, _) => {
            let (reason, failure) = (EndReason::CalledOff, Some(failure));
            Settlement::Cancel { reason, failure, keep: run.keep_cancelled }
        }
        (_, None) => die(EndReason::Exhausted, failure),
        (Verdict::RetryAt(when), Some(_)) => retry(when, failure, run),
        (_, Some(delay)) => retry(When::In(delay), failure, run),
    }
}

/// A retry, unless it would come too late.
fn retry(when: When, failure: Failure, run: &Run) -> Settlement {
    let due = when.resolve(run.now).max(run.now);
    let late = if run.deadline_at.is_some_and(|deadline| due >= deadline) {
        Some(EndReason::Deadline)
    } else {
        run.retry_until.filter(|last| due > *last).map(|_| EndReason::Exhausted)
    };
    if let Some(reason) = late {
        return Settlement::Die { reason, failure, keep: run.keep_dead };
    }
    Settlement::Retry { when, failure }
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
        let now = Timestamp::from_micros(1_000_000);
        let (retry_until, deadline_at, keep_cancelled) = (None, None, Duration::from_secs(3_600));
        let (keep_completed, keep_dead, random) = (MINUTE, DAY, 0.5);
        Run { attempts, policy, now, retry_until, deadline_at, keep_completed, keep_dead, keep_cancelled, random }
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
        let called_off = || {
            let (reason, failure) = (EndReason::CalledOff, Some(boom()));
            Settlement::Cancel { reason, failure, keep: Duration::from_secs(3_600) }
        };
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
            (failed(Verdict::Snooze(MINUTE)), run(0, 0), 0, Settlement::Snooze { when: When::In(MINUTE), hold: None }),
            (failed(Verdict::Snooze(MINUTE)), run(2, 9), 2, Settlement::Snooze { when: When::In(MINUTE), hold: None }),
            (
                failed(Verdict::RateLimited(MINUTE)),
                run(2, 9),
                2,
                Settlement::Snooze { when: When::In(MINUTE), hold: Some(MINUTE) },
            ),
            (Outcome::Overdue(boom()), run(0, 9), 1, die(EndReason::Deadline)),
            (failed(Verdict::Cancel), run(0, 9), 1, called_off()),
            (failed(Verdict::Cancel), run(2, 0), 3, called_off()),
            (Outcome::Released, run(2, 9), 2, Settlement::Release),
        ];
        for (outcome, run, attempts, settlement) in cases {
            assert_eq!(decide(outcome.clone(), &run), (attempts, settlement), "{outcome:?}");
        }
    }

    /// The time for retries ends in just so long.
    fn run_until(retries: u32, left: Duration) -> Run {
        let run = run(0, retries);
        Run { retry_until: Some(run.now + left), ..run }
    }

    #[test]
    fn no_retry_is_due_after_the_time_for_retries() {
        let short = MINUTE - Duration::from_micros(1);
        let at = |delay| Verdict::RetryAt(When::At(run(0, 0).now + delay));
        // (verdict, time left, whether it is retried)
        let cases = [
            (Verdict::Policy, MINUTE, true),
            (Verdict::Policy, short, false),
            (Verdict::retry_in(short), short, true),
            (Verdict::retry_in(MINUTE), short, false),
            (at(short), short, true),
            (at(MINUTE), short, false),
            (Verdict::RetryAt(When::Now), Duration::ZERO, true),
            // A moment that has passed means now.
            (Verdict::RetryAt(When::At(Timestamp::EPOCH)), Duration::ZERO, true),
        ];
        for (verdict, left, retried) in cases {
            let (attempts, settlement) = decide(failed(verdict), &run_until(9, left));
            let expected = if retried { Move::Retry } else { Move::Die };
            assert_eq!((attempts, settlement.target().0), (1, expected), "{verdict:?} with {left:?} left");
            if let Settlement::Die { reason, .. } = settlement {
                assert_eq!(reason, EndReason::Exhausted);
            }
        }
        let over = Run { retry_until: Some(Timestamp::EPOCH), ..run(0, 9) };
        assert_eq!(decide(failed(Verdict::RetryAt(When::Now)), &over).1.target().0, Move::Die);
        assert_eq!(decide(failed(Verdict::Snooze(MINUTE)), &over).1.target().0, Move::Snooze);
    }

    #[test]
    fn no_retry_is_due_at_the_deadline_or_after_it() {
        let second = Duration::from_secs(1);
        let ends = |verdict, left, retry_until: Option<Duration>| {
            let run = run(0, 1);
            let (deadline_at, retry_until) = (Some(run.now + left), retry_until.map(|left| run.now + left));
            match decide(failed(verdict), &Run { deadline_at, retry_until, ..run }).1 {
                Settlement::Die { reason, .. } => Some(reason),
                Settlement::Cancel { reason, .. } => Some(reason),
                _ => None,
            }
        };
        assert_eq!(ends(Verdict::Policy, MINUTE + second, None), None);
        assert_eq!(ends(Verdict::Policy, MINUTE, None), Some(EndReason::Deadline));
        assert_eq!(ends(Verdict::retry_in(second), MINUTE, None), None);
        assert_eq!(ends(Verdict::retry_in(MINUTE), second, None), Some(EndReason::Deadline));
        // Too late for both: the deadline is what counts, being the job's own.
        assert_eq!(ends(Verdict::Policy, second, Some(second)), Some(EndReason::Deadline));
        assert_eq!(ends(Verdict::Policy, MINUTE + second, Some(second)), Some(EndReason::Exhausted));
        // Whatever does not retry is not asked.
        assert_eq!(ends(Verdict::Fatal, Duration::ZERO, None), Some(EndReason::Fatal));
        assert_eq!(ends(Verdict::Cancel, Duration::ZERO, None), Some(EndReason::CalledOff));
        assert_eq!(ends(Verdict::Snooze(MINUTE), second, None), None);
        let last = Run { deadline_at: Some(Timestamp::EPOCH), ..run(1, 1) };
        let (_, settlement) = decide(failed(Verdict::Policy), &last);
        assert!(matches!(settlement, Settlement::Die { reason: EndReason::Exhausted, .. }), "there was no retry left");
    }

    /// Every verdict under every policy: who decides, and that the policy is asked only where it has a say.
    #[test]
    fn every_verdict_under_every_policy() {
        let backoffs = [
            Backoff::fixed(MINUTE),
            Backoff::exponential(MINUTE),
            Backoff::linear(MINUTE, MINUTE),
            Backoff::list(&[MINUTE, DAY]),
        ];
        let hour = Duration::from_secs(3_600);
        for backoff in backoffs {
            let policy = RetryPolicy { retries: 2, backoff, jitter: Jitter::None };
            for attempts in 0..3 {
                let run = Run { policy, ..run(attempts, 0) };
                let left = attempts < 2;
                let ends = |verdict| decide(failed(verdict), &run);
                let retried = |when| match left {
                    true => Settlement::Retry { when, failure: boom() },
                    false => Settlement::Die { reason: EndReason::Exhausted, failure: boom(), keep: DAY },
                };
                let delay = When::In(backoff.delay(attempts + 1));
                assert_eq!(ends(Verdict::Policy), (attempts + 1, retried(delay)));
                assert_eq!(ends(Verdict::retry_in(hour)), (attempts + 1, retried(When::In(hour))));
                assert!(matches!(ends(Verdict::Fatal).1, Settlement::Die { reason: EndReason::Fatal, .. }));
                assert!(matches!(ends(Verdict::Cancel).1, Settlement::Cancel { reason: EndReason::CalledOff, .. }));
                assert_eq!(
                    ends(Verdict::Snooze(hour)),
                    (attempts, Settlement::Snooze { when: When::In(hour), hold: None })
                );
            }
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
        let verdicts = [Verdict::Policy, Verdict::Fatal, Verdict::Cancel, Verdict::Snooze(MINUTE)].map(failed);
        for outcome in
            [Outcome::Released, Outcome::Succeeded(None), Outcome::Overdue(boom())].into_iter().chain(verdicts)
        {
            let (mv, to) = decide(outcome, &run(0, 1)).1.target();
            mv.check(State::Running, to).unwrap();
        }
    }
}
