//! The life of a job: its states and the one table of legal moves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// For other jobs to end.
    Waiting,
    /// For a time.
    Scheduled,
    /// For a worker.
    Ready,
    /// Leased to a worker.
    Running,
    /// A failed attempt, for the time of its next.
    Retrying,
    /// Ended: its task succeeded.
    Completed,
    /// Ended: someone called it off.
    Cancelled,
    /// Ended: it was not started in time.
    Expired,
    /// Ended: it failed for good and is kept as a dead letter.
    Dead,
}

impl State {
    /// Every state, live ones first, in the order of a job's life.
    pub const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Scheduled,
        Self::Ready,
        Self::Running,
        Self::Retrying,
        Self::Completed,
        Self::Cancelled,
        Self::Expired,
        Self::Dead,
    ];

    /// Whether the job has ended; an ended job moves no more unless someone runs it again, or lets it wait again.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Expired | Self::Dead)
    }

    /// The name stored and shown: `ready`, `running`, …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Scheduled => "scheduled",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a state; the states are waiting, scheduled, ready, running, retrying, completed, cancelled, expired, dead"
)]
pub struct StateError(String);

impl FromStr for State {
    type Err = StateError;
    fn from_str(text: &str) -> Result<Self, StateError> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| StateError(text.to_owned()))
    }
}

/// What can happen to a stored job. Being enqueued is not a move: it is where a life begins (in [`State::Waiting`],
/// [`State::Scheduled`] or [`State::Ready`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Move {
    /// What it waited for has come: a task's job may start, a gather has completed, a relay stands in the outbox.
    Reach,
    /// Its time has come.
    Promote,
    /// A worker takes it.
    Claim,
    /// Its task succeeded.
    Complete,
    /// Its task failed and is to run again.
    Retry,
    /// Its task asked to run later, without having failed.
    Snooze,
    /// Its worker gives it back unharmed.
    Release,
    /// Its lease ended without an answer.
    Reclaim,
    /// It failed for good; or nobody knew its task for too long.
    Die,
    /// It was called off. A job that runs is marked first and keeps its lease; it moves when its run has ended.
    Cancel,
    /// Its time to start has passed.
    Expire,
    /// Someone runs an ended job again.
    Revive,
    /// Someone changes when it is to start; it may stay where it is.
    Reschedule,
    /// What happened elsewhere has been delivered: to a hold, or by a relay.
    Deliver,
    /// Someone lets an ended job wait again for those it waited for.
    Rearm,
    /// What it was to tell of runs again: a relay leaves the outbox and waits for that.
    Recall,
}

impl Move {
    /// Every move.
    pub const ALL: [Self; 16] = [
        Self::Reach,
        Self::Promote,
        Self::Claim,
        Self::Complete,
        Self::Retry,
        Self::Snooze,
        Self::Release,
        Self::Reclaim,
        Self::Die,
        Self::Cancel,
        Self::Expire,
        Self::Revive,
        Self::Reschedule,
        Self::Deliver,
        Self::Rearm,
        Self::Recall,
    ];

    /// The row of the table: the states it may start from, and the states it may end in.
    ///
    /// This is the one table of legal moves; every storage goes through it.
    #[must_use]
    pub const fn row(self) -> (&'static [State], &'static [State]) {
        use State::{Cancelled, Completed, Dead, Expired, Ready, Retrying, Running, Scheduled, Waiting};
        match self {
            Self::Reach => (&[Waiting], &[Ready, Scheduled, Completed]),
            Self::Promote => (&[Scheduled, Retrying], &[Ready]),
            Self::Claim => (&[Ready], &[Running]),
            Self::Complete => (&[Running], &[Completed]),
            Self::Retry => (&[Running], &[Retrying]),
            Self::Snooze => (&[Running], &[Scheduled]),
            Self::Release => (&[Running], &[Ready]),
            Self::Reclaim => (&[Running], &[Ready, Dead, Cancelled]),
            Self::Die => (&[Running, Ready], &[Dead]),
            Self::Cancel => (&[Waiting, Scheduled, Ready, Running, Retrying], &[Cancelled]),
            Self::Expire => (&[Waiting, Scheduled, Ready, Retrying], &[Expired]),
            Self::Revive => (&[Completed, Cancelled, Expired, Dead], &[Ready, Scheduled]),
            Self::Reschedule => (&[Waiting, Scheduled, Ready, Retrying], &[Waiting, Scheduled, Ready, Retrying]),
            Self::Deliver => (&[Waiting, Ready], &[Completed, Cancelled]),
            Self::Rearm => (&[Completed, Cancelled, Expired, Dead], &[Waiting]),
            Self::Recall => (&[Ready], &[Waiting]),
        }
    }

    /// Whether a job may go from `from` to `to` by this move.
    #[must_use]
    pub fn allows(self, from: State, to: State) -> bool {
        let (starts, ends) = self.row();
        starts.contains(&from) && ends.contains(&to)
    }

    /// Checks one move against the table.
    ///
    /// # Errors
    /// [`IllegalMove`] when the table does not hold it. A storage that meets this has a bug or a damaged record.
    pub fn check(self, from: State, to: State) -> Result<(), IllegalMove> {
        if self.allows(from, to) { Ok(()) } else { Err(IllegalMove { mv: self, from, to }) }
    }
}

/// A move that the table does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job can't go from {from} to {to} by {mv:?}")]
pub struct IllegalMove {
    mv: Move,
    from: State,
    to: State,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_left_only_by_whom_someone_sends() {
        for mv in Move::ALL {
            let (starts, ends) = mv.row();
            assert_eq!(starts.iter().any(|s| s.is_end()), matches!(mv, Move::Revive | Move::Rearm), "{mv:?}");
            assert!(!starts.is_empty() && !ends.is_empty());
        }
    }

    #[test]
    fn every_state_can_be_entered_and_left() {
        for state in State::ALL {
            let left = Move::ALL.iter().any(|m| m.row().0.contains(&state));
            let entered = state == State::Waiting || Move::ALL.iter().any(|m| m.row().1.contains(&state));
            assert!(left && entered, "{state}");
        }
    }

    #[test]
    fn only_running_settles_and_only_ready_is_claimed() {
        for from in State::ALL {
            assert_eq!(Move::Claim.allows(from, State::Running), from == State::Ready);
            for mv in [Move::Complete, Move::Retry, Move::Snooze, Move::Release, Move::Reclaim] {
                let legal = mv.row().1.iter().any(|&to| mv.allows(from, to));
                assert_eq!(legal, from == State::Running, "{mv:?} from {from}");
            }
        }
    }

    #[test]
    fn names_survive_text() {
        for state in State::ALL {
            assert_eq!(state.to_string().parse::<State>().unwrap(), state);
        }
        assert!("gone".parse::<State>().is_err());
    }
}
