//! Slots and the rate of a whole queue: no more of its jobs run, and no faster start, whatever they are.

use super::actors::{TestWorker, ids, settled};
use super::notify::sleeper;
use super::stage::{
    DAY, HALF, HOUR, MINUTE, Stage, completed, died, hear, pace, rate, retry_in, secs, slots, slots_now_or_never,
    snooze_in, task,
};
use super::time::assert_again;
use crate::model::{JobId, NewJob, Parked, Settlement, State};
use crate::storage::{Control, Controls, Scope};

async fn run(worker: &mut TestWorker, want: u32) -> Vec<JobId> {
    let runs = worker.claim(want).await;
    worker.complete_all(&runs).await;
    ids(&runs)
}

/// Asserts that jobs are in line: a limit of the whole queue parks nobody.
async fn assert_in_line(stage: &Stage, jobs: &[JobId]) {
    for id in jobs {
        assert!(stage.is_in_line(*id).await);
    }
}

/// What is said of a queue is shown, changed and taken back, and tells whether that changed anything.
pub(super) async fn what_is_said_is_shown(stage: &Stage) {
    assert_eq!((stage.controls().await.slots, stage.controls().await.rate), (None, None));
    let (fast, slow) = (pace(secs(1), 7), pace(secs(2), 7));
    for (change, changes) in [
        (Control::Slots(None), false),
        (Control::Slots(Some(3)), true),
        (Control::Slots(Some(3)), false),
        (Control::Slots(Some(4)), true),
        (Control::Rate(Some(slow)), true),
        (Control::Rate(Some(fast)), true),
        (Control::Rate(Some(fast)), false),
    ] {
        assert_eq!(stage.control(change.clone()).await, changes, "{change:?}");
    }
    let said = stage.controls().await;
    assert_eq!((said.slots, said.rate, said.rules()), (Some(4), Some(fast), 0));
    assert_eq!(stage.beside("other").controls().await, Controls::default());
    let stage = match stage.reopen().await {
        Some(stage) => stage,
        None => stage.beside(stage.shard().queue.as_ref()),
    };
    assert_eq!(stage.controls().await, said);
    assert!(stage.control(Control::Slots(None)).await && stage.control(Control::Rate(None)).await);
    assert_eq!(stage.controls().await, Controls::default());
    stage.end().await;
}

/// Of a whole queue no more run than may, on all workers together; the others stay in line.
pub(super) async fn so_many_run_in_all(stage: &Stage) {
    stage.control(Control::Slots(Some(2))).await;
    let jobs = [stage.job(), stage.job_of("u"), stage.job_under([slots("k", 9)]), stage.job(), stage.job()];
    let jobs = stage.enqueue(jobs).await;
    let (mut worker, mut other) = (stage.worker_of(&["t", "u"]).await, stage.worker_of(&["t", "u"]).await);
    let runs = worker.claim(9).await;
    assert_eq!(ids(&runs), jobs[..2]);
    let answer = other.look(9).await;
    assert_eq!(answer.claimed, []);
    assert_ne!(answer.look_again, Some(secs(0)), "there is nothing to do");
    assert_in_line(stage, &jobs[2..]).await;
    let answer = worker.exchange(vec![settled(&runs[0], completed())], 9, 9).await;
    assert_eq!(ids(&answer.claimed), jobs[2..3]);
    worker.finish(&runs[1], retry_in(DAY)).await;
    assert_eq!(other.claim_ids(9).await, jobs[3..4]);
    assert_eq!(stage.counts().await.of(State::Running), 2);
    let elsewhere = stage.beside("elsewhere");
    elsewhere.enqueue_many(5).await;
    assert_eq!(elsewhere.worker().await.claim(9).await.len(), 5);
}

/// More slots, or any number, are used at once; with fewer, what runs goes on, and nothing starts until there is room.
pub(super) async fn what_runs_goes_on(stage: &Stage) {
    stage.control(Control::Slots(Some(1))).await;
    let jobs = stage.enqueue_many(9).await;
    let mut worker = stage.worker().await;
    let mut runs = worker.claim(9).await;
    stage.control(Control::Slots(Some(3))).await;
    runs.extend(worker.claim(9).await);
    assert_eq!(ids(&runs), jobs[..3]);
    stage.control(Control::Slots(Some(1))).await;
    for _ in 0..3 {
        assert_eq!(worker.claim(9).await, []);
        worker.finish(&runs.remove(0), completed()).await;
    }
    assert_eq!(worker.claim_ids(9).await, jobs[3..4]);
    stage.control(Control::Slots(None)).await;
    assert_eq!(worker.claim_ids(9).await, jobs[4..]);
}

/// A worker that vanishes leaves no slot of the queue taken once its lease is taken back.
pub(super) async fn a_lost_lease_makes_room(stage: &Stage) {
    stage.control(Control::Slots(Some(1))).await;
    let jobs = stage.enqueue_many(2).await;
    let lost = stage.worker().await;
    { lost }.receive_one().await;
    let mut other = stage.worker().await;
    stage.advance(HALF).await;
    assert_eq!(other.claim(9).await, []);
    stage.advance(HALF).await;
    assert_eq!(other.claim_ids(9).await, jobs[..1]);
}

/// A sleeper hears of a slot of the queue that falls free, however it does, since jobs stand in line for it.
pub(super) async fn who_sleeps_is_told_of_a_slot(stage: &Stage) {
    stage.control(Control::Slots(Some(1))).await;
    stage.enqueue_many(9).await;
    let mut worker = stage.worker().await;
    let settlements = [completed(), retry_in(DAY), snooze_in(DAY), died(), Settlement::Release];
    for settlement in settlements {
        let run = worker.claim_one().await;
        let (mut waker, listener) = sleeper(stage, &["t"]).await;
        worker.finish(&run, settlement).await;
        hear(&listener, "a slot fell free").await;
        let run = waker.claim_one().await;
        waker.finish(&run, completed()).await;
    }
}

/// A sleeper hears of it when more may run, or faster.
pub(super) async fn who_sleeps_is_told_of_room(stage: &Stage) {
    stage.control(Control::Slots(Some(1))).await;
    stage.enqueue_many(9).await;
    let mut worker = stage.worker().await;
    worker.claim_one().await;
    for change in [Control::Slots(Some(2)), Control::Slots(None)] {
        let (mut waker, listener) = sleeper(stage, &["t"]).await;
        stage.control(change).await;
        hear(&listener, "more may run").await;
        assert_eq!(waker.claim(1).await.len(), 1);
        stage.control(Control::Slots(Some(2))).await;
    }
    stage.control(Control::Slots(None)).await;
    stage.control(Control::Rate(Some(pace(HOUR, 1)))).await;
    worker.claim_one().await;
    for change in [Control::Rate(Some(pace(HOUR, 9))), Control::Rate(None)] {
        stage.control(Control::Rate(Some(pace(HOUR, 1)))).await;
        let (mut waker, listener) = sleeper(stage, &["t"]).await;
        stage.control(change).await;
        hear(&listener, "more may start").await;
        assert_eq!(waker.claim(1).await.len(), 1);
    }
}

/// Who is held back by a limit of its own takes no slot of the queue and pays nothing of its rate.
pub(super) async fn only_who_starts_counts(stage: &Stage) {
    stage.control(Control::Slots(Some(2))).await;
    stage.control(Control::Rate(Some(pace(HOUR, 2)))).await;
    let one = || stage.job_under([slots("k", 1)]);
    let turned_away = stage.job_under([slots_now_or_never("k", 1)]);
    let strange = stage.job_of("strange");
    let jobs = [one(), one(), turned_away, strange, stage.job_under([rate("r", DAY, 1)]), stage.job()];
    let jobs = stage.enqueue(jobs).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim_ids(9).await, [jobs[0], jobs[4]]);
    assert_eq!(stage.get(jobs[1]).await.parked, Some(Parked::LimitFull));
    assert_eq!(
        (stage.state(jobs[2]).await, stage.get(jobs[3]).await.parked),
        (State::Cancelled, Some(Parked::UnknownTask))
    );
    assert_in_line(stage, &jobs[5..]).await;
}

/// A job that the queue has room for still needs room under its own limits, and pays there only when it starts.
pub(super) async fn who_finds_no_room_pays_nothing(stage: &Stage) {
    stage.control(Control::Slots(Some(1))).await;
    let jobs = stage.enqueue_under(&[rate("r", HOUR, 2), slots("k", 2)], 3).await;
    let mut worker = stage.worker().await;
    let run = worker.claim(9).await;
    assert_eq!((ids(&run), stage.usage("k").await.running), (jobs[..1].to_vec(), 1));
    stage.assert_same_time(stage.usage("r").await.paid_at.unwrap(), stage.now().await + HOUR);
    worker.finish(&run[0], completed()).await;
    let run = worker.claim(9).await;
    assert_eq!(ids(&run), jobs[1..2]);
    worker.finish(&run[0], completed()).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!(stage.get(jobs[2]).await.parked, Some(Parked::RateWindow));
}

/// Of a whole queue as many start as the burst says, then one as each is paid for, whoever asks; the others stay in line.
pub(super) async fn so_fast_in_all(stage: &Stage) {
    stage.control(Control::Rate(Some(pace(MINUTE, 2)))).await;
    let jobs = stage.enqueue_many(7).await;
    let mut workers = [stage.worker().await, stage.worker().await];
    assert_eq!(run(&mut workers[0], 1).await, jobs[..1]);
    assert_eq!(run(&mut workers[1], 9).await, jobs[1..2]);
    for n in 2..5 {
        let worker = &mut workers[n % 2];
        assert_again(stage, &worker.look(9).await, Some(MINUTE));
        assert_in_line(stage, &jobs[n..]).await;
        stage.advance_until_just_before(MINUTE).await;
        assert_eq!(run(worker, 9).await, []);
        stage.advance(stage.tick()).await;
        assert_eq!(run(worker, 9).await, jobs[n..=n]);
    }
    stage.advance(DAY).await;
    assert_eq!(run(&mut workers[0], 9).await, jobs[5..], "rest saves the burst");
    assert_again(stage, &workers[0].look(9).await, None);
}

/// A queue without a rate starts what it has, and one with another rate goes by that from then on.
pub(super) async fn a_rate_is_changed(stage: &Stage) {
    stage.control(Control::Rate(Some(pace(DAY, 1)))).await;
    let jobs = stage.enqueue_many(9).await;
    let mut worker = stage.worker().await;
    assert_eq!(run(&mut worker, 9).await, jobs[..1]);
    stage.control(Control::Rate(None)).await;
    assert_eq!(run(&mut worker, 3).await, jobs[1..4]);
    stage.control(Control::Rate(Some(pace(MINUTE, 1)))).await;
    stage.advance(DAY).await;
    assert_eq!(run(&mut worker, 9).await, jobs[4..5]);
    stage.advance(MINUTE).await;
    assert_eq!(run(&mut worker, 9).await, jobs[5..6]);
}

/// An exchange that is repeated pays nothing of the queue's rate.
pub(super) async fn a_repeat_pays_nothing(stage: &Stage) {
    stage.control(Control::Rate(Some(pace(MINUTE, 2)))).await;
    let jobs = stage.enqueue_many(3).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim_ids(1).await, jobs[..1]);
    for _ in 0..3 {
        assert_eq!(ids(&worker.repeat().await.claimed), jobs[..1]);
    }
    assert_eq!(stage.worker().await.claim_ids(9).await, jobs[1..2]);
}

/// The opening of the queue's rate is told whatever stands in line: suspects, and jobs that were parked for something
/// that is over.
pub(super) async fn the_opening_is_told_to_all(stage: &Stage) {
    let suspects = stage.beside("suspects");
    let [id] = suspects.enqueue([suspects.job()]).await;
    suspects.worker().await.receive_one().await;
    let mut worker = suspects.worker().await;
    suspects.run_out(&mut worker).await;
    assert!(suspects.get(id).await.suspect);
    let parked = stage.beside("parked");
    parked.pause(Scope::Task(task("t"))).await;
    parked.enqueue_many(1).await;
    assert_eq!(parked.worker().await.claim(9).await, []);
    parked.resume(Scope::Task(task("t"))).await;
    for stage in [suspects, parked] {
        stage.control(Control::Rate(Some(pace(MINUTE, 1)))).await;
        let [first] = stage.enqueue([NewJob { priority: 1, ..stage.job() }]).await;
        let mut worker = stage.worker().await;
        assert_eq!(run(&mut worker, 9).await, [first]);
        assert_again(&stage, &worker.look(9).await, Some(MINUTE));
        stage.advance(MINUTE).await;
        assert_eq!(run(&mut worker, 9).await.len(), 1);
    }
}

/// Pauses and limits of a queue do not know of each other: what is paused takes no room.
pub(super) async fn a_paused_task_takes_no_room(stage: &Stage) {
    stage.control(Control::Slots(Some(1))).await;
    stage.control(Control::Rate(Some(pace(MINUTE, 1)))).await;
    stage.pause(Scope::Task(task("u"))).await;
    let [paused, usual] = stage.enqueue([stage.job_of("u"), stage.job()]).await;
    let mut worker = stage.worker_of(&["t", "u"]).await;
    assert_eq!(run(&mut worker, 9).await, [usual]);
    stage.pause(Scope::Queue).await;
    stage.resume(Scope::Task(task("u"))).await;
    stage.advance(MINUTE).await;
    assert_eq!(worker.claim(9).await, []);
    stage.resume(Scope::Queue).await;
    assert_eq!(worker.claim_ids(9).await, [paused]);
}
