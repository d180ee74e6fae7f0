//! Many times what one call may do: each call keeps its bound, and all gets done by calling again.

use std::time::Duration;

use queue_storage::clock::Clock;
use queue_storage::model::{
    Claimed, EndReason, Failure, FailureKind, Input, JobId, NewJob, Node, Settled, Settlement, State, TaskName,
    Timestamp, Trigger, When,
};
use queue_storage::storage::{
    Control, JobQuery, MAX_HEADS, MAX_PRUNE, MAX_UPKEEP, Maintain, Operate, Outbox, Parcel, Retention, Scope,
};

use crate::kit::{Caller, Hand, KEEP, completed, job, jobs, mail};
use crate::stage::Stage;

const UPKEEP: u64 = MAX_UPKEEP as u64;

#[tokio::test]
async fn a_large_backlog() {
    let size = if std::env::var_os("QUEUE_LARGE").is_some() { 1_000_000 } else { 200_000 };
    let stage = Stage::set("a backlog").await;
    let ids = stage.take_in(size, |_| job()).await;
    let mut query = JobQuery::default();
    for _ in 0..5 {
        let page = stage.storage.list(&query).await.unwrap();
        assert_eq!(page.jobs.len(), 1_000);
        query.after = page.next;
    }
    stage.look("pages of 1,000");
    assert!(stage.storage.get(ids[size - 1]).await.unwrap().found().is_some());
    let mut hand = Hand::new(&stage.storage).await;
    for batch in ids.chunks(256).take(100) {
        let answer = hand.exchange(&stage.storage, 1_000).await;
        assert!(answer.claimed.iter().map(|one| one.job.id).eq(batch.iter().copied()));
    }
    hand.exchange(&stage.storage, 0).await;
    stage.look("exchanges of 256 settled and 256 claimed");
    assert_eq!(stage.counts().await.of(State::Ready), size as u64 - 25_600);
}

fn due(at: Timestamp) -> NewJob {
    let mut job = job();
    job.when = When::At(at);
    job
}

#[tokio::test]
async fn many_due_at_one_instant() {
    let stage = Stage::set("100,000 due at once").await;
    let at = stage.clock.now() + Duration::from_secs(60);
    stage.take_in(100_000, |_| due(at)).await;
    stage.clock.advance(Duration::from_secs(60));
    let mut hand = Hand::new(&stage.storage).await;
    stage.eat_up(&mut hand, "due", UPKEEP, |counts| counts.due).await;
    assert_eq!(hand.settled.len(), 100_000);
    stage.end().await;
}

/// Times are told apart by microseconds, also where a script makes text of one.
#[tokio::test]
async fn leases_that_end_microseconds_apart() {
    let stage = Stage::set("leases ending one after the other").await;
    stage.take_in(2, |_| job()).await;
    let micros = Duration::from_micros;
    let (mut first, mut second) = (Hand::new(&stage.storage).await, Hand::new(&stage.storage).await);
    for (hand, after) in [(&mut first, micros(20)), (&mut second, micros(50))] {
        stage.clock.advance(after);
        assert_eq!(hand.exchange(&stage.storage, 1).await.claimed.len(), 1);
        hand.settlements.clear();
    }
    // Nobody takes it for an outage.
    stage.clock.advance(first.lease.length / 2);
    first.exchange(&stage.storage, 0).await;
    stage.clock.advance(first.lease.length / 2 - micros(40));
    let answer = first.exchange(&stage.storage, 0).await;
    assert_eq!(answer.look_again, Some(micros(40)));
}

#[tokio::test]
async fn many_leases_that_end_at_one_instant() {
    let stage = Stage::set("100,000 leases ending at once").await;
    stage.take_in(100_000, |_| job()).await;
    for _ in 0..100 {
        let mut doomed = Hand::new(&stage.storage).await;
        for _ in 0..4 {
            assert_eq!(doomed.exchange(&stage.storage, 250).await.claimed.len(), 250);
            doomed.settlements.clear();
        }
    }
    stage.look("claims of 250");
    let mut heir = Hand::new(&stage.storage).await;
    // Often enough that nobody takes it for an outage.
    for _ in 0..2 {
        heir.exchange(&stage.storage, 0).await;
        stage.clock.advance(Duration::from_secs(5));
    }
    let mut left = 100_000;
    while heir.settled.len() < 100_000 {
        let answer = heir.exchange(&stage.storage, 256).await;
        let counts = stage.counts().await;
        let now = counts.of(State::Running) - answer.claimed.len() as u64;
        assert!(left - now <= UPKEEP, "one call took back {}", left - now);
        assert!(now == 0 || answer.look_again == Some(Duration::ZERO), "it would sleep while {now} are lost");
        left = now;
    }
    stage.look("exchanges that take back");
    let jobs = stage.storage.list(&JobQuery::default()).await.unwrap().jobs;
    assert!(jobs.iter().all(|job| job.crashes + job.lapses == 1 && job.state == State::Completed));
    stage.end().await;
}

fn task(at: usize) -> TaskName {
    format!("task{at}").parse().unwrap()
}

fn of_task(at: usize) -> NewJob {
    let mut job = job();
    job.task = task(at);
    job
}

#[tokio::test]
async fn many_parked() {
    let stage = Stage::set("10,000 parked").await;
    let ids = stage.take_in(10_000, |at| of_task(at % 250)).await;
    let mut stranger = Hand::new(&stage.storage).await;
    stage
        .eat_up(&mut stranger, "unknown", u64::from(MAX_HEADS), |counts| counts.of(State::Ready) - counts.parked)
        .await;
    assert_eq!(stage.counts().await.parked, 10_000);
    let mut expert = Hand::stranger(mail());
    expert.tasks = (0..250).map(task).collect();
    expert.register(&stage.storage).await;
    stage.eat_up(&mut expert, "parked", 256, |counts| counts.parked).await;
    assert!(expert.settled.iter().map(|(id, _)| *id).eq(ids), "they were to start in their order");
    stage.end().await;
}

fn expires_in(limit: Duration) -> NewJob {
    let mut job = job();
    job.expires = Some(When::In(limit));
    job
}

#[tokio::test]
async fn many_that_expire_at_one_instant() {
    let stage = Stage::set("100,000 overdue at once").await;
    let limit = Duration::from_secs(60);
    stage.take_in(100_000, |_| expires_in(limit)).await;
    stage.clock.advance(limit);
    let mut hand = Hand::new(&stage.storage).await;
    // Those that stand at the head of the line end there.
    let bound = UPKEEP + u64::from(MAX_HEADS);
    stage.eat_up(&mut hand, "overdue", bound, |counts| counts.of(State::Ready)).await;
    assert_eq!((stage.counts().await.ended.expired, hand.settled.len()), (100_000, 0));
    stage.end().await;
}

#[tokio::test]
async fn many_of_a_paused_task() {
    let stage = Stage::set("100,000 paused and resumed").await;
    let ids = stage.take_in(100_000, |_| job()).await;
    let mut hand = Hand::new(&stage.storage).await;
    let task = Scope::Task("t".parse().unwrap());
    assert!(stage.storage.control(&mail(), &Control::Pause(task.clone(), None)).await.unwrap());
    let heads = u64::from(MAX_HEADS);
    stage.eat_up(&mut hand, "paused", heads, |counts| counts.of(State::Ready) - counts.parked).await;
    assert_eq!(stage.counts().await.parked, 100_000);
    assert!(stage.storage.control(&mail(), &Control::Resume(task)).await.unwrap());
    stage.eat_up(&mut hand, "resumed", 256, |counts| counts.parked).await;
    assert!(hand.settled.iter().map(|(id, _)| *id).eq(ids), "they were to start in their order");
    stage.end().await;
}

fn waits_for(parent: JobId) -> NewJob {
    let mut job = job();
    job.waits_for = vec![parent];
    job
}

fn died(claimed: &Claimed) -> Settled {
    let failure = Failure::new(FailureKind::Error, "boom");
    let settlement = Settlement::Die { reason: EndReason::Fatal, failure, keep: KEEP };
    Settled { settlement, ..completed(claimed) }
}

#[tokio::test]
async fn many_edges() {
    for fate in ["completed", "dead"] {
        let stage = Stage::set("10,000 wait for one").await;
        let parent = stage.take_in(1_000, |_| job()).await[0];
        stage.take_in(10_000, |_| waits_for(parent)).await;
        let mut hand = Hand::new(&stage.storage).await;
        let first = hand.exchange(&stage.storage, 1).await;
        hand.settlements = vec![if fate == "dead" { died(&first.claimed[0]) } else { completed(&first.claimed[0]) }];
        // Twice in one exchange it follows what ended.
        stage.eat_up(&mut hand, fate, 2 * UPKEEP, |counts| counts.of(State::Waiting)).await;
        let counts = stage.counts().await.ended;
        let expected = if fate == "dead" { (999, 10_000, 1) } else { (11_000, 0, 0) };
        assert_eq!((counts.completed, counts.cancelled, counts.dead), expected);
        stage.end().await;
    }
}

fn node(node: Node, trigger: Trigger, waits_for: Vec<JobId>) -> NewJob {
    let mut job = job();
    (job.node, job.trigger, job.waits_for) = (node, trigger, waits_for);
    job
}

/// A member of a group settles at the same cost, however large the group is.
#[tokio::test]
async fn a_wide_gather() {
    let mut costs = Vec::new();
    for width in [10, 1_000] {
        let stage = Stage::set("a gather of many").await;
        let mut caller = Caller::new();
        let ids = caller.enqueue(&stage.storage, jobs(width)).await;
        let gather = node(Node::Gather { keep: KEEP }, Trigger::Ended, ids);
        let gather = caller.enqueue(&stage.storage, vec![gather]).await[0];
        let mut hand = Hand::new(&stage.storage).await;
        hand.exchange(&stage.storage, 1).await;
        let before = stage.commands();
        hand.exchange(&stage.storage, 1).await;
        costs.push(stage.commands() - before);
        stage.eat_up(&mut hand, "members", u64::MAX, |counts| counts.of(State::Ready)).await;
        stage.eat_up(&mut hand, "gathers", u64::MAX, |counts| counts.of(State::Waiting)).await;
        stage.look("settlements");
        assert_eq!(stage.storage.inputs(gather).await.unwrap().unwrap().inputs, vec![Input::Nothing; width]);
        // What it keeps goes with it, whole.
        stage.clock.advance(KEEP * 2);
        while stage.storage.prune(&mail(), Retention::default()).await.unwrap().more {}
        stage.look("prunings");
        assert_eq!(stage.counts().await.of(State::Completed), 0);
        stage.end().await;
    }
    assert_eq!(costs[0], costs[1], "commands for a member of a small group, and of a large one");
}

#[tokio::test]
async fn many_parcels() {
    let stage = Stage::set("1,000 parcels").await;
    let there = mail();
    let holds = stage.take_in(1_000, |_| node(Node::Hold, Trigger::Completed, Vec::new())).await;
    let gather = stage.take_in(1_000, |_| node(Node::Gather { keep: KEEP }, Trigger::Completed, Vec::new())).await;
    let relay = |at: usize| Node::Relay { shard: there.clone(), to: holds[at] };
    stage.take_in(1_000, |at| node(relay(at), Trigger::Ended, vec![gather[at]])).await;
    let (mut sent, mut left) = (Vec::new(), 1_000);
    while left > 0 {
        let outbox = stage.storage.outbox(&mail(), &sent).await.unwrap();
        assert!((outbox.parcels.len(), outbox.more) == (100, left > 100), "{} of {left}", outbox.parcels.len());
        let deliveries: Vec<_> = outbox.parcels.iter().map(|one| (one.to, Input::Nothing)).collect();
        stage.storage.deliver(&there, &deliveries).await.unwrap();
        sent = outbox.parcels.iter().map(Parcel::receipt).collect();
        left -= sent.len();
    }
    assert_eq!(stage.storage.outbox(&mail(), &sent).await.unwrap(), Outbox::default());
    stage.look("parcels");
    assert_eq!(stage.counts().await.ended.completed, 3_000);
    stage.end().await;
}

#[tokio::test]
async fn many_to_prune() {
    let stage = Stage::set("10,000 to prune").await;
    stage.take_in(10_000, |_| job()).await;
    let mut hand = Hand::new(&stage.storage).await;
    hand.finish(&stage.storage).await;
    stage.clock.advance(KEEP);
    stage.look("exchanges");
    for left in (0..40).rev() {
        let step = stage.storage.prune(&mail(), Retention::default()).await.unwrap();
        assert_eq!((step.done, step.more), (MAX_PRUNE, left > 0));
    }
    stage.look("prunings of 250");
    assert!(stage.storage.list(&JobQuery::default()).await.unwrap().jobs.is_empty());
    stage.end().await;
}
