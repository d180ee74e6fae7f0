//! The table of moves, walked: every legal one is made, every illegal one changes nothing.

use super::actors::TestWorker;
use super::stage::{HOUR, MINUTE, Stage, cancel, completed, died, retry_in, returned, snooze_in};
use crate::model::{
    Claimed, EndReason, Ending, Fence, Input, JobId, Move, NewJob, Node, Settled, Settlement, State, When,
};
use crate::storage::{Act, Acted, Edit, Renewed, Retention, SettleAnswer};

/// Every move of the table leads where the table says.
pub(super) async fn every_legal_move_is_made(stage: &Stage) {
    let mut made = 0;
    for mv in Move::ALL {
        let (starts, ends) = mv.row();
        for (from, to) in starts.iter().flat_map(|from| ends.iter().map(|to| (*from, *to))) {
            if mv == Move::Reschedule && !is_edit(from, to) || mv == Move::Deliver && !is_delivery(from, to) {
                continue;
            }
            let stage = stage.beside(&format!("{mv:?}-{from}-{to}"));
            assert_eq!(make(&stage, mv, from, to).await, (from, to), "{mv:?}");
            made += 1;
        }
    }
    assert!(made >= 47, "only {made} moves");
}

/// Whether an edit leads so: it makes nothing wait for others, and nothing fail.
fn is_edit(from: State, to: State) -> bool {
    match to {
        State::Waiting | State::Retrying => from == to,
        State::Scheduled => matches!(from, State::Scheduled | State::Ready),
        _ => from != State::Waiting,
    }
}

/// Whether a delivery leads so: a hold may be told of a failure, a relay has only told of one.
fn is_delivery(from: State, to: State) -> bool {
    from == State::Waiting || to == State::Completed
}

/// Makes a move; the states before and after.
async fn make(stage: &Stage, mv: Move, from: State, to: State) -> (State, State) {
    let mut worker = stage.worker().await;
    match mv {
        Move::Reach => reach(stage, &mut worker, to).await,
        Move::Promote => promote(stage, &mut worker, from).await,
        Move::Claim => claim(stage, &mut worker).await,
        Move::Complete => settle(stage, &mut worker, completed()).await,
        Move::Retry => settle(stage, &mut worker, retry_in(HOUR)).await,
        Move::Snooze => settle(stage, &mut worker, snooze_in(HOUR)).await,
        Move::Release => settle(stage, &mut worker, Settlement::Release).await,
        Move::Die if from == State::Running => settle(stage, &mut worker, died()).await,
        Move::Cancel if from == State::Running => settle(stage, &mut worker, called_off()).await,
        Move::Reclaim => reclaim(stage, &mut worker, to).await,
        Move::Die => bury(stage, &mut worker).await,
        Move::Cancel | Move::Revive | Move::Reschedule => by_hand(stage, mv, from, to).await,
        Move::Expire => expire(stage, from).await,
        Move::Deliver if from == State::Waiting => deliver(stage, to).await,
        Move::Deliver => send(stage, &mut worker).await,
        Move::Rearm if from == State::Completed => rearm_a_relay(stage, &mut worker).await,
        Move::Rearm => rearm(stage, &mut worker, from).await,
        Move::Recall => recall(stage, &mut worker).await,
    }
}

async fn deliver(stage: &Stage, to: State) -> (State, State) {
    let [id] = stage.enqueue([stage.hold()]).await;
    let before = stage.state(id).await;
    let ending = Ending::new(stage.job().id, stage.job().task, State::Dead);
    let failed = Input::Failed(Box::new(ending));
    stage.deliver(id, if to == State::Completed { Input::Nothing } else { failed }).await;
    (before, stage.state(id).await)
}

/// A relay that stands in the outbox, and where it delivers to.
async fn relayed(stage: &Stage, worker: &mut TestWorker) -> JobId {
    let [first] = stage.enqueue([stage.job()]).await;
    let there = stage.beside("there");
    let [id] = stage.enqueue([stage.relay(first, &there, there.hold().id)]).await;
    worker.run_one(died()).await;
    id
}

async fn send(stage: &Stage, worker: &mut TestWorker) -> (State, State) {
    let id = relayed(stage, worker).await;
    let before = stage.state(id).await;
    stage.outbox(&[id]).await;
    (before, stage.state(id).await)
}

async fn recall(stage: &Stage, worker: &mut TestWorker) -> (State, State) {
    let id = relayed(stage, worker).await;
    let before = stage.state(id).await;
    let first = stage.get(id).await.waits_for[0];
    stage.act(first, &Act::Revive(Edit::new())).await;
    stage.outbox(&[]).await;
    (before, stage.state(id).await)
}

async fn rearm_a_relay(stage: &Stage, worker: &mut TestWorker) -> (State, State) {
    let id = relayed(stage, worker).await;
    stage.outbox(&[id]).await;
    let before = stage.state(id).await;
    let first = stage.get(id).await.waits_for[0];
    stage.act(first, &Act::Revive(Edit::new())).await;
    stage.act(id, &Act::Rearm).await;
    (before, stage.state(id).await)
}

async fn rearm(stage: &Stage, worker: &mut TestWorker, from: State) -> (State, State) {
    let [first] = stage.enqueue([stage.job()]).await;
    let expires = (from == State::Expired).then_some(When::In(MINUTE));
    let [id] = stage.enqueue([NewJob { expires, ..stage.job_after([first]) }]).await;
    worker.run_one(if from == State::Cancelled { died() } else { completed() }).await;
    match from {
        State::Dead => drop(worker.run_one(died()).await),
        _ => stage.advance(MINUTE).await,
    }
    worker.upkeep().await;
    let before = stage.state(id).await;
    stage.act(first, &Act::Revive(Edit::new())).await;
    stage.act(id, &Act::Rearm).await;
    (before, stage.state(id).await)
}

/// Moves a job by an act.
async fn by_hand(stage: &Stage, mv: Move, from: State, to: State) -> (State, State) {
    let id = bring(stage, from).await.id;
    let before = stage.state(id).await;
    let edit = Edit::new().when(if to == State::Ready { When::Now } else { When::In(HOUR) });
    let act = match mv {
        Move::Cancel => cancel(),
        Move::Revive => Act::Revive(edit),
        _ => Act::Edit(edit),
    };
    assert_eq!(stage.act(id, &act).await, Acted::Done(to), "{act:?}");
    (before, stage.state(id).await)
}

async fn expire(stage: &Stage, from: State) -> (State, State) {
    let id = bring_with(stage, from, Some(When::In(HOUR / 2))).await.id;
    let before = stage.state(id).await;
    stage.advance(HOUR * 2).await;
    stage.worker().await.upkeep().await;
    (before, stage.state(id).await)
}

async fn bury(stage: &Stage, worker: &mut TestWorker) -> (State, State) {
    let [id] = stage.enqueue([stage.job_of("strange")]).await;
    worker.claim(1).await;
    let before = stage.state(id).await;
    stage.advance(HOUR).await;
    stage.prune(Retention { unknown: Some(MINUTE), ..Retention::default() }).await;
    (before, stage.state(id).await)
}

async fn reach(stage: &Stage, worker: &mut TestWorker, to: State) -> (State, State) {
    let [first] = stage.enqueue([stage.job()]).await;
    let when = if to == State::Scheduled { When::In(HOUR) } else { When::Now };
    let node = if to == State::Completed { Node::Gather { keep: HOUR } } else { Node::Task };
    let [id] = stage.enqueue([NewJob { when, node, ..stage.job_after([first]) }]).await;
    let before = stage.state(id).await;
    worker.run_one(completed()).await;
    (before, stage.state(id).await)
}

async fn promote(stage: &Stage, worker: &mut TestWorker, from: State) -> (State, State) {
    let [id] = stage.enqueue([stage.job()]).await;
    let settlement = if from == State::Retrying { retry_in(HOUR) } else { snooze_in(HOUR) };
    worker.run_one(settlement).await;
    let before = stage.state(id).await;
    stage.advance(HOUR).await;
    worker.upkeep().await;
    (before, stage.state(id).await)
}

async fn claim(stage: &Stage, worker: &mut TestWorker) -> (State, State) {
    let [id] = stage.enqueue([stage.job()]).await;
    let before = stage.state(id).await;
    worker.claim_one().await;
    (before, stage.state(id).await)
}

async fn settle(stage: &Stage, worker: &mut TestWorker, with: Settlement) -> (State, State) {
    let [id] = stage.enqueue([stage.job()]).await;
    let run = worker.claim_one().await;
    let before = stage.state(id).await;
    worker.finish(&run, with).await;
    (before, stage.state(id).await)
}

async fn reclaim(stage: &Stage, worker: &mut TestWorker, to: State) -> (State, State) {
    let at_most_once = to == State::Dead;
    let [id] = stage.enqueue([NewJob { at_most_once, ..stage.job() }]).await;
    worker.receive_one().await;
    if to == State::Cancelled {
        stage.cancel(id).await;
    }
    let before = stage.state(id).await;
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    (before, stage.state(id).await)
}

/// Nobody moves a job in any state without its lease: each settlement and each renewal is lost and changes nothing.
pub(super) async fn no_illegal_move_is_made(stage: &Stage) {
    for state in State::ALL {
        let stage = stage.beside(state.as_str());
        let mut scene = bring(&stage, state).await;
        let before = stage.get(scene.id).await;
        assert_eq!(before.state, state);
        scene.try_everything(&stage).await;
        assert_eq!(stage.get(scene.id).await, before, "a {state} job is as it was");
    }
}

/// A job in some state, and those who try to move it without its lease.
struct Scene {
    id: JobId,
    pretenders: Vec<(TestWorker, Fence)>,
}

impl Scene {
    async fn try_everything(&mut self, stage: &Stage) {
        for (worker, fence) in &mut self.pretenders {
            for settlement in every_settlement() {
                let settled = Settled { job: self.id, fence: *fence, attempts: 9, settlement };
                let answer = worker.exchange(vec![settled.clone()], 0, 0).await;
                assert_eq!(answer.settled, [SettleAnswer::Lost], "{settled:?}");
            }
            let renewal = worker.renewal(vec![(self.id, *fence)]);
            assert_eq!(stage.storage().renew(renewal).await.unwrap(), [Renewed::Lost]);
        }
    }
}

fn every_settlement() -> [Settlement; 7] {
    [completed(), returned(b"forged", HOUR), retry_in(HOUR), snooze_in(HOUR), Settlement::Release, died(), called_off()]
}

fn called_off() -> Settlement {
    Settlement::Cancel { reason: EndReason::CalledOff, failure: None, keep: HOUR }
}

/// Brings a job into a state, through the hands of a worker that tries to move it afterwards.
async fn bring(stage: &Stage, state: State) -> Scene {
    bring_with(stage, state, None).await
}

/// The same, of a job with a deadline that is counted from its beginning.
async fn bring_with(stage: &Stage, state: State, deadline: Option<When>) -> Scene {
    let mut worker = stage.worker().await;
    let moment = stage.now().await;
    let deadline = deadline.map(|when| When::At(when.resolve(moment)));
    let settlement = match state {
        State::Waiting => return wait(stage, worker, deadline).await,
        State::Running => return run(stage, worker).await,
        State::Ready => Settlement::Release,
        State::Scheduled => snooze_in(HOUR),
        State::Retrying => retry_in(HOUR),
        State::Completed => completed(),
        State::Cancelled => called_off(),
        State::Dead => died(),
        State::Expired => return expired(stage, worker).await,
    };
    stage.enqueue([NewJob { deadline, ..stage.job() }]).await;
    let held = worker.claim_one().await;
    worker.finish(&held, settlement).await;
    pretend(held.job.id, worker, &held)
}

/// A job that was never claimed, beside one that was.
async fn wait(stage: &Stage, mut worker: TestWorker, deadline: Option<When>) -> Scene {
    let [first] = stage.enqueue([stage.job()]).await;
    let [id] = stage.enqueue([NewJob { deadline, ..stage.job_after([first]) }]).await;
    let held = worker.claim_one().await;
    worker.finish(&held, Settlement::Release).await;
    pretend(id, worker, &held)
}

/// A job whose run ended past its deadline.
async fn expired(stage: &Stage, mut worker: TestWorker) -> Scene {
    let [id] = stage.enqueue([NewJob { deadline: Some(When::In(HOUR)), ..stage.job() }]).await;
    let held = worker.claim_one().await;
    stage.advance(HOUR).await;
    worker.finish(&held, Settlement::Release).await;
    pretend(id, worker, &held)
}

/// A job that another worker holds: the right fence of the wrong worker, the wrong fence of the right one.
async fn run(stage: &Stage, mut worker: TestWorker) -> Scene {
    let [id] = stage.enqueue([stage.job()]).await;
    let old = worker.claim_one().await;
    worker.finish(&old, Settlement::Release).await;
    let mut holder = stage.worker().await;
    let held = holder.receive_one().await;
    let stranger = stage.worker().await;
    let pretenders = vec![(worker, old.fence), (stranger, held.fence), (holder, old.fence)];
    Scene { id, pretenders }
}

fn pretend(id: JobId, worker: TestWorker, run: &Claimed) -> Scene {
    Scene { id, pretenders: vec![(worker, run.fence)] }
}
