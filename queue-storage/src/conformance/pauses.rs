//! Pauses: of a shard, of a task, of a worker. What runs goes on; what is paused is not claimed, and keeps its place.

use std::time::Duration;

use super::actors::{ids, settled};
use super::stage::{DAY, HALF, HOUR, LENGTH, MINUTE, Stage, cancel, completed, hear, retry_in, secs, snooze_in, task};
use crate::model::{EndReason, NewJob, Parked, Settlement, State, When, WorkerId};
use crate::storage::{Act, Control, Controls, Edit, MAX_HEADS, MAX_RULES, Pause, Scope, Topic};

fn of_task(name: &str) -> Scope {
    Scope::Task(task(name))
}

/// From a paused shard nobody claims anything until it is resumed, and then all is as it was.
pub(super) async fn of_a_shard(stage: &Stage) {
    let expected = stage.enqueue([stage.job(), stage.job_of("strange"), stage.job()]).await;
    stage.pause(Scope::Queue).await;
    let mut worker = stage.worker().await;
    let answer = worker.look(9).await;
    assert_eq!((answer.claimed, answer.look_again, answer.suspects_left), (vec![], None, false));
    assert!(answer.parked.is_empty() && stage.counts().await.parked == 0, "nothing is as much as looked at");
    stage.enqueue_many(1).await;
    stage.advance(DAY).await;
    assert_eq!(worker.claim(9).await, []);
    stage.resume(Scope::Queue).await;
    assert_eq!(worker.claim_ids(2).await, [expected[0], expected[2]]);
}

/// Whatever is no claim goes on in a paused shard: runs and their ends, upkeep, acts.
pub(super) async fn what_runs_goes_on(stage: &Stage) {
    stage.enqueue_many(4).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(4).await;
    stage.pause(Scope::Queue).await;
    let [due, late] = [When::In(MINUTE), When::Now].map(|when| stage.job_at(when));
    let [due, late] = stage.enqueue([due, NewJob { expires: Some(When::In(MINUTE)), ..late }]).await;
    let [next] = stage.enqueue([stage.job_after([runs[0].job.id])]).await;
    let again = worker.repeat().await;
    assert_eq!(ids(&again.claimed), ids(&runs), "a repeat is no claim");
    worker.renew(&[&runs[0], &runs[1]]).await;
    let settlements = vec![settled(&runs[0], completed()), settled(&runs[1], Settlement::Release)];
    assert_eq!(worker.exchange(settlements, 9, 9).await.claimed, []);
    assert_eq!((stage.state(next).await, stage.state(runs[1].job.id).await), (State::Ready, State::Ready));
    let mut other = stage.worker().await;
    stage.advance(HALF).await;
    other.claim(1).await;
    stage.advance(HALF).await;
    assert_eq!(other.claim(9).await, []);
    assert_eq!((stage.state(due).await, stage.state(late).await), (State::Ready, State::Expired));
    assert_eq!((stage.get(runs[2].job.id).await.crashes, stage.counts().await.of(State::Running)), (1, 0));
    assert_eq!(stage.act_on(&[next, due], &cancel()).await.len(), 2);
    assert_eq!(stage.counts().await.ended.cancelled, 2);
}

/// A pause that has a moment ends at it, not a tick earlier, and a sleeper is told when to look.
pub(super) async fn until_a_moment(stage: &Stage) {
    let mut worker = stage.worker().await;
    for scope in [Scope::Queue, of_task("t"), Scope::Worker(worker.id())] {
        let [id] = stage.enqueue([stage.job()]).await;
        let until = stage.now().await + MINUTE;
        assert!(stage.control(Control::Pause(scope.clone(), Some(until))).await);
        let told = worker.look(1).await.look_again.expect("the end of the pause");
        assert!(told.abs_diff(MINUTE) < stage.tick(), "{told:?} for {scope:?}");
        stage.advance_until_just_before(MINUTE).await;
        assert_eq!(worker.claim(1).await, [], "{scope:?}");
        assert!(stage.controls().await != Controls::default());
        stage.advance(stage.tick()).await;
        assert_eq!(stage.controls().await, Controls::default(), "what has ended is left out");
        assert_eq!(worker.run_one(completed()).await, id);
        assert!(!stage.control(Control::Resume(scope)).await, "it had ended by itself");
    }
}

/// A repeat tells that a pause has ended since, for whoever lost the answer that told when it would; and
/// neither it nor a control that changes nothing makes the end stick: the clock may go back.
pub(super) async fn a_repeat_tells_of_an_end(stage: &Stage) {
    let scopes = |worker| [Scope::Queue, of_task("t"), Scope::Worker(worker)];
    for n in 0..3 {
        let stage = stage.beside(&format!("scope-{n}"));
        stage.enqueue_many(1).await;
        let mut worker = stage.worker().await;
        let scope = scopes(worker.id())[n].clone();
        let until = stage.now().await + MINUTE;
        stage.control(Control::Pause(scope.clone(), Some(until))).await;
        assert_eq!(worker.claim(1).await, [], "{scope:?}");
        stage.advance(MINUTE).await;
        assert_eq!(worker.repeat().await.look_again, Some(Duration::ZERO), "{scope:?}");
        assert!(!stage.control(Control::Rate(None)).await);
        stage.rewind(MINUTE / 2).await;
        assert_eq!(worker.repeat().await.claimed, []);
        assert!(stage.controls().await != Controls::default(), "{scope:?}");
        stage.advance(MINUTE / 2).await;
        worker.run_one(completed()).await;
        assert_eq!(worker.repeat().await.look_again, None, "{scope:?}");
    }
}

/// Pausing again sets the moment anew, and pausing for a moment that has passed is resuming.
pub(super) async fn pausing_again(stage: &Stage) {
    let now = stage.now().await;
    let mut worker = stage.worker().await;
    stage.enqueue_many(1).await;
    let pause = |until| Control::Pause(of_task("t"), until);
    assert!(stage.control(pause(Some(now + MINUTE))).await);
    stage.advance(secs(9)).await;
    assert!(stage.control(pause(Some(now + HOUR))).await);
    assert!(!stage.control(pause(Some(now + HOUR))).await, "that changes nothing");
    let since = stage.controls().await.tasks[&task("t")].since;
    stage.assert_same_time(since, now);
    stage.advance(MINUTE).await;
    assert_eq!(worker.claim(1).await, []);
    assert!(stage.control(pause(None)).await);
    stage.advance(DAY).await;
    assert_eq!(worker.claim(1).await, []);
    assert!(stage.control(pause(Some(now + HOUR))).await);
    assert_eq!(stage.controls().await, Controls::default());
    assert_eq!(worker.claim(1).await.len(), 1);
    assert!(!stage.control(pause(Some(now))).await, "nor does a pause that is over before it began");
}

/// What is said is shown, and whether it changed anything is told; resuming what is not paused changes nothing.
pub(super) async fn what_is_said_is_shown(stage: &Stage) {
    assert_eq!(stage.controls().await, Controls::default());
    let worker = WorkerId::generate();
    let now = stage.now().await;
    for scope in [Scope::Queue, of_task("t"), Scope::Worker(worker)] {
        assert!(!stage.control(Control::Resume(scope.clone())).await);
        stage.pause(scope.clone()).await;
        assert!(!stage.control(Control::Pause(scope, None)).await);
    }
    let controls = stage.controls().await;
    assert!(controls.queue.is_some_and(|pause| pause.until.is_none()));
    assert_eq!(controls.tasks.keys().collect::<Vec<_>>(), [&task("t")]);
    assert_eq!(controls.workers.keys().collect::<Vec<_>>(), [&worker]);
    stage.assert_same_time(controls.workers[&worker].since, now);
    assert_eq!(controls.tasks[&task("t")], Pause::new(controls.tasks[&task("t")].since, None));
    for scope in [of_task("t"), Scope::Worker(worker), Scope::Queue] {
        stage.resume(scope).await;
    }
    assert_eq!(stage.controls().await, Controls::default());
}

/// A shard may be paused before it has taken in any job, and shards are paused each on its own.
pub(super) async fn of_a_shard_to_come(stage: &Stage) {
    let other = stage.beside("other");
    stage.pause(Scope::Queue).await;
    assert_eq!(other.controls().await, Controls::default());
    assert!(!stage.storage().shards().await.unwrap().contains(stage.shard()), "saying so makes no shard");
    stage.enqueue_many(1).await;
    other.enqueue_many(1).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.at(other.shard()).claim(9).await.len(), 1);
    assert_eq!(worker.claim(9).await, []);
}

/// Jobs of a paused task are set aside where they stand in the way, and come back in their old order.
pub(super) async fn of_a_task(stage: &Stage) {
    let jobs = ["s", "t", "s", "t", "s"].map(|name| stage.job_of(name));
    let [s1, t1, s2, t2, s3] = stage.enqueue(jobs).await;
    stage.pause(of_task("s")).await;
    let mut worker = stage.worker_of(&["s", "t"]).await;
    let answer = worker.look(1).await;
    assert_eq!(ids(&answer.claimed), [t1]);
    assert!(answer.parked.is_empty(), "it knows them");
    assert_eq!(worker.claim_ids(9).await, [t2]);
    for id in [s1, s2, s3] {
        let job = stage.get(id).await;
        assert_eq!((job.state, job.parked.clone()), (State::Ready, Some(Parked::TaskPaused)));
        assert!(job.parked_at.is_some() && job.sequence.is_some());
    }
    assert_eq!((worker.claim(9).await, stage.counts().await.parked), (vec![], 3));
    let [urgent, usual] = stage.enqueue([stage.job_with(1), stage.job_of("s")]).await;
    stage.resume(of_task("s")).await;
    let runs = worker.claim(9).await;
    assert_eq!(ids(&runs), [urgent, s1, s2, s3, usual]);
    assert!(runs.iter().all(|run| run.job.parked.is_none() && run.job.parked_at.is_none()));
    assert_eq!(stage.counts().await.parked, 0);
}

/// What was parked for another reason is not claimed either while its task is paused, nor by who knows it.
pub(super) async fn what_was_parked_stays_parked(stage: &Stage) {
    let [strange] = stage.enqueue([stage.job_of("s")]).await;
    stage.worker().await.claim(1).await;
    stage.pause(of_task("s")).await;
    let mut knows = stage.worker_of(&["s"]).await;
    assert_eq!(knows.claim(9).await, []);
    stage.resume(of_task("s")).await;
    assert_eq!(knows.claim_ids(9).await, [strange]);
    let [paused] = stage.enqueue([stage.job_of("s")]).await;
    stage.pause(of_task("s")).await;
    knows.claim(9).await;
    stage.resume(of_task("s")).await;
    stage.worker().await.claim(9).await;
    assert_eq!(knows.claim_ids(9).await, [paused]);
}

/// A paused task holds up nobody else: a wall of its jobs is set aside as any wall, and looked at once.
pub(super) async fn a_paused_wall_hides_nobody(stage: &Stage) {
    let wall = MAX_HEADS as usize + 50;
    stage.enqueue_all((0..wall).map(|_| stage.job_of("s")).collect()).await;
    let [known] = stage.enqueue([stage.job()]).await;
    stage.pause(of_task("s")).await;
    let mut worker = stage.worker_of(&["s", "t"]).await;
    let first = worker.look(1).await;
    assert_eq!((ids(&first.claimed), first.look_again), (vec![], Some(secs(0))));
    assert_eq!(worker.claim_ids(1).await, [known]);
    assert_eq!(stage.counts().await.parked, wall as u64);
    worker.upkeep().await;
    let quiet = worker.look(1).await.look_again;
    assert!(quiet.is_none_or(|again| again > Duration::ZERO), "what is paused is no more to do: {quiet:?}");
}

/// Suspects of a paused task are set aside too, and come back as suspects.
pub(super) async fn paused_suspects(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    stage.worker().await.receive_one().await;
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    stage.pause(of_task("t")).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim(9).await, []);
    stage.resume(of_task("t")).await;
    assert_eq!(worker.exchange(vec![], 9, 0).await.claimed, []);
    let run = worker.claim_one().await;
    assert!(run.job.id == id && run.job.suspect);
}

/// What is set aside for a pause can still end, move, and be dealt with.
pub(super) async fn the_paused_live_on(stage: &Stage) {
    let expires = Some(When::In(MINUTE));
    let jobs = [NewJob { expires, ..stage.job() }, stage.job(), stage.job(), stage.job()];
    let [late, off, later, last] = stage.enqueue(jobs).await;
    stage.pause(of_task("t")).await;
    let mut worker = stage.worker().await;
    worker.claim(9).await;
    assert_eq!(stage.counts().await.parked, 4);
    stage.cancel(off).await;
    stage.act(later, &Act::Edit(Edit::new().when(When::In(MINUTE)))).await;
    stage.advance(MINUTE).await;
    assert_eq!(worker.claim(9).await, []);
    assert_eq!((stage.get(late).await.reason, stage.state(off).await), (Some(EndReason::Overdue), State::Cancelled));
    assert_eq!(stage.counts().await.parked, 2);
    stage.resume(of_task("t")).await;
    assert_eq!(worker.claim_ids(9).await, [last, later]);
}

/// A paused worker alone gets nothing; its runs go on, and it still keeps the shard in order.
pub(super) async fn of_a_worker(stage: &Stage) {
    let ids = stage.enqueue_many(4).await;
    let (mut paused, mut other) = (stage.worker().await, stage.worker().await);
    let run = paused.claim_one().await;
    stage.pause(Scope::Worker(paused.id())).await;
    let answer = paused.look(9).await;
    assert_eq!((answer.claimed, stage.counts().await.parked), (vec![], 0));
    assert!(answer.look_again.is_none_or(|again| again > Duration::ZERO), "no more to do for it");
    assert_eq!(other.claim_ids(1).await, [ids[1]]);
    paused.finish(&run, completed()).await;
    stage.advance(HALF).await;
    paused.upkeep().await;
    stage.advance(LENGTH - HALF).await;
    assert_eq!(paused.claim(9).await, []);
    assert_eq!(stage.get(ids[1]).await.lapses, 1, "it took the lease back");
    stage.resume(Scope::Worker(paused.id())).await;
    assert_eq!(paused.claim_ids(9).await, ids[1..]);
}

/// The end of another worker's pause is nothing to look for.
pub(super) async fn of_another_worker(stage: &Stage) {
    let until = Some(stage.now().await + MINUTE);
    let (mut worker, other) = (stage.worker().await, WorkerId::generate());
    assert!(stage.control(Control::Pause(Scope::Worker(other), until)).await);
    assert_eq!(worker.look(1).await.look_again, None);
    stage.enqueue_many(1).await;
    assert_eq!(worker.run_one(completed()).await.home_tag(), stage.shard().tag());
}

/// Who sleeps through a pause is told when it is resumed, also when a pause with a moment is cut short.
pub(super) async fn resuming_wakes(stage: &Stage) {
    let far = stage.now().await + DAY;
    let mut worker = stage.worker().await;
    for scope in [Scope::Queue, of_task("t"), Scope::Worker(worker.id())] {
        for until in [None, Some(far)] {
            stage.enqueue_many(1).await;
            stage.control(Control::Pause(scope.clone(), until)).await;
            let listener = stage.storage().listen(Topic::Worker(worker.id(), stage.shard().clone()));
            assert_eq!(worker.claim(1).await, []);
            stage.resume(scope.clone()).await;
            hear(&listener, "it was resumed").await;
            worker.run_one(completed()).await;
        }
    }
}

/// Jobs that come back while their task is paused do not run.
pub(super) async fn who_comes_back_meets_the_pause(stage: &Stage) {
    stage.enqueue_many(4).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(3).await;
    stage.pause(of_task("t")).await;
    let settlements = [retry_in(Duration::ZERO), snooze_in(secs(1)), Settlement::Release];
    let settlements = runs.iter().zip(settlements).map(|(run, how)| settled(run, how)).collect();
    assert_eq!(worker.exchange(settlements, 9, 9).await.claimed, []);
    stage.advance(MINUTE).await;
    assert_eq!((worker.claim(9).await, stage.counts().await.parked), (vec![], 4));
    stage.resume(of_task("t")).await;
    assert_eq!(worker.claim(9).await.len(), 4);
}

/// A shard holds as many pauses as the contract says; one more is invalid, unless another has ended or is replaced.
pub(super) async fn a_shard_has_so_many_rules(stage: &Stage) {
    let until = stage.now().await + MINUTE;
    for n in 0..MAX_RULES - 2 {
        stage.pause(of_task(&format!("task-{n}"))).await;
    }
    assert!(stage.control(Control::Pause(of_task("brief"), Some(until))).await);
    stage.pause(Scope::Worker(WorkerId::generate())).await;
    stage.pause(Scope::Queue).await;
    let before = stage.controls().await;
    let refused = async |change: Control| {
        let error = stage.storage().control(stage.shard(), &change).await.unwrap_err();
        assert!(error.is_invalid());
        assert_eq!(stage.controls().await, before);
    };
    refused(Control::Pause(of_task("more"), None)).await;
    refused(Control::Pause(Scope::Worker(WorkerId::generate()), None)).await;
    refused(Control::Revoke(crate::storage::Revocation::default())).await;
    assert!(!stage.control(Control::Pause(of_task("task-1"), None)).await);
    stage.resume(Scope::Queue).await;
    stage.advance(MINUTE).await;
    stage.pause(of_task("more")).await;
    assert_eq!(stage.controls().await.rules(), MAX_RULES);
}

/// What is said survives the storage.
pub(super) async fn what_is_said_is_not_forgotten(stage: &Stage) {
    stage.enqueue_many(1).await;
    stage.worker().await.claim(0).await;
    stage.pause(of_task("t")).await;
    stage.control(Control::Pause(Scope::Queue, Some(stage.now().await + DAY))).await;
    let before = stage.controls().await;
    let Some(stage) = stage.reopen().await else { return };
    assert_eq!(stage.controls().await, before);
    stage.resume(Scope::Queue).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim(9).await, []);
    stage.resume(of_task("t")).await;
    assert_eq!(worker.claim(9).await.len(), 1);
    stage.end().await;
}
