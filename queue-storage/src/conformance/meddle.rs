//! What people do in the [random lives](super::random): calling off, deleting, reviving, editing, pausing, revoking.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::random::Play;
use super::stage::{key, pace, secs, tag, task};
use crate::model::{Job, JobId, Node, State, When};
use crate::storage::{Act, Acted, Control, Controls, Edit, Exchanged, Pause, Revocation, Scope};

/// What people did since the last check.
#[derive(Default)]
pub(super) struct Done {
    /// Jobs that may have changed in ways that no worker changes them.
    pub(super) touched: BTreeSet<JobId>,
    /// Jobs that may be gone.
    pub(super) deleted: BTreeSet<JobId>,
}

impl Play<'_> {
    /// Does something to some jobs, one of them perhaps twice or unknown.
    pub(super) async fn act(&mut self) {
        let count = self.random.usize(..4);
        let mut ids = self.random.choose_multiple(self.jobs.keys().copied(), count);
        if self.random.u8(..4) == 0 {
            ids.push(JobId::new(self.stage.shard()));
        }
        let act = self.any_act();
        let answer = self.stage.act_on(&ids, &act).await;
        assert_eq!(answer.len(), ids.len());
        for (id, acted) in ids.iter().zip(&answer) {
            self.check_acted(*id, &act, *acted, ids.len() == 1);
        }
    }

    fn any_act(&mut self) -> Act {
        let keep = secs(self.random.u64(..300));
        match self.random.u32(..11) {
            0..3 => Act::Cancel { keep },
            3..5 => Act::Delete,
            5..7 => Act::Revive(self.any_edit()),
            7 => Act::Rearm,
            _ => Act::Edit(self.any_edit()),
        }
    }

    fn any_edit(&mut self) -> Edit {
        let mut edit = Edit::new();
        if self.random.bool() {
            let delay = secs(self.random.u64(..100));
            edit = edit.when(if self.random.bool() { When::Now } else { When::In(delay) });
        }
        if self.random.bool() {
            edit = edit.priority(self.random.i32(-1..=1));
        }
        if self.random.bool() { edit.envelope(Bytes::from_static(b"edited")) } else { edit }
    }

    /// Whether the answer fits the job as it was; one that was alone in its call was not touched by others.
    fn check_acted(&mut self, id: JobId, act: &Act, acted: Acted, alone: bool) {
        let before = self.jobs.get(&id).map(|job| job.state);
        let node = self.jobs.get(&id).map_or(Node::Task, |job| job.node.clone());
        let is_relay = matches!(node, Node::Relay { .. });
        let allowed = match (before, act) {
            (None, _) => acted == Acted::Missing,
            (Some(state), Act::Revive(_) | Act::Edit(_)) if !node.is_task() => acted == Acted::Refused(state),
            (Some(state), Act::Cancel { .. } | Act::Delete) if is_relay && !state.is_end() => {
                acted == Acted::Refused(state)
            }
            (Some(State::Running), Act::Cancel { .. }) => acted == Acted::Asked,
            (Some(State::Running), _) => acted == Acted::Refused(State::Running),
            (Some(state), Act::Cancel { .. }) if state.is_end() => acted == Acted::Refused(state),
            (Some(state), Act::Delete) if state.is_end() => acted == Acted::Done(state),
            (Some(_), Act::Cancel { .. } | Act::Delete) => acted == Acted::Done(State::Cancelled),
            (Some(state), Act::Revive(_)) => {
                acted == Acted::Refused(state) || (state.is_end() && matches!(acted, Acted::Done(_)))
            }
            (Some(state), Act::Edit(_)) if state.is_end() => acted == Acted::Refused(state),
            (Some(_), Act::Edit(_)) => matches!(acted, Acted::Done(_)),
            (Some(state), Act::Rearm) => {
                let fits = self.jobs.get(&id).is_some_and(Job::may_wait_again);
                acted == Acted::Refused(state) || (fits && matches!(acted, Acted::Done(_)))
            }
        };
        assert!(allowed || !alone, "{act:?} of a job that was {before:?} was answered {acted:?}");
        if matches!(acted, Acted::Done(_) | Acted::Asked) {
            self.done.touched.insert(id);
        }
        if matches!(act, Act::Delete) {
            self.done.deleted.insert(id);
        }
        self.acknowledged += u64::from(matches!((act, acted), (Act::Revive(_) | Act::Rearm, Acted::Done(_))));
    }

    /// Says something of the shard, or takes it back.
    pub(super) async fn say(&mut self) {
        let now = self.stage.now().await;
        let worker = self.actors[self.random.usize(..self.actors.len())].worker.id();
        let until = self.random.bool().then(|| now + secs(self.random.u64(..200)));
        let scope = match self.random.u32(..4) {
            0 => Scope::Queue,
            1 => Scope::Worker(worker),
            _ => Scope::Task(task(["t", "u"][self.random.usize(..2)])),
        };
        let job = self.random.choice(self.jobs.keys().copied());
        let one = [
            Revocation { job, ..Revocation::default() },
            Revocation { tag: Some(tag("x")), ..Revocation::default() },
            Revocation { key: Some(key("k0")), ..Revocation::default() },
            Revocation { task: Some(task("u")), next_only: true, ..Revocation::default() },
        ];
        let one = Revocation { until, ..one[self.random.usize(..4)].clone() };
        let count = self.random.bool().then(|| self.random.u32(1..9));
        let change = match self.random.u32(..13) {
            0..2 => Control::Pause(scope, until),
            2..7 => Control::Resume(scope),
            7..8 => Control::Revoke(one),
            8..10 => Control::Restore(one),
            10 => Control::Slots(count),
            _ => Control::Rate(count.map(|burst| pace(secs(1), burst))),
        };
        let before = self.stage.controls().await;
        let changed = self.stage.control(change.clone()).await;
        let after = self.stage.controls().await;
        assert!(changed == (before != after), "{change:?} of {before:?} led to {after:?}");
    }

    /// Ends every pause.
    pub(super) async fn resume_all(&self) {
        let Controls { queue, tasks, workers, .. } = self.stage.controls().await;
        let scopes = queue.map(|_| Scope::Queue).into_iter();
        let scopes = scopes.chain(tasks.into_keys().map(Scope::Task)).chain(workers.into_keys().map(Scope::Worker));
        for scope in scopes {
            self.stage.control(Control::Resume(scope)).await;
        }
    }

    /// Nothing was claimed that is said not to be, as far as that holds for ever.
    pub(super) fn check_controls(&self, said: &Controls, worker: crate::model::WorkerId, answer: &Exchanged) {
        let for_ever = |pause: &Pause| pause.until.is_none();
        let stopped = said.queue.iter().chain(said.workers.get(&worker)).any(for_ever);
        assert!(!stopped || answer.claimed.is_empty(), "{said:?}, but {answer:?}");
        for run in &answer.claimed {
            assert!(!said.tasks.get(&run.job.task).is_some_and(for_ever), "{said:?}, but {run:?}");
            let lasting = said.revocations.iter().filter(|one| one.until.is_none() && !one.next_only);
            let now = run.job.started_at.expect("it has started");
            assert_eq!(lasting.filter(|one| one.fits(&run.job, now)).count(), 0, "{said:?}, but {run:?}");
        }
        assert!(answer.look_again.is_none_or(|again| again < Duration::from_secs(1_000_000)), "{answer:?}");
    }
}
