//! Relays and the outbox: what is on its way to another shard.

use bytes::Bytes;

use super::actors::settled;
use super::acts::revive;
use super::flows::{How, call_off, gone, value};
use super::notify::sleeper;
use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, boom, cancel, completed, died, hear, returned, secs, slots};
use crate::model::{Conflict, EndReason, Input, JobId, NewJob, Node, Parked, Settlement, State, Trigger, When, Window};
use crate::storage::{Act, Acted, Admission, Edit, KEEP_TOLD, MAX_CLAIM_BYTES, MAX_UPKEEP, Parcel, Receipt};

/// A relay of each job to a hold that is somewhere else.
async fn relays(stage: &Stage, of: &[JobId]) -> Vec<JobId> {
    let there = stage.beside("there");
    let all = of.iter().map(|id| stage.relay(*id, &there, there.hold().id)).collect();
    stage.enqueue_all(all).await
}

/// Every end of what it waits for reaches a relay: then it stands in the outbox with what that hands on, and for whom.
pub(super) async fn every_end_reaches_it(stage: &Stage) {
    for how in How::ALL {
        let stage = stage.beside(&format!("relay-{how:?}"));
        let there = stage.beside("there");
        let mut worker = stage.worker().await;
        let [first] = stage.enqueue([how.job(&stage)]).await;
        let to = there.hold().id;
        let [id] = stage.enqueue([stage.relay(first, &there, to)]).await;
        assert_eq!((stage.state(id).await, stage.posted().await), (State::Waiting, vec![]));
        how.end(&stage, &mut worker, first).await;
        assert!(worker.upkeep().await.outbox, "{how:?}");
        let input = if how.is_good() { value(b"good") } else { stage.failed(first).await };
        let outbox = stage.outbox(&[]).await;
        let job = stage.get(id).await;
        let place = (id, job.sequence.unwrap());
        assert_eq!(outbox.parcels, [Parcel::new(place, there.shard().clone(), to, input)]);
        assert!(!outbox.more);
        assert_eq!((job.state, job.parked.clone()), (State::Ready, Some(Parked::Outbox)), "{how:?}");
        assert!(job.parked_at.is_some() && job.sequence.is_some() && job.lease.is_none());
        assert_eq!(stage.counts().await.parked, 1);
    }
}

/// What stands in the outbox is no work: no worker gets it or counts it as its own, and people leave it alone, before
/// as well as then.
pub(super) async fn nobody_touches_it(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let ids = relays(stage, &[first]).await;
    let mut worker = stage.worker().await;
    let acts = [cancel(), Act::Delete, Act::Edit(Edit::new().priority(9)), Act::Revive(Edit::new()), Act::Rearm];
    for state in [State::Waiting, State::Ready] {
        for act in &acts {
            let before = stage.get(ids[0]).await;
            assert_eq!(stage.act(ids[0], act).await, Acted::Refused(state), "{act:?}");
            assert_eq!(stage.get(ids[0]).await, before);
        }
        if state == State::Waiting {
            worker.run_one(completed()).await;
        }
    }
    stage.advance(DAY * 30).await;
    let answer = stage.worker().await.look(9).await;
    assert_eq!((answer.claimed, answer.look_again, answer.parked.len()), (vec![], None, 0));
    let retention = crate::storage::Retention { unknown: Some(MINUTE), ..at_most(0, 0) };
    assert_eq!(stage.prune(retention).await.died, []);
    assert_eq!(stage.posted().await, ids);
}

/// Relays stand in the outbox in the order in which they were reached, and stay there until they are told to be sent.
pub(super) async fn they_stand_in_order(stage: &Stage) {
    let [a, b, c] = stage.enqueue([stage.job_with(1), stage.job_with(2), stage.job_with(3)]).await;
    let ids = relays(stage, &[a, b, c, a]).await;
    let mut worker = stage.worker().await;
    for _ in 0..3 {
        worker.run_one(completed()).await;
    }
    let order = stage.posted().await;
    assert_eq!((order[..2].to_vec(), order.len()), (vec![ids[2], ids[1]], 4));
    let more = relays(stage, &[b]).await;
    assert_eq!(stage.posted().await, [order.clone(), more.clone()].concat(), "of what has ended already");
    assert_eq!(stage.posted().await.len(), 5, "a lost answer is given again");
    stage.outbox(&[order[1], order[2]]).await;
    assert_eq!(stage.posted().await, [order[0], order[3], more[0]]);
}

/// An outbox hands out as many parcels as the contract says, and says that there are more; those that were sent make room.
pub(super) async fn an_outbox_hands_out_so_many(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let most = MAX_UPKEEP as usize;
    let mut left: Vec<JobId> = relays(stage, &vec![first; most + 30]).await;
    let mut worker = stage.worker().await;
    worker.run_one(completed()).await;
    worker.work_off().await;
    let first = stage.outbox(&[]).await;
    assert_eq!((first.parcels.len(), first.more), (most, true));
    let too_many: Vec<_> = left.iter().map(|relay| Receipt { relay: *relay, sequence: 1 }).take(most + 1).collect();
    assert!(stage.storage().outbox(stage.shard(), &too_many).await.unwrap_err().is_invalid());
    assert_eq!(stage.outbox(&[]).await, first, "nothing was changed");
    let sent: Vec<_> = first.parcels.iter().map(|parcel| parcel.relay).collect();
    let rest = stage.outbox(&sent).await;
    assert_eq!((rest.parcels.len(), rest.more), (30, false));
    left.retain(|id| !sent.contains(id));
    let rest: Vec<_> = rest.parcels.iter().map(|parcel| parcel.relay).collect();
    left.sort();
    let mut sorted = rest.clone();
    sorted.sort();
    assert_eq!(sorted, left);
    let none = stage.outbox(&rest).await;
    assert!(none.parcels.is_empty() && !none.more && !worker.upkeep().await.outbox);
    assert_eq!(stage.counts().await.ended.completed, 1 + 130);
}

/// An outbox hands out no further parcel once those it handed out hold as much as a claim may.
pub(super) async fn an_outbox_has_a_largest_weight(stage: &Stage) {
    let jobs = stage.enqueue_many(5).await;
    let ids = relays(stage, &jobs).await;
    let mut worker = stage.worker().await;
    let large = Bytes::from(vec![7; MAX_CLAIM_BYTES / 2]);
    for n in 0..5 {
        let result = if n < 4 { large.clone() } else { Bytes::new() };
        worker.run_one(Settlement::Complete { result: Some(result), keep: HOUR }).await;
    }
    let outbox = stage.outbox(&[]).await;
    assert_eq!((outbox.parcels.len(), outbox.more), (2, true));
    assert_eq!(outbox.parcels[1].input, Input::Returned(large));
    let rest = stage.outbox(&ids[..2]).await;
    assert_eq!((rest.parcels.len(), rest.more), (2, true));
    let rest = stage.outbox(&ids[2..4]).await;
    assert_eq!((rest.parcels.len(), rest.more, rest.parcels[0].relay), (1, false, ids[4]));
}

/// A relay that was sent has completed; it is kept for a while, and as long as the failure that it told of. What it waited
/// for it needs no more.
pub(super) async fn the_sent_complete(stage: &Stage) {
    let [good, bad] = stage.enqueue([stage.job_with(2), stage.job_with(1)]).await;
    let ids = relays(stage, &[good, bad]).await;
    let mut worker = stage.worker().await;
    worker.run_one(returned(b"x", secs(0))).await;
    worker.run_one(died()).await;
    stage.advance(MINUTE).await;
    stage.prune_all().await;
    assert_eq!(stage.outbox(&[]).await.parcels[0].input, value(b"x"), "it is kept for it");
    let listener = stage.storage().listen(crate::storage::Topic::Job(ids[0]));
    assert_eq!(stage.outbox(&ids).await.parcels, []);
    hear(&listener, "it was sent").await;
    let jobs = [stage.get(ids[0]).await, stage.get(ids[1]).await];
    for job in &jobs {
        assert_eq!((job.state, &job.reason, &job.result), (State::Completed, &None, &None));
        assert_eq!((&job.parked, job.parked_at, job.worker), (&None, None, None));
    }
    assert_eq!(jobs[0].keep_until, jobs[0].ended_at.map(|ended| ended + KEEP_TOLD));
    assert_eq!(jobs[1].keep_until, stage.get(bad).await.keep_until);
    assert!(!worker.upkeep().await.outbox);
    stage.advance(KEEP_TOLD - secs(5)).await;
    stage.prune_all().await;
    assert_eq!([stage.is_kept(good).await, stage.is_kept(ids[0]).await], [false, true]);
    stage.advance(secs(7)).await;
    stage.prune_all().await;
    assert_eq!(
        [stage.is_kept(good).await, stage.is_kept(ids[0]).await, stage.is_kept(ids[1]).await],
        [false, false, true]
    );
}

/// What does not stand in the outbox can't have been sent: nothing is done for a stranger, for who waits still, for what
/// is no relay, or for who was sent before.
pub(super) async fn only_who_stands_there_is_sent(stage: &Stage) {
    let [first, other] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let ids = relays(stage, &[first, other]).await;
    let [hold] = stage.enqueue([stage.hold()]).await;
    stage.worker().await.run_one(died()).await;
    let others = [stage.job().id, ids[1], other, hold, first];
    let before = [stage.get(ids[1]).await, stage.get(other).await, stage.get(hold).await, stage.get(first).await];
    for _ in 0..2 {
        assert_eq!(stage.outbox(&others).await.parcels.len(), 1);
    }
    let after = [stage.get(ids[1]).await, stage.get(other).await, stage.get(hold).await, stage.get(first).await];
    assert_eq!(after, before);
    stage.outbox(&ids[..1]).await;
    let sent = stage.get(ids[0]).await;
    stage.advance(secs(5)).await;
    assert_eq!(stage.outbox(&[ids[0], ids[0]]).await.parcels, []);
    assert_eq!((stage.get(ids[0]).await, stage.counts().await.ended.completed), (sent, 1));
    assert_eq!(stage.beside("nowhere").outbox(&[ids[0]]).await.parcels, []);
}

/// Who exchanges is told that something stands in the outbox, as long as it does, by a repeat too.
pub(super) async fn who_exchanges_is_told(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let ids = relays(stage, &[first]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    assert!(!worker.upkeep().await.outbox);
    assert!(worker.exchange(vec![settled(&run, completed())], 1, 1).await.outbox);
    assert!(worker.repeat().await.outbox && worker.upkeep().await.outbox);
    assert!(stage.worker_of(&[]).await.look(9).await.outbox, "whoever it is");
    stage.outbox(&ids).await;
    assert!(!worker.upkeep().await.outbox);
    assert!(!stage.beside("other").worker().await.upkeep().await.outbox);
}

/// Who sleeps is told when people or clients fill the outbox, as nobody else may look there.
pub(super) async fn who_sleeps_is_told(stage: &Stage) {
    let [first, hold] = stage.enqueue([stage.job_of("s"), stage.hold()]).await;
    let ids = relays(stage, &[first, hold]).await;
    stage.worker_of(&["t"]).await.claim(1).await;
    let (mut worker, listener) = sleeper(stage, &["t"]).await;
    call_off(stage, first).await;
    hear(&listener, "an act filled the outbox").await;
    assert!(worker.look(1).await.outbox);
    let more = relays(stage, &[first]).await;
    hear(&listener, "an enqueue filled the outbox").await;
    assert!(worker.look(1).await.outbox);
    stage.deliver(hold, Input::Nothing).await;
    hear(&listener, "a delivery filled the outbox").await;
    assert_eq!(stage.posted().await, [ids[0], more[0], ids[1]]);
}

/// A call with a relay or hold that is not as it must be is invalid, and none of its jobs is stored.
pub(super) async fn what_is_impossible_is_invalid(stage: &Stage) {
    let there = stage.beside("there");
    let [a, b] = stage.enqueue([stage.job(), stage.job()]).await;
    let relay = || stage.relay(a, &there, there.hold().id);
    let node = Node::Relay { shard: there.shard().clone(), to: stage.hold().id };
    let impossible = [
        NewJob { waits_for: vec![a], ..stage.hold() },
        NewJob { waits_for: vec![], ..relay() },
        NewJob { waits_for: vec![a, b], ..relay() },
        NewJob { waits_for: vec![a, a], ..relay() },
        NewJob { trigger: Trigger::Completed, ..relay() },
        NewJob { trigger: Trigger::Failed, ..relay() },
        NewJob { node, ..relay() },
        NewJob { expires: Some(When::In(HOUR)), ..relay() },
        NewJob { deadline: Some(When::In(HOUR)), ..relay() },
        NewJob { limits: vec![slots("k", 1)], ..stage.hold() },
        NewJob { limits: vec![slots("k", 1)], ..relay() },
        NewJob { limits: vec![slots("k", 1)], ..stage.gather(Trigger::Ended, [a]) },
        NewJob { unique: stage.job_unique(Window::Forever, Conflict::Existing).unique, ..stage.hold() },
        NewJob { unique: stage.job_unique(Window::Forever, Conflict::Existing).unique, ..relay() },
    ];
    let mut caller = stage.caller();
    for job in impossible {
        let what = format!("{job:?}");
        let error = caller.make(caller.next(vec![stage.job(), job])).await.unwrap_err();
        assert!(error.is_invalid(), "{what}: {error}");
    }
    assert_eq!((stage.counts().await.enqueued, stage.usage("u").await.unique), (2, None));
    let stranger = NewJob { waits_for: vec![stage.job().id], ..relay() };
    let unknown = stranger.waits_for[0];
    assert_eq!(caller.enqueue_one(stranger).await, Admission::UnknownDependency(unknown));
}

/// A parcel of a gather names it, and one of who was cancelled tells who began that.
pub(super) async fn what_it_tells_of(stage: &Stage) {
    let [a, b] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let [all] = stage.enqueue([stage.gather(Trigger::Ended, [a, b])]).await;
    let [next] = stage.enqueue([stage.job_after([a])]).await;
    relays(stage, &[all, next]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    worker.run_one(gone()).await;
    stage.advance(MINUTE).await;
    stage.prune_all().await;
    let parcels = stage.outbox(&[]).await.parcels;
    assert_eq!([&parcels[1].input, &parcels[0].input], [&Input::Gathered(all), &stage.failed(next).await]);
    let Input::Failed(ending) = &parcels[0].input else { panic!("{parcels:?}") };
    assert_eq!((ending.job, ending.origin(), ending.failure.clone()), (next, a, None));
    assert_eq!((ending.state, &ending.reason), (State::Cancelled, &Some(EndReason::Dependency)));
    let Input::Failed(ending) = &stage.inputs(all).await[0] else { panic!("it died") };
    assert_eq!((ending.job, ending.origin(), ending.failure.clone()), (a, a, Some(boom())));
}

/// A dead letter is not kept for its relay: while it runs again nobody is told of it, and pruned, it is gone in the outbox.
pub(super) async fn a_dead_letter_on_its_way(stage: &Stage) {
    let [a, b] = stage.enqueue([stage.job(), stage.job()]).await;
    let ids = relays(stage, &[a, b]).await;
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    worker.run_one(died()).await;
    worker.work_off().await;
    assert_eq!(stage.act(a, &revive()).await, Acted::Done(State::Ready));
    stage.act(b, &Act::Delete).await;
    let inputs = async || stage.outbox(&[]).await.parcels.into_iter().map(|parcel| parcel.input).collect::<Vec<_>>();
    assert_eq!(inputs().await, [Input::Gone]);
    let job = stage.get(ids[0]).await;
    assert_eq!((job.state, job.sequence, &job.parked, job.parked_at), (State::Waiting, None, &None, None));
    let counts = stage.counts().await;
    assert_eq!((counts.enqueued, counts.parked, counts.live()), (5, 1, 3));
    worker.run_one(returned(b"at last", HOUR)).await;
    assert_eq!(inputs().await, [Input::Gone, value(b"at last")]);
    stage.outbox(&ids).await;
    let job = stage.get(ids[1]).await;
    assert_eq!((job.state, job.keep_until), (State::Completed, job.ended_at.map(|ended| ended + KEEP_TOLD)));
}

/// What is said of a parcel is said of the time at which its relay stood in the outbox: late, or twice, it changes nothing
/// of what the relay has to tell since.
pub(super) async fn a_receipt_is_of_its_time(stage: &Stage) {
    let [first] = stage.enqueue([stage.job()]).await;
    let id = relays(stage, &[first]).await[0];
    let mut worker = stage.worker().await;
    let mut late = Vec::new();
    for time in 0..3 {
        worker.run_one(died()).await;
        let parcel = stage.outbox(&[]).await.parcels.remove(0);
        assert_eq!(stage.receive(&late).await.parcels, std::slice::from_ref(&parcel), "for the {time}. time");
        assert!(late.iter().all(|one: &Receipt| one.sequence < parcel.sequence), "{late:?} and {parcel:?}");
        late.push(parcel.receipt());
        if time == 0 {
            // Said by none: it is recalled.
            assert_eq!(stage.act(first, &revive()).await, Acted::Done(State::Ready));
            assert_eq!(stage.posted().await, []);
            assert_eq!(stage.receive(&late).await.parcels, []);
            assert_eq!(stage.state(id).await, State::Waiting);
        } else {
            assert_eq!(stage.receive(&[parcel.receipt(), parcel.receipt()]).await.parcels, []);
            assert_eq!(stage.act(first, &revive()).await, Acted::Done(State::Ready));
            assert_eq!(stage.act(id, &Act::Rearm).await, Acted::Done(State::Waiting));
        }
    }
    worker.run_one(returned(b"at last", HOUR)).await;
    let parcel = stage.receive(&late).await.parcels.remove(0);
    assert_eq!(parcel.input, value(b"at last"));
    let strange = [0, parcel.sequence + 1, u64::MAX].map(|sequence| Receipt { relay: id, sequence });
    assert_eq!(stage.receive(&strange).await.parcels, std::slice::from_ref(&parcel));
    assert_eq!(stage.receive(&[parcel.receipt()]).await.parcels, []);
    assert_eq!((stage.state(id).await, stage.counts().await.live()), (State::Completed, 0));
}

/// Those whose jobs run again leave the outbox by bounded steps, and hinder nobody behind them.
pub(super) async fn they_are_recalled_in_bounds(stage: &Stage) {
    let [first, other] = stage.enqueue([stage.job_with(1), stage.job()]).await;
    let most = MAX_UPKEEP as usize;
    relays(stage, &vec![first; most + 30]).await;
    let last = relays(stage, &[other]).await[0];
    let mut worker = stage.worker().await;
    worker.run_one(died()).await;
    worker.work_off().await;
    worker.run_one(completed()).await;
    stage.act(first, &revive()).await;
    let outbox = stage.outbox(&[]).await;
    assert_eq!((outbox.parcels.len(), outbox.more, stage.counts().await.parked), (0, true, 31));
    assert_eq!((stage.posted().await, stage.counts().await.parked), (vec![last], 1));
    assert!(worker.upkeep().await.outbox);
    stage.outbox(&[last]).await;
    assert!(!worker.upkeep().await.outbox);
    worker.run_one(returned(b"x", secs(0))).await;
    worker.work_off().await;
    stage.advance(MINUTE * 2).await;
    stage.prune_all().await;
    let outbox = stage.outbox(&[]).await;
    assert_eq!((outbox.parcels.len(), outbox.more, stage.counts().await.parked), (most, true, 130));
    assert!(outbox.parcels.iter().all(|one| one.input == value(b"x")), "it is kept for them");
}
