//! Unique jobs, brought as far in their lives as a case wants them, and others that come.

use super::stage::{DAY, HOUR, Stage, died, retry_in, returned, secs, snooze_in, task};
use crate::model::{Conflict, JobId, NewJob, Settlement, State, When, Window};
use crate::storage::{Act, Acted, Admission, Retention};

pub(super) const WINDOWS: [Window; 4] = [Window::Started, Window::Finished, Window::For(HOUR), Window::Forever];
pub(super) const CONFLICTS: [Conflict; 4] =
    [Conflict::Existing, Conflict::Reject, Conflict::Replace, Conflict::Debounce];

/// How far the life of a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Waiting,
    Scheduled,
    Ready,
    Parked,
    Running,
    Retrying,
    Snoozed,
    Released,
    Crashed,
    Completed,
    Dead,
    Cancelled,
    Expired,
    Pruned,
}

impl Phase {
    pub(super) const ALL: [Self; 14] = [
        Self::Waiting,
        Self::Scheduled,
        Self::Ready,
        Self::Parked,
        Self::Running,
        Self::Retrying,
        Self::Snoozed,
        Self::Released,
        Self::Crashed,
        Self::Completed,
        Self::Dead,
        Self::Cancelled,
        Self::Expired,
        Self::Pruned,
    ];

    pub(super) const fn state(self) -> Option<State> {
        Some(match self {
            Self::Waiting => State::Waiting,
            Self::Scheduled | Self::Snoozed => State::Scheduled,
            Self::Ready | Self::Parked | Self::Released | Self::Crashed => State::Ready,
            Self::Running => State::Running,
            Self::Retrying => State::Retrying,
            Self::Completed => State::Completed,
            Self::Dead => State::Dead,
            Self::Cancelled => State::Cancelled,
            Self::Expired => State::Expired,
            Self::Pruned => return None,
        })
    }

    /// Whether a job of this window that has come so far keeps others out.
    pub(super) const fn is_in(self, window: Window) -> bool {
        match window {
            Window::Started => (self as u8) < (Self::Running as u8),
            Window::Finished => (self as u8) < (Self::Completed as u8),
            Window::For(_) | Window::Forever => true,
        }
    }

    /// Takes a unique job in and brings it so far, within a few minutes.
    pub(super) async fn bring(self, stage: &Stage, job: NewJob) -> JobId {
        let mut worker = stage.worker().await;
        let before = NewJob { priority: 9, ..stage.job() };
        let id = job.id;
        let job = match self {
            Self::Waiting => {
                stage.enqueue([before.clone()]).await;
                NewJob { waits_for: vec![before.id], ..job }
            }
            Self::Scheduled => NewJob { when: When::In(DAY), ..job },
            Self::Parked => NewJob { task: task("strange"), ..job },
            Self::Expired => NewJob { expires: Some(When::Now), ..job },
            _ => job,
        };
        assert!(matches!(stage.caller().enqueue_one(job).await, Admission::Added(_)));
        match self {
            Self::Waiting | Self::Scheduled | Self::Ready => {}
            Self::Parked => assert_eq!(worker.claim(9).await, []),
            Self::Running => drop(worker.receive_one().await),
            Self::Retrying => drop(worker.run_one(retry_in(DAY)).await),
            Self::Snoozed => drop(worker.run_one(snooze_in(DAY)).await),
            Self::Released => drop(worker.run_one(Settlement::Release).await),
            Self::Crashed => {
                worker.receive_one().await;
                stage.run_out(&mut stage.worker_of(&[]).await).await;
            }
            Self::Completed => drop(worker.run_one(returned(b"kept", DAY)).await),
            Self::Dead => drop(worker.run_one(died()).await),
            Self::Cancelled => drop(stage.cancel(id).await),
            Self::Expired => drop(worker.upkeep().await),
            Self::Pruned => {
                worker.run_one(returned(b"", secs(0))).await;
                stage.prune(Retention::default()).await;
            }
        }
        let found = stage.storage().get(id).await.unwrap().found();
        assert_eq!(found.map(|job| job.state), self.state(), "{self:?}");
        id
    }
}

/// A call of a new client with one job that is the only one of the key.
pub(super) async fn come(stage: &Stage, window: Window, conflict: Conflict) -> Admission {
    stage.caller().enqueue_one(stage.job_unique(window, conflict)).await
}

/// Whether the key is free: a comer is taken in. It is deleted at once.
pub(super) async fn is_free(stage: &Stage) -> bool {
    let comer = stage.job_unique(Window::Finished, Conflict::Reject);
    let id = comer.id;
    match stage.caller().enqueue_one(comer).await {
        Admission::Added(_) => {
            assert_eq!(stage.usage("u").await.unique, Some(id));
            assert!(matches!(stage.act(id, &Act::Delete).await, Acted::Done(_)));
            true
        }
        Admission::Rejected(..) => false,
        other => panic!("{other:?}"),
    }
}
