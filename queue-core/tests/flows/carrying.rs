//! From queue to queue.

use queue_core::{Call, Client, EndReason, Node, State, Worker, tasks};

use super::world::*;

#[tokio::test]
async fn what_one_queue_hands_on_another_takes() {
    let world = world();
    let numbers: Vec<_> = (0..3).map(|n| number("a", n)).collect();
    let ids: Vec<_> = numbers.iter().map(|job| job.id).collect();
    let gathered = gather("a", LIST, &ids);
    let (hold, relay) = bridge("a", "b", gathered.id);
    let taken = take("b", ONE, &[hold.id]);
    let (hold_id, relay_id, taken_id) = (hold.id, relay.id, taken.id);
    world.store("b", vec![hold, taken]).await;
    world.store("a", numbers.into_iter().chain([gathered, relay]).collect()).await;
    // Whoever drains the queue of those carries what they hand on, too.
    world.drain(&["a"]).await;
    assert_eq!(world.job(relay_id).await.state, State::Completed);
    assert_eq!(world.job(hold_id).await.state, State::Completed);
    world.drain(&["b"]).await;
    assert_eq!(world.returned::<Take>(taken_id).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_worker_of_both_queues_drains_both_to_the_end() {
    let world = world();
    let mut last = number("a", 0);
    let first = last.id;
    let mut left = Vec::new();
    // To and fro: a waits for b, which waits for a.
    for (from, to) in [("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")] {
        let (hold, relay) = bridge(from, to, last.id);
        let mut next = number(to, 7);
        next.waits_for = vec![hold.id];
        left.extend([(from, std::mem::replace(&mut last, next)), (to, hold), (from, relay)]);
    }
    let last_id = last.id;
    left.push(("a", last));
    for queue in ["a", "b"] {
        let of_queue = left.iter().filter(|(own, _)| *own == queue).map(|(_, job)| job.clone()).collect();
        world.store(queue, of_queue).await;
    }
    world.drain(&["b", "a"]).await;
    assert_eq!(world.job(first).await.state, State::Completed);
    assert_eq!(world.job(last_id).await.state, State::Completed);
}

#[tokio::test]
async fn what_comes_behind_the_back_of_who_looks_is_waited_for() {
    let world = world();
    let ids = world.store("a", vec![number("a", 1)]).await;
    world.drain(&["a"]).await;
    let (hold, relay) = bridge("a", "b", ids[0]);
    let relay_id = relay.id;
    let mut next = number("b", 2);
    next.waits_for = vec![hold.id];
    let last = next.id;
    world.store("b", vec![hold, next]).await;
    world.store("a", vec![relay]).await;
    world.storage.close_gate("deliver");
    world.storage.close_gate("counts a");
    let behind = async {
        // It has found nothing in `b`, and looks at `a` only once all has gone from there.
        world.storage.called("counts b").await;
        world.storage.close_gate("exchange b");
        world.storage.open_gate("deliver");
        world.ended(relay_id).await;
        world.storage.open_gate("counts a");
        // Whoever took it for drained would stop now.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        world.storage.open_gate("exchange b");
    };
    tokio::join!(behind, world.drain(&["b", "a"]));
    assert_eq!(world.job(last).await.state, State::Completed);
}

#[tokio::test]
async fn a_failure_is_carried_with_what_is_known_of_it() {
    let world = world();
    let bad = number("a", None);
    let bad_id = bad.id;
    let gathered = gather("a", LIST, &[bad_id]);
    let (hold, relay) = bridge("a", "b", gathered.id);
    let (taken, mourned) = (take("b", ONE, &[hold.id]), mourn("b", &[hold.id]));
    let (taken_id, mourned_id) = (taken.id, mourned.id);
    world.store("b", vec![hold, taken, mourned]).await;
    world.store("a", vec![bad, gathered, relay]).await;
    world.drain(&["a", "b"]).await;
    let job = world.job(taken_id).await;
    assert_eq!((job.state, job.culprit), (State::Cancelled, Some(bad_id)));
    let failed = world.returned::<Mourn>(mourned_id).await;
    assert_eq!((failed.id(), failed.message()), (bad_id, Some("there is no number")));
}

#[tokio::test]
async fn a_batch_costs_two_calls() {
    let world = world();
    let numbers: Vec<_> = (0..250).map(|n| number("a", n)).collect();
    let ids = world.store("a", numbers).await;
    world.drain(&["a"]).await;
    assert_eq!(world.storage.calls("outbox"), 0, "nobody asks for an outbox that nobody spoke of");
    let (holds, relays): (Vec<_>, Vec<_>) = ids.iter().map(|id| bridge("a", "b", *id)).unzip();
    let holds = world.store("b", holds).await;
    let relays = world.store("a", relays).await;
    let carried = async {
        for id in relays {
            world.ended(id).await;
        }
    };
    world.worker(&["a"]).build().unwrap().run_until(carried).await.unwrap();
    // 100, 100 and 50, and a last look that finds nothing; each look tells what was delivered before it.
    let calls = ["outbox", "deliver", "inputs"].map(|method| world.storage.calls(method));
    assert_eq!(calls, [4, 3, 0]);
    for (hold, n) in holds.into_iter().zip(0u8..) {
        let result = world.job(hold).await.result.unwrap();
        assert_eq!(result.last(), Some(&n));
    }
}

#[tokio::test]
async fn what_does_not_arrive_is_sent_again() {
    let world = world();
    let one = number("a", 1);
    let (hold, relay) = bridge("a", "b", one.id);
    let hold_id = hold.id;
    world.store("b", vec![hold]).await;
    world.store("a", vec![one, relay]).await;
    world.storage.refuse("deliver", 2);
    world.storage.refuse("outbox", 1);
    world.drain(&["a"]).await;
    assert_eq!((world.job(hold_id).await.state, world.storage.calls("deliver")), (State::Completed, 3));
}

#[tokio::test]
async fn what_is_too_large_to_be_carried_fails_and_says_so() {
    let world = world();
    // Each returns a list of at most the ten bytes that are allowed; together they are more than four times that.
    let lists: Vec<_> = (0..5).map(|n| listed("a", n)).collect();
    let ids: Vec<_> = lists.iter().map(|job| job.id).collect();
    let gathered = gather("a", CHUNKS, &ids);
    let id = gathered.id;
    let (hold, relay) = bridge("a", "b", id);
    let hold_id = hold.id;
    world.store("b", vec![hold]).await;
    world.store("a", lists.into_iter().chain([gathered, relay]).collect()).await;
    let worker = world.worker(&["a"]).result_limit(10).build().unwrap();
    worker.run_until_drained().await.unwrap();
    let hold = world.job(hold_id).await;
    assert_eq!((hold.state, hold.reason, hold.culprit), (State::Cancelled, Some(EndReason::Dependency), Some(hold_id)));
    let text = format!(
        "what job {id} in queue `a` hands on can't be carried to job {hold_id} in queue `b`: together they take more than 40 \
         bytes: let its jobs store what is large elsewhere and return its key, put what takes it in the same queue, or \
         raise `WorkerBuilder::result_limit`, of which this is four times"
    );
    assert_eq!(hold.failure.unwrap().message, text);
    assert!(hold.keep_until > hold.ended_at);
}

#[tokio::test]
async fn an_immediate_client_carries_at_once() {
    let client = Client::builder(world().storage).immediate().build();
    let list = tasks![Number, Numbers, Take, Ends, Mourn];
    Worker::builder(&client).tasks(list).build().unwrap();
    let one = number("a", 1);
    let (there, back) = (bridge("a", "b", one.id), number("b", 2));
    let mut back = back;
    back.waits_for = vec![there.0.id];
    let (hold, relay) = bridge("b", "a", back.id);
    let taken = take("a", LIST, &[one.id, hold.id]);
    let id = taken.id;
    store(&client, "b", vec![there.0, back, relay]).await;
    store(&client, "a", vec![one, there.1, hold, taken]).await;
    // Whatever is enqueued runs all that is ready there.
    Call::new(Number { n: Some(3) }).queue("a").enqueue(&client).await.unwrap();
    let handle = client.handle::<Take>(id).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), Some(vec![1, 2]));
}

#[tokio::test]
async fn it_is_explained_what_is_still_waited_for() {
    let world = world();
    let (bad, mut hold) = (number("a", None), number("a", None));
    hold.node = Node::Hold;
    let (bad_id, hold_id) = (bad.id, hold.id);
    let told = ends("a", TOLD, &[bad_id, hold_id]);
    let (there, relay) = bridge("a", "b", bad_id);
    let (told_id, there_id, relay_id) = (told.id, there.id, relay.id);
    world.store("b", vec![there]).await;
    world.store("a", vec![bad, hold, told]).await;
    world.drain(&["a"]).await;
    world.store("a", vec![relay]).await;
    let explained = async |id| world.client.explain(id).await.unwrap().to_string();
    let hold =
        format!("job {hold_id} of task `number` stands for a job in another queue, and waits for the end of that");
    assert_eq!(explained(hold_id).await, hold);
    let text = format!(
        "job {told_id} of task `ends` waits for the end, whatever it is, of job {hold_id} of task `number` (waiting); {hold}"
    );
    assert_eq!(explained(told_id).await, text, "what has failed has ended");
    let text = format!(
        "job {relay_id} of task `numbers` hands on what it waited for, which is on its way to job {there_id} in queue `b`; \
         no live worker serves queue `a`, which would carry it: start one"
    );
    assert_eq!(explained(relay_id).await, text);
    let handle = world.client.handle::<Numbers>(relay_id).await.unwrap();
    let error = handle.wait(std::time::Duration::ZERO).await.unwrap_err();
    let text = format!("job {relay_id} has not ended within 0ns; what it hands on is on its way to another queue");
    assert_eq!(error.to_string(), text);
}
