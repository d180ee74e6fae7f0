//! From shard to shard: the whole road of what one shard hands on to another, every step of which may be repeated, lost,
//! or done by several at once, and all of which outlasts who does it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::actors::settled;
use super::check::all_jobs;
use super::flows::{How, value};
use super::races::views;
use super::stage::{HOUR, Stage, boom, completed, died, returned, secs};
use crate::model::{Input, JobId, Shard, State, Trigger};
use crate::storage::{Act, Acted, KEEP_TOLD, Parcel, Receipt, Storage};

/// Carries what stands in an outbox to where it goes, as a keeper does; how much that was.
async fn carry(storage: &dyn Storage, from: &Shard) -> usize {
    let parcels = storage.outbox(from, &[]).await.unwrap().parcels;
    for Parcel { shard, to, input, .. } in &parcels {
        storage.deliver(shard, &[(*to, input.clone())]).await.unwrap();
    }
    let sent: Vec<Receipt> = parcels.iter().map(Parcel::receipt).collect();
    storage.outbox(from, &sent).await.unwrap();
    sent.len()
}

/// A step in one shard hands on to a step in another, by a hold that is stored first; every call on the way is made
/// twice, as after a lost answer, and everything happens once.
pub(super) async fn every_step_twice(stage: &Stage) {
    for how in [How::Completed, How::Dead, How::Cancelled] {
        let (here, there) = (stage.beside(&format!("here-{how:?}")), stage.beside(&format!("there-{how:?}")));
        let (mut client, mut away) = (here.caller(), there.caller());
        let hold = there.hold();
        let next = there.job_after([hold.id]);
        let answer = away.enqueue(vec![hold.clone(), next.clone()]).await;
        assert_eq!(away.repeat().await, answer);
        let first = how.job(&here);
        let relay = here.relay(first.id, &there, hold.id);
        let answer = client.enqueue(vec![first.clone(), relay.clone()]).await;
        assert_eq!(client.repeat().await, answer);
        let mut worker = here.worker().await;
        how.end(&here, &mut worker, first.id).await;
        assert_eq!((worker.upkeep().await.outbox, worker.repeat().await.outbox), (true, true));
        let outbox = here.outbox(&[]).await;
        assert_eq!(here.outbox(&[]).await, outbox);
        for _ in 0..2 {
            let state = there.deliver(hold.id, outbox.parcels[0].input.clone()).await;
            assert_eq!(state, Some(if how.is_good() { State::Completed } else { State::Cancelled }));
        }
        assert_eq!(here.outbox(&[]).await, outbox, "nobody has said that it was sent");
        for _ in 0..2 {
            assert_eq!(here.outbox(&[relay.id]).await.parcels, []);
        }
        let mut runner = there.worker().await;
        let claimed = runner.claim(9).await;
        if how.is_good() {
            assert_eq!((claimed[0].job.id, &claimed[0].inputs[..]), (next.id, &[value(b"good")][..]));
            runner.finish(&claimed[0], completed()).await;
        } else {
            assert_eq!(claimed, []);
            there.assert_cancelled_for(next.id, first.id).await;
            let failure = (how == How::Dead).then(boom);
            assert_eq!(there.get(hold.id).await.failure, failure);
            let kept = there.get(hold.id).await;
            let least = kept.ended_at.map(|ended| ended + KEEP_TOLD);
            assert_eq!(kept.keep_until, here.get(first.id).await.keep_until.max(least));
        }
        for shard in [&here, &there] {
            let counts = shard.counts().await;
            assert_eq!((counts.enqueued, counts.ended.total(), counts.live()), (2, 2, 0));
        }
    }
}

/// A parcel that arrives before its hold does is told that there is none, stays in the outbox, and is delivered later.
pub(super) async fn a_parcel_may_come_first(stage: &Stage) {
    let there = stage.beside("there");
    let [first] = stage.enqueue([stage.job()]).await;
    let hold = there.hold();
    let [relay] = stage.enqueue([stage.relay(first, &there, hold.id)]).await;
    stage.worker().await.run_one(returned(b"early", HOUR)).await;
    let parcel = stage.outbox(&[]).await.parcels.remove(0);
    assert_eq!(there.deliver(parcel.to, parcel.input.clone()).await, None);
    there.enqueue([hold]).await;
    assert_eq!(stage.outbox(&[]).await.parcels, std::slice::from_ref(&parcel));
    assert_eq!(there.deliver(parcel.to, parcel.input).await, Some(State::Completed));
    stage.outbox(&[relay]).await;
}

/// A failure goes through three shards and names the one that began it at the far end.
pub(super) async fn the_one_that_began_it_is_named_afar(stage: &Stage) {
    let (b, c) = (stage.beside("b"), stage.beside("c"));
    let [in_c] = c.enqueue([c.hold()]).await;
    let [last] = c.enqueue([c.job_after([in_c])]).await;
    let [in_b] = b.enqueue([b.hold()]).await;
    let [step] = b.enqueue([b.job_after([in_b])]).await;
    b.enqueue([b.relay(step, &c, in_c)]).await;
    let [root] = stage.enqueue([stage.job()]).await;
    stage.enqueue([stage.relay(root, &b, in_b)]).await;
    stage.worker().await.run_one(died()).await;
    assert_eq!(carry(&**stage.storage(), stage.shard()).await, 1);
    assert_eq!(carry(&**stage.storage(), b.shard()).await, 1);
    for (shard, id) in [(&b, in_b), (&b, step), (&c, in_c), (&c, last)] {
        shard.assert_cancelled_for(id, root).await;
    }
    let kept = c.get(last).await.keep_until;
    assert_eq!(kept, stage.get(root).await.keep_until, "as long as that");
}

/// Many who carry the same parcels at once, through every view of the storage, deliver each once, and none is left.
pub(super) async fn many_carriers(stage: &Stage) {
    for round in 0..5 {
        let (here, there) = (stage.beside(&format!("here-{round}")), stage.beside(&format!("there-{round}")));
        let holds = there.enqueue_all((0..120).map(|_| there.hold()).collect()).await;
        let steps: Vec<_> = holds.iter().map(|hold| there.job_after([*hold])).collect();
        there.enqueue_all(steps).await;
        let [good, bad] = here.enqueue([here.job_with(1), here.job()]).await;
        let of = |n: usize| if n.is_multiple_of(2) { good } else { bad };
        let relays = holds.iter().enumerate().map(|(n, hold)| here.relay(of(n), &there, *hold)).collect();
        here.enqueue_all(relays).await;
        let mut worker = here.worker().await;
        worker.run_one(returned(b"x", HOUR)).await;
        worker.run_one(died()).await;
        worker.work_off().await;
        let mut carriers = JoinSet::new();
        for storage in views(stage).await.into_iter().cycle().take(6) {
            let from = here.shard().clone();
            carriers.spawn(async move {
                for _ in 0..9 {
                    carry(&*storage, &from).await;
                }
            });
        }
        carriers.join_all().await;
        there.worker().await.work_off().await;
        assert!(!worker.upkeep().await.outbox);
        assert_eq!((here.counts().await.ended.completed, here.counts().await.live()), (121, 0));
        let counts = there.counts().await;
        assert_eq!((counts.ended.completed, counts.ended.cancelled, counts.of(State::Ready)), (60, 120, 60));
        let runs = there.worker().await.claim(99).await;
        assert!(runs.iter().all(|run| run.inputs == [value(b"x")]));
        assert_eq!(runs.iter().map(|run| run.job.id).collect::<BTreeSet<_>>().len(), 60);
    }
}

/// Two that deliver different things to a hold at once agree on what it was given.
pub(super) async fn two_deliveries(stage: &Stage) {
    let views = views(stage).await;
    for n in 0..20 {
        let [hold] = stage.enqueue([stage.hold()]).await;
        let mut calls = JoinSet::new();
        for (at, bytes) in [&b"a"[..], b"b"].into_iter().enumerate() {
            let (storage, shard) = (Arc::clone(&views[(at + n) % views.len()]), stage.shard().clone());
            let input = Input::Returned(bytes::Bytes::from_static(bytes));
            calls.spawn(async move { storage.deliver(&shard, &[(hold, input)]).await.unwrap() });
        }
        assert_eq!(calls.join_all().await, [[Some(State::Completed)], [Some(State::Completed)]]);
        assert!([Some(&b"a"[..]), Some(b"b")].contains(&stage.get(hold).await.result.as_deref()));
    }
    assert_eq!(stage.counts().await.ended.completed, 20);
}

/// A flow halfway: a gather and who waits for ends, edges still to be followed, and a parcel on its way.
struct Halfway {
    first: JobId,
    member: JobId,
    all: JobId,
    hold: JobId,
    step: JobId,
    relay: JobId,
}

async fn halfway(stage: &Stage, there: &Stage) -> Halfway {
    let [first, member] = stage.enqueue([stage.job_with(2), stage.job()]).await;
    let [all] = stage.enqueue([stage.gather(Trigger::Ended, [first, member])]).await;
    let [hold] = there.enqueue([there.hold()]).await;
    let [step] = there.enqueue([there.job_when(Trigger::Failed, [hold])]).await;
    let [relay] = stage.enqueue([stage.relay(first, there, hold)]).await;
    stage.enqueue_all((0..250).map(|_| stage.job_when(Trigger::Failed, [first])).collect()).await;
    Halfway { first, member, all, hold, step, relay }
}

/// Opened anew, a storage goes on with flows where they stood: triggers, nodes, the outbox, and what is kept for whom.
pub(super) async fn opened_anew_flows_go_on(stage: &Stage) {
    let there = stage.beside("there");
    let flow = halfway(stage, &there).await;
    stage.worker().await.run_one(died()).await;
    let before = all_jobs(&**stage.storage()).await;
    let outbox = stage.outbox(&[]).await;
    let Some(stage) = stage.reopen().await else { return };
    let there = there.through(stage.storage().clone());
    assert_eq!(all_jobs(&**stage.storage()).await, before);
    assert_eq!(stage.outbox(&[]).await, outbox);
    let mut worker = stage.worker().await;
    worker.work_off().await;
    assert_eq!((stage.counts().await.of(State::Waiting), stage.counts().await.of(State::Ready)), (1, 252));
    assert_eq!(carry(&**stage.storage(), stage.shard()).await, 1);
    assert_eq!(there.states([flow.hold, flow.step]).await, [State::Cancelled, State::Ready]);
    assert_eq!((stage.state(flow.relay).await, stage.state(flow.all).await), (State::Completed, State::Waiting));
    assert_eq!(stage.inputs(flow.all).await, [stage.failed(flow.first).await, Input::Open(State::Ready)]);
    stage.cancel(flow.member).await;
    assert_eq!(stage.state(flow.all).await, State::Completed);
    stage.end().await;
}

/// Two views of one storage see one flow: what one fills the other carries, and what one delivers the other claims.
pub(super) async fn two_views_are_one(stage: &Stage) {
    let Some(second) = stage.world().second().await else { return };
    let (here, there) = (stage.through(second.clone()), stage.beside("there").through(second));
    let flow = halfway(stage, &stage.beside("there")).await;
    here.worker().await.run_one(died()).await;
    stage.worker().await.work_off().await;
    let [parcel] = stage.outbox(&[]).await.parcels.try_into().unwrap();
    assert_eq!(here.outbox(&[]).await.parcels, std::slice::from_ref(&parcel));
    there.deliver(parcel.to, parcel.input).await;
    assert_eq!(here.outbox(&[flow.relay]).await.parcels, []);
    assert_eq!(stage.posted().await, []);
    let run = stage.beside("there").worker().await.claim_one().await;
    assert_eq!((run.job.id, run.inputs), (flow.step, vec![there.failed(flow.hold).await]));
    assert_eq!(there.act(flow.hold, &Act::Rearm).await, Acted::Refused(State::Cancelled), "it is needed");
    assert_eq!(stage.inputs(flow.all).await, here.inputs(flow.all).await);
}

/// A step that hands on to another shard costs no settlement: a repeat of the exchange that settled it fills the outbox
/// once.
pub(super) async fn a_repeat_fills_it_once(stage: &Stage) {
    let there = stage.beside("there");
    let [first] = stage.enqueue([stage.job()]).await;
    let [relay] = stage.enqueue([stage.relay(first, &there, there.hold().id)]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    worker.exchange(vec![settled(&run, completed())], 1, 1).await;
    worker.repeat().await;
    assert_eq!(stage.posted().await, [relay]);
    stage.outbox(&[relay]).await;
    stage.advance(secs(1)).await;
    assert!(!worker.repeat().await.outbox);
    assert_eq!((stage.posted().await, stage.counts().await.ended.completed), (vec![], 2));
}
