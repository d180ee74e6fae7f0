//! Flows in the [random lives](super::random): gathers, holds and relays, what is carried between them, and what is true
//! of them at every moment.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;

use super::random::Play;
use super::stage::{Stage, boom, secs, task};
use crate::model::{EndReason, Ending, Input, Job, JobId, NewJob, Node, Parked, State, Trigger, When};
use crate::storage::{MAX_UPKEEP, Parcel, Receipt};

/// Each trigger, the usual one most of the time.
pub(super) fn any_trigger(random: &mut Rng) -> Trigger {
    [Trigger::Completed, Trigger::Completed, Trigger::Ended, Trigger::Failed][random.usize(..4)]
}

/// Something that is delivered.
fn any_input(random: &mut Rng, stage: &Stage) -> Input {
    let mut ending = Ending::new(stage.job().id, task("t"), State::Dead);
    (ending.reason, ending.failure) = (Some(EndReason::Fatal), Some(boom()));
    [Input::Nothing, Input::Returned(Bytes::from_static(b"afar")), Input::Failed(Box::new(ending))][random.usize(..3)]
        .clone()
}

impl Play<'_> {
    /// What no worker runs: it takes part in what is stored.
    pub(super) fn any_node(&mut self, stored: Vec<JobId>) -> NewJob {
        let random = &mut self.random;
        let job = NewJob { priority: random.i32(-1..=1), ..self.stage.job() };
        let expires = (random.u8(..3) == 0).then(|| When::In(secs(random.u64(..300))));
        match random.u32(..3) {
            0 => {
                let count = random.usize(..5);
                let node = Node::Gather { keep: secs(random.u64(..300)) };
                let waits_for = random.choose_multiple(stored, count);
                NewJob { node, waits_for, expires, trigger: any_trigger(random), ..job }
            }
            1 if !stored.is_empty() => {
                let shard = self.stage.shard().clone();
                // Where it goes there may be a hold, or something else, or nothing.
                let holds = self.jobs.values().filter(|job| job.node == Node::Hold);
                let holds: Vec<_> = holds.map(|job| job.id).collect();
                let targets = if random.bool() { holds } else { stored.clone() };
                let to = random.choice(targets);
                let node = Node::Relay { shard, to: to.unwrap_or(job.id) };
                let waits_for = random.choose_multiple(stored, 1);
                NewJob { node, waits_for, trigger: Trigger::Ended, ..job }
            }
            _ => NewJob { node: Node::Hold, expires, ..job },
        }
    }

    /// Carries some of what stands in the outbox, and delivers other things; each call may be repeated, or the last left
    /// out, as if the carrier had vanished.
    pub(super) async fn carry(&mut self) {
        let (storage, shard) = (self.stage.storage().clone(), self.stage.shard().clone());
        let outbox = self.stage.outbox(&[]).await;
        let some: Vec<Parcel> = outbox.parcels.into_iter().filter(|_| self.random.bool()).collect();
        let mut deliveries: Vec<_> = some.iter().map(|one| (one.to, self.carried(&one.input))).collect();
        if self.random.u8(..3) == 0 {
            let to = self.random.choice(self.jobs.keys().copied()).unwrap_or_else(|| self.stage.job().id);
            deliveries.push((to, any_input(&mut self.random, self.stage)));
        }
        let answer = storage.deliver(&shard, &deliveries).await.unwrap();
        for (at, (id, input)) in deliveries.iter().enumerate() {
            let before = self.jobs.get(id).map(|job| (job.state, job.node == Node::Hold));
            let expected = match before {
                Some((State::Waiting, true)) => Some(delivered(input)),
                other => other.map(|(state, _)| state),
            };
            let is_first = deliveries[..at].iter().all(|(other, _)| other != id);
            assert!(!is_first || answer[at] == expected, "{input:?} for {before:?} was answered {:?}", answer[at]);
        }
        if self.random.bool() {
            let again = storage.deliver(&shard, &deliveries).await.unwrap();
            assert_eq!(again.len(), answer.len());
        }
        let sent: Vec<Receipt> = some.iter().map(Parcel::receipt).take(MAX_UPKEEP as usize).collect();
        self.say_late(&sent).await;
        if self.random.u8(..3) > 0 {
            let left = self.stage.receive(&sent).await;
            assert!(left.parcels.iter().all(|one| !sent.contains(&one.receipt())), "sent is sent");
        }
    }

    /// Says once more what somebody said long ago: that is of no one who stands there now at another place.
    async fn say_late(&mut self, sent: &[Receipt]) {
        let late = self.random.choose_multiple(self.receipts.clone(), 5);
        self.receipts.extend(sent);
        let before = self.stage.outbox(&[]).await;
        let after = self.stage.receive(&late).await;
        let expected: Vec<_> = before.parcels.iter().filter(|one| !late.contains(&one.receipt())).collect();
        assert!(after.parcels.iter().take(expected.len()).eq(expected), "{late:?} of {before:?} leave {after:?}");
    }

    /// What a carrier delivers where it was handed this.
    fn carried(&mut self, input: &Input) -> Input {
        match input {
            Input::Returned(_) | Input::Nothing | Input::Failed(_) => input.clone(),
            _ => any_input(&mut self.random, self.stage),
        }
    }

    /// Delivers to every hold that waits, and empties the outbox.
    pub(super) async fn release(&mut self, jobs: &[Job]) {
        for job in jobs.iter().filter(|job| job.node == Node::Hold && job.state == State::Waiting) {
            let state = self.stage.deliver(job.id, Input::Nothing).await;
            assert_eq!(state, Some(State::Completed));
        }
        let sent = self.stage.posted().await;
        self.stage.outbox(&sent).await;
    }

    /// The outbox holds the relays that are there, in order, and each stored job's inputs are those of its jobs.
    pub(super) async fn check_flows(&mut self, jobs: &BTreeMap<JobId, Job>) {
        let outbox = self.stage.outbox(&[]).await;
        let tells = |job: &&Job| !matches!(inputs(jobs, job)[..], [Input::Open(_)]);
        let there = jobs.values().filter(|job| job.parked == Some(Parked::Outbox));
        let mut there: Vec<&Job> = there.filter(tells).collect();
        there.sort_by_key(|job| job.sequence);
        assert!(outbox.more || outbox.parcels.len() == there.len(), "{outbox:?} of {there:?}");
        for (parcel, job) in outbox.parcels.iter().zip(&there) {
            let Node::Relay { shard, to } = &job.node else { panic!("no relay: {job:?}") };
            let input = inputs(jobs, job).remove(0);
            assert_eq!(*parcel, Parcel::new((job.id, job.sequence.unwrap()), shard.clone(), *to, input));
        }
        for job in jobs.values() {
            check_needs(jobs, job);
            if self.jobs.get(&job.id).is_some_and(|before| before.state == State::Waiting) {
                check_followed(jobs, job);
            }
        }
        if let Some(id) = self.random.choice(jobs.keys()) {
            assert_eq!(self.stage.inputs(*id).await, inputs(jobs, &jobs[id]));
        }
    }
}

/// The state of a hold that was given this.
fn delivered(input: &Input) -> State {
    if matches!(input, Input::Failed(_)) { State::Cancelled } else { State::Completed }
}

/// What the jobs before a job hand on, as they are stored.
fn inputs(jobs: &BTreeMap<JobId, Job>, job: &Job) -> Vec<Input> {
    job.waits_for.iter().map(|id| jobs.get(id).map_or(Input::Gone, Input::of)).collect()
}

/// What a job needs is there: who was reached by completions has them all until it ends, and so does a gather of them.
fn check_needs(jobs: &BTreeMap<JobId, Job>, job: &Job) {
    let waits = job.state == State::Waiting;
    let gathers = matches!(job.node, Node::Gather { .. }) && job.state == State::Completed;
    let parents: Vec<_> = job.waits_for.iter().map(|id| jobs.get(id)).collect();
    if (!job.state.is_end() && !waits || gathers) && job.trigger == Trigger::Completed {
        let completed = |one: &Option<&Job>| one.is_some_and(|one| one.state == State::Completed);
        assert!(parents.iter().all(completed), "it was reached by completions: {job:?} of {parents:?}");
    }
    if waits && job.trigger != Trigger::Ended {
        assert!(parents.iter().all(Option::is_some), "it waits for what is gone: {job:?} of {parents:?}");
    }
    let was_needed = job.reason != Some(EndReason::NotNeeded);
    assert!(was_needed || job.trigger == Trigger::Failed, "who is not needed was there for a failure: {job:?}");
    let posted = matches!(job.node, Node::Relay { .. }) && job.state == State::Ready;
    assert_eq!(job.parked == Some(Parked::Outbox), posted, "a relay that was reached stands in the outbox: {job:?}");
}

/// What became of a job that waited until now is what its trigger says, and who is to blame is to blame.
fn check_followed(jobs: &BTreeMap<JobId, Job>, job: &Job) {
    let parents = || job.waits_for.iter().filter_map(|id| jobs.get(id));
    let all_completed = parents().count() == job.waits_for.len() && parents().all(|one| one.state == State::Completed);
    let one_failed = parents().any(|one| one.state.is_end() && one.state != State::Completed);
    let is_reached = !matches!(job.state, State::Waiting | State::Cancelled | State::Expired);
    match (&job.reason, job.trigger) {
        (Some(EndReason::NotNeeded), _) => assert!(all_completed, "one has not completed: {job:?}"),
        (Some(EndReason::Dependency), trigger) => {
            assert_eq!(trigger, Trigger::Completed, "only completions cancel: {job:?}");
            let culprit = job.culprit.and_then(|id| jobs.get(&id));
            let began = culprit.is_none_or(|one| one.reason != Some(EndReason::Dependency));
            assert!(began, "{culprit:?} did not begin it: {job:?}");
        }
        (None, Trigger::Failed) => assert!(!is_reached || one_failed, "none has failed: {job:?}"),
        _ => {}
    }
}

/// What a run gets is what its trigger says.
pub(super) fn check_inputs(job: &Job, inputs: &[Input]) {
    assert_eq!(inputs.len(), job.waits_for.len());
    let completed = |input: &Input| matches!(input, Input::Returned(_) | Input::Nothing | Input::Gathered(_));
    assert!(job.trigger != Trigger::Completed || inputs.iter().all(completed), "{job:?} got {inputs:?}");
}

/// Once every edge is followed, nobody waits whose wait is over.
pub(super) fn check_worked_off(jobs: &[Job]) {
    let states: BTreeMap<JobId, State> = jobs.iter().map(|job| (job.id, job.state)).collect();
    for job in jobs.iter().filter(|job| job.state == State::Waiting && job.node != Node::Hold) {
        let ends: Vec<_> = job.waits_for.iter().map(|id| states.get(id).filter(|state| !state.is_end())).collect();
        assert!(ends.iter().any(Option::is_some), "all it waits for have ended: {job:?}");
        let failed = |id| states.get(id).is_some_and(|state| state.is_end() && *state != State::Completed);
        let tolerates = job.trigger == Trigger::Ended;
        assert!(tolerates || !job.waits_for.iter().any(failed), "one it waits for has failed: {job:?}");
    }
}
