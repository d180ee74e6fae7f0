//! Values of several jobs as one argument, and ends that are told.

use std::time::Duration;

use queue_core::{Call, Client, EndReason, JobEdit, Node, State, Trigger, Worker, tasks};
use queue_storage::model::Input;

use super::world::*;

#[tokio::test]
async fn a_gather_is_one_argument_in_the_order_of_its_jobs() {
    let world = world();
    let numbers: Vec<_> = (0..40).map(|n| number("q", n)).collect();
    let ids: Vec<_> = numbers.iter().map(|job| job.id).collect();
    let gathered = gather("q", LIST, &ids);
    let taken = take("q", ONE, &[gathered.id]);
    let plain = take("q", LIST, &ids[..3]);
    let (gathered_id, taken_id, plain_id) = (gathered.id, taken.id, plain.id);
    world.store("q", numbers.into_iter().chain([gathered, taken, plain]).collect()).await;
    world.drain(&["q"]).await;
    assert_eq!(world.returned::<Take>(taken_id).await, (0..40).collect::<Vec<_>>());
    assert_eq!(world.returned::<Take>(plain_id).await, [0, 1, 2]);
    assert_eq!(world.returned::<Numbers>(gathered_id).await, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn chunks_of_gathers_are_one_list() {
    let world = world();
    let numbers: Vec<_> = (0..50).map(|n| number("q", n)).collect();
    let ids: Vec<_> = numbers.iter().map(|job| job.id).collect();
    let chunks: Vec<_> = ids.chunks(20).map(|ids| gather("q", LIST, ids)).collect();
    let chunk_ids: Vec<_> = chunks.iter().map(|job| job.id).collect();
    let whole = gather("q", CHUNKS, &chunk_ids);
    let (taken, empty) = (take("q", ONE, &[whole.id]), gather("q", LIST, &[]));
    let (whole_id, taken_id, empty_id) = (whole.id, taken.id, empty.id);
    world.store("q", numbers.into_iter().chain(chunks).chain([whole, taken, empty]).collect()).await;
    world.drain(&["q"]).await;
    assert_eq!(world.returned::<Take>(taken_id).await, (0..50).collect::<Vec<_>>());
    assert_eq!(world.returned::<Numbers>(whole_id).await.len(), 50);
    assert_eq!(world.returned::<Numbers>(empty_id).await, [0u32; 0]);
}

#[tokio::test]
async fn what_is_no_list_is_no_chunk() {
    let world = world();
    let one = number("q", 1);
    let taken = take("q", CHUNKS, &[one.id]);
    let id = taken.id;
    world.store("q", vec![one, taken]).await;
    world.drain(&["q"]).await;
    let job = world.job(id).await;
    assert_eq!((job.state, job.reason), (State::Dead, Some(EndReason::Undecodable)));
    let text = "its first argument, `numbers`, can't be made: what a chunk of it returned is not a list";
    assert_eq!(job.failure.unwrap().message, text);
}

#[tokio::test]
async fn ends_are_told_to_who_asks_for_them() {
    let world = world();
    let (one, bad) = (number("q", 1), number("q", None));
    let mut lost = number("q", 3);
    lost.waits_for = vec![bad.id];
    let bad_id = bad.id;
    let told = ends("q", TOLD, &[one.id, bad_id, lost.id]);
    let mut gathered = gather("q", TOLD, &[one.id, bad_id]);
    gathered.trigger = Trigger::Ended;
    let nested = ends("q", ONE, &[gathered.id]);
    let untold = ends("q", LIST, &[one.id, bad_id]);
    let (told_id, nested_id, untold_id) = (told.id, nested.id, untold.id);
    world.store("q", vec![one, bad, lost, told, gathered, nested, untold]).await;
    world.drain(&["q"]).await;
    let died = format!("job {bad_id} of task `number` died: it failed, and no retry was left: there is no number");
    assert_eq!(
        world.returned::<Ends>(told_id).await,
        ["1", &died, &died],
        "of who was cancelled, the one to blame is told"
    );
    assert_eq!(world.returned::<Ends>(nested_id).await, ["1", &died]);
    let refused = world.job(untold_id).await;
    let text = format!("its first argument, `ends`, can't be made: it takes what others return, and {died}");
    assert_eq!((refused.state, refused.failure.unwrap().message), (State::Dead, text));
}

#[tokio::test]
async fn who_runs_for_a_failure_is_told_of_the_job_that_began_it() {
    let world = world();
    let (one, bad) = (number("q", 1), number("q", None));
    let bad_id = bad.id;
    let gathered = gather("q", LIST, &[one.id, bad_id]);
    let (direct, through) = (mourn("q", &[one.id, bad_id]), mourn("q", &[gathered.id]));
    let (gathered_id, direct_id, through_id) = (gathered.id, direct.id, through.id);
    world.store("q", vec![one, bad, gathered, direct, through]).await;
    world.drain(&["q"]).await;
    for id in [direct_id, through_id] {
        let failed = world.returned::<Mourn>(id).await;
        assert_eq!((failed.id(), failed.state()), (bad_id, Some(State::Dead)));
        assert_eq!(failed.task().unwrap().as_str(), "number");
        assert_eq!((failed.reason(), failed.message()), (Some(EndReason::Exhausted), Some("there is no number")));
        assert!(failed.error_type().is_some() && failed.culprit().is_none() && !failed.is_gone());
    }
    let handle = world.client.handle::<Numbers>(gathered_id).await.unwrap();
    let error = handle.wait(LONG).await.unwrap_err();
    assert_eq!(error.culprit(), Some(bad_id));
    let text = format!(
        "job {gathered_id} was cancelled: job {bad_id} of task `number`, which it waited for, did not complete: there is no \
         number"
    );
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_job_is_not_to_blame_for_a_storage_that_does_not_answer() {
    let world = world();
    let one = number("q", 1);
    let gathered = gather("q", LIST, &[one.id]);
    let taken = take("q", ONE, &[gathered.id]);
    let id = taken.id;
    world.store("q", vec![one, gathered, taken]).await;
    world.storage.refuse("inputs", 2);
    world.drain(&["q"]).await;
    assert_eq!(world.returned::<Take>(id).await, [1]);
    assert_eq!((world.job(id).await.attempts, world.storage.calls("inputs")), (1, 3));
}

#[tokio::test]
async fn an_immediate_client_says_when_its_storage_is_away() {
    let storage = world().storage;
    let client = Client::builder(storage.clone()).immediate().build();
    Worker::builder(&client).tasks(tasks![Number, Take]).build().unwrap();
    let one = number("q", 1);
    let gathered = gather("q", LIST, &[one.id]);
    let taken = take("q", ONE, &[gathered.id]);
    let id = taken.id;
    store(&client, "q", vec![one, gathered, taken]).await;
    storage.refuse("inputs", u32::MAX);
    let away = async {
        storage.refused().await;
        storage.refuse("exchange q", 1);
    };
    let enqueue = Call::new(Number { n: Some(2) }).queue("q").enqueue(&client);
    let (refused, ()) = tokio::time::timeout(LONG, async { tokio::join!(enqueue, away) }).await.expect("it hangs");
    assert!(refused.unwrap_err().is_unavailable());
    assert_eq!(client.job(id).await.unwrap().found().unwrap().attempts, 0);
}

#[tokio::test]
async fn a_worker_that_stops_gives_back_what_it_has_not_begun() {
    let world = world();
    let one = number("q", 1);
    let gathered = gather("q", LIST, &[one.id]);
    let taken = take("q", ONE, &[gathered.id]);
    let id = taken.id;
    world.store("q", vec![one, gathered, taken]).await;
    world.storage.refuse("inputs", u32::MAX);
    let worker = world.worker(&["q"]).grace(Duration::ZERO).build().unwrap();
    worker.run_until(world.storage.refused()).await.unwrap();
    let job = world.job(id).await;
    assert_eq!((job.state, job.attempts, job.crashes), (State::Ready, 0, 0));
}

#[tokio::test]
async fn who_is_cancelled_while_its_argument_is_made_does_not_begin() {
    let world = world();
    let one = number("q", 1);
    let gathered = gather("q", LIST, &[one.id]);
    let taken = take("q", ONE, &[gathered.id]);
    let id = taken.id;
    world.store("q", vec![one, gathered, taken]).await;
    world.storage.refuse("inputs", u32::MAX);
    let cancelled = async {
        world.storage.refused().await;
        world.client.cancel(id).await.unwrap();
        world.ended(id).await;
    };
    world.worker(&["q"]).build().unwrap().run_until(cancelled).await.unwrap();
    let job = world.job(id).await;
    assert_eq!((job.state, job.reason, job.attempts), (State::Cancelled, Some(EndReason::Requested), 0));
}

#[tokio::test]
async fn gathers_lie_eight_deep_and_no_deeper() {
    let world = world();
    let mut jobs = vec![number("q", 1)];
    let mut taken = Vec::new();
    let mut last = jobs[0].id;
    for _ in 0..9 {
        let intake = if last == jobs[0].id { LIST } else { ONE };
        let gathered = gather("q", intake, &[last]);
        last = gathered.id;
        let take = take("q", ONE, &[last]);
        taken.push(take.id);
        jobs.extend([gathered, take]);
    }
    world.store("q", jobs).await;
    world.drain(&["q"]).await;
    assert_eq!(world.returned::<Take>(taken[7]).await, [1]);
    let message = world.job(taken[8]).await.failure.unwrap().message;
    assert!(message.contains("lies 8 gathers deep, which is the most there may be"), "{message}");
}

#[tokio::test]
async fn a_job_that_takes_nothing_does_not_ask() {
    let world = world();
    let one = number("q", 1);
    let gathered = gather("q", LIST, &[one.id]);
    let mut after = number("q", 2);
    after.waits_for = vec![gathered.id];
    let id = after.id;
    world.store("q", vec![one, gathered, after]).await;
    world.drain(&["q"]).await;
    assert_eq!((world.returned::<Number>(id).await, world.storage.calls("inputs")), (2, 0));
}

/// Jobs that are told of a job which failed and of a hold, directly and through a gather; then `meddle` with the failed one.
async fn told_after(meddle: impl AsyncFnOnce(&World, queue_core::JobId)) -> (queue_core::JobId, Vec<String>) {
    let world = world();
    let (bad, mut hold) = (number("q", None), number("q", None));
    hold.node = Node::Hold;
    let (bad_id, hold_id) = (bad.id, hold.id);
    let mut gathered = gather("q", TOLD, &[bad_id, hold_id]);
    gathered.trigger = Trigger::Ended;
    let (direct, through) = (ends("q", TOLD, &[bad_id, hold_id]), ends("q", ONE, &[gathered.id]));
    let (direct_id, through_id) = (direct.id, through.id);
    world.store("q", vec![bad, hold, gathered, direct, through]).await;
    world.drain(&["q"]).await;
    meddle(&world, bad_id).await;
    let seven = Input::Returned(vec![7].into());
    world.client.storage().deliver(&shard("q"), &[(hold_id, seven)]).await.unwrap();
    world.drain(&["q"]).await;
    let told = world.returned::<Ends>(direct_id).await;
    assert_eq!(told, world.returned::<Ends>(through_id).await);
    (bad_id, told)
}

#[tokio::test]
async fn who_is_gone_is_told_of_as_gone() {
    let (bad, told) = told_after(async |world, bad| world.client.delete(bad).await.unwrap()).await;
    assert_eq!(told, [format!("job {bad} is not stored any more"), "7".to_owned()]);
}

#[tokio::test]
async fn who_is_to_run_again_is_told_of_as_it_is() {
    let later = JobEdit::new().schedule(LONG * 100);
    let (bad, told) = told_after(async |world, bad| world.client.revive_with(bad, later).await.unwrap()).await;
    assert_eq!(told, [format!("job {bad} of task `number` had not completed: it was scheduled"), "7".to_owned()]);
}

#[tokio::test]
async fn sixteen_gathers_are_asked_for_at_once() {
    let world = world();
    let mut jobs = vec![number("q", 1)];
    let one = jobs[0].id;
    jobs.extend((0..40).map(|_| gather("q", LIST, &[one])));
    let gathers: Vec<_> = jobs[1..].iter().map(|job| job.id).collect();
    let taken = take("q", CHUNKS, &gathers);
    let id = taken.id;
    jobs.push(taken);
    world.store("q", jobs).await;
    world.storage.close_gate("inputs");
    let counted = async {
        world.storage.called("inputs").await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.storage.calls("inputs"), 16);
        world.storage.open_gate("inputs");
    };
    tokio::join!(counted, world.drain(&["q"]));
    assert_eq!(world.returned::<Take>(id).await, [1; 40]);
    assert_eq!(world.storage.calls("inputs"), 40, "what a worker takes is asked for once");
}
